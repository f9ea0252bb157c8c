"""Options that several commands share, and their errors in one line."""

import errno
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from agf_core import missing_for_learning
from agf_core.errors import AgfError, shown

LARGEST_SEED = 2**32 - 1


def folder(text: str) -> Path:
    """Return an option's path from the root, as processes started elsewhere need it."""
    return Path(text).absolute()


def positive(text: str) -> int:
    """Return an option's number, of which there must be one at least."""
    if (number := int(text)) < 1:
        raise ArgumentTypeError(f"{text} is not 1 or more")
    return number


def seed_number(text: str) -> int:
    """Return an option's seed of random numbers, as every library takes it."""
    if not 0 <= (number := int(text)) <= LARGEST_SEED:
        raise ArgumentTypeError(f"{text} is not from 0 to {LARGEST_SEED}")
    return number


def device(text: str) -> str:
    """Return an option's device, if it is there."""
    try:
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ArgumentTypeError(f"{text} is not at hand ({reason}); give cpu") from None
    return text


def add_collection(parser: ArgumentParser) -> None:
    """Add a collection, and the folder that keeps what is made of it."""
    parser.add_argument(
        "--table", type=Path, required=True, help="CSV of training.datasets.collection"
    )
    parser.add_argument("--work", type=Path, required=True, help="features and checkpoints")


def add_unlabelled(parser: ArgumentParser) -> None:
    """Add a folder of music without genres; see `training.datasets.folders.read_folder`."""
    parser.add_argument("--unlabelled", type=Path, help="folder of music without genres")


def add_work(parser: ArgumentParser) -> None:
    """Add the folder that `training.paper.prepare` has filled."""
    parser.add_argument(
        "--work", type=folder, required=True, help="folder of training.paper.prepare"
    )


def add_device(parser: ArgumentParser) -> None:
    """Add the device that networks are trained on."""
    here = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", type=device, default=here)


def add_stream(parser: ArgumentParser) -> None:
    """Add the choice to read spectrograms from the disk during training."""
    parser.add_argument(
        "--stream",
        action="store_true",
        help="leave spectrograms and transfer features on the disk, for lack of memory",
    )


def add_cluster(parser: ArgumentParser) -> None:
    """Add the processes or the Dask scheduler that do the work."""
    parser.add_argument("--scheduler", help="address of a Dask scheduler; without, processes here")
    parser.add_argument("--workers", type=positive, help="processes here; by default one per core")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End a command with one line, and no traceback, after an error that was foreseen."""
    if missing := missing_for_learning():
        sys.exit(missing)
    try:
        yield
    except AgfError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(line_of(error))
    except torch.OutOfMemoryError:
        sys.exit("the GPU has too little memory; free some, or give --device cpu")
    except MemoryError:
        sys.exit("there is too little memory; free some, and run the command again")
    except KeyboardInterrupt:
        sys.exit("stopped; what is finished is kept: run the command again to go on")


def line_of(error: OSError) -> str:
    """Return a line on what the system refused, and what to do."""
    where = shown(error.filename) if error.filename else "a file"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where} cannot be written (the disk is full); make room there and run again"
    return f"{where}: {error.strerror or error}; mend that and run the command again"
