"""Options that several commands share, and how they say what went wrong."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from agf_core.errors import AgfError


def add_collection(parser: ArgumentParser) -> None:
    """Add a collection, and the folder that keeps what is made of it."""
    parser.add_argument(
        "--table", type=Path, required=True, help="CSV of training.datasets.collection"
    )
    parser.add_argument("--work", type=Path, required=True, help="features and checkpoints")


def add_unlabelled(parser: ArgumentParser) -> None:
    """Add music of which nothing is known (see `training.pretrained.pretrain`)."""
    parser.add_argument("--unlabelled", type=Path, help="folder of music without genres")


def add_work(parser: ArgumentParser) -> None:
    """Add the folder that `training.paper.prepare` has filled."""
    parser.add_argument("--work", type=Path, required=True, help="folder of training.paper.prepare")


def add_device(parser: ArgumentParser) -> None:
    """Add where networks are trained."""
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")


def add_stream(parser: ArgumentParser) -> None:
    """Add where spectrograms are while networks are trained."""
    parser.add_argument(
        "--stream", action="store_true", help="leave spectrograms on the disk, for lack of memory"
    )


def add_cluster(parser: ArgumentParser) -> None:
    """Add who does the work."""
    parser.add_argument("--scheduler", help="address of a Dask scheduler; without, processes here")
    parser.add_argument("--workers", type=int, help="processes here; by default one per core")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the command with a line, and no traceback, when something foreseen goes wrong."""
    try:
        yield
    except AgfError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("stopped; what is finished is kept: run the command again to go on")
