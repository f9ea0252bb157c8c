"""Work on many processes or machines, by Dask's distributed scheduler.

Without an address, the processes are started here and end with the command. With one, they are
those of a scheduler that runs elsewhere and whose workers see the same folders, the clone among
them: they find its code wherever they were started. When a worker dies, its job is tried anew by
another; a job that has taken four workers along is given up and reported.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

import agf_core
import training
from agf_core.errors import AgfError
from training.cli import line_of
from training.errors import RunError

if TYPE_CHECKING:  # comes with [research] only
    from distributed import Client, Future

SCHEDULER_TIMEOUT = "20s"  # for a scheduler to answer
Job = TypeVar("Job")


@contextmanager
def connect(scheduler: str | None, workers: int) -> Iterator["Client"]:
    """Yield a client of a scheduler, or of as many worker processes here.

    Raises
    ------
    RunError
        When no scheduler answers at the address.
    """
    from distributed import Client, LocalCluster

    if scheduler:
        try:
            client = Client(scheduler, timeout=SCHEDULER_TIMEOUT)
        except (OSError, ValueError) as error:
            raise RunError(
                f"no Dask scheduler answers at {scheduler} ({error}); start one with"
                " `dask scheduler`, or leave --scheduler out"
            ) from None
        with client:
            _show_the_code(client)
            print(f"progress: {client.dashboard_link}", flush=True)
            yield client
        return
    # No limit on memory: spectrograms mapped from a file would count against it.
    with _ignored_interrupts():
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address=":0",  # another command may have the usual one
            silence_logs=logging.CRITICAL,  # errors of jobs are reported in a line each
        )
    with cluster, Client(cluster) as client:
        print(f"progress: {client.dashboard_link}", flush=True)
        yield client


def _show_the_code(client: "Client") -> None:
    """Let a scheduler and its workers, also those yet to come, import the code of this clone.

    The clone need not be installed, and the command ``dask`` does not look into the folder that it
    is started in.
    """
    from distributed import WorkerPlugin

    packages = [Path(str(package.__file__)).parents[1] for package in (training, agf_core)]
    folders = list(dict.fromkeys(map(str, packages)))

    # Both are defined in here, so that they are sent as they are and not by name: the other side
    # cannot import this module yet.
    def show() -> None:
        sys.path[:] = folders + [path for path in sys.path if path not in folders]

    class Code(WorkerPlugin):
        name = "beets-agf"

        def setup(self, worker: Any) -> None:
            show()

    client.run_on_scheduler(show)
    client.register_plugin(Code())


@contextmanager
def _ignored_interrupts() -> Iterator[None]:
    """Start processes that leave Ctrl-C to this one, which ends them in good order."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def finished(
    futures: Iterable["Future"],
) -> Iterator[tuple["Future", Any, BaseException | None]]:
    """Yield every job as it ends: what it returned, or the error that it ended with."""
    from distributed import as_completed

    waiting = as_completed(futures)
    del futures  # what has ended is let go, or the death of its worker would have it done again
    for future in waiting:
        error = future.exception()
        yield future, (future.result() if error is None else None), error


def each(
    client: "Client", function: Callable[[Job], Any], jobs: Iterable[Job]
) -> Iterator[tuple[Job, Any, BaseException | None]]:
    """Do `function` on every job; yield the jobs as they end, as `finished` does."""
    job_of = {}
    futures = []
    for job in jobs:
        futures.append(client.submit(function, job, pure=False))
        job_of[futures[-1].key] = job
    for future, result, error in finished([futures.pop() for _ in job_of]):
        yield job_of[future.key], result, error


def reason(error: BaseException, what: str) -> str:
    """Return a line on why a job could not be done.

    Parameters
    ----------
    what : str
        The job was about, such as a track.
    """
    from distributed import KilledWorker

    if isinstance(error, AgfError):
        return str(error)
    if isinstance(error, OSError):
        return f"{what}: {line_of(error)}"
    if isinstance(error, KilledWorker):
        return (
            f"{what}: four processes died of it; see whether memory is short, or leave it out of"
            " the table"
        )
    text = " ".join(str(error).split())
    return f"{what}: {type(error).__name__} {text}; what is finished is kept"


def device_here() -> str:
    """Return the device that a worker trains on.

    Of the GPUs that its environment shows (``CUDA_VISIBLE_DEVICES``) it takes the only one, or the
    first where they are not in order: then another program has given each worker its own.
    Otherwise the workers on one machine share the GPUs out.
    """
    if not torch.cuda.is_available():
        return "cpu"
    shown = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    in_order = sorted(shown, key=lambda name: (int(name) if name.isdecimal() else 0, name))
    if torch.cuda.device_count() == 1 or shown != in_order:
        return "cuda:0"
    return f"cuda:{place_here() % torch.cuda.device_count()}"


@cache  # a worker stays where it is when others come and go
def place_here() -> int:
    """Return the place of this worker among those on its machine, from 0."""
    from distributed import get_client, get_worker
    from distributed.comm import get_address_host

    mine = get_worker().address
    machine = get_address_host(mine)
    return sorted(a for a in get_client().nthreads() if get_address_host(a) == machine).index(mine)
