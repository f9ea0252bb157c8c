"""Work on many files in processes of their own.

Native code that crashes on one file takes its process along, and the file is named while the others
go on.
"""

import multiprocessing
import multiprocessing.connection
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

from agf_core.errors import AudioError, CacheError, DescriptorError

LONGEST_SECONDS = 600  # that one file may take, after which its process is ended

Job = tuple[str, Path]


def in_processes(
    work: Callable[[Job], None], jobs: Sequence[Job], processes: int
) -> Iterator[tuple[Job, str]]:
    """Do `work` on every job, several at a time, and survive whatever it does to its process.

    Yields
    ------
    job, error
        In the order in which they end; the error is empty where all went well.

    Raises
    ------
    CacheError
        When what comes of a job cannot be kept: that of others could not, either.
    RuntimeError
        When no process can be started: no job is to blame for that.
    """
    context = multiprocessing.get_context("spawn")
    pending = deque(jobs)
    idle: list[tuple[Connection, multiprocessing.process.BaseProcess]] = []
    busy: dict[Connection, tuple[multiprocessing.process.BaseProcess, Job, float]] = {}
    started: set[multiprocessing.process.BaseProcess] = set()
    try:
        while pending or busy:
            while pending and len(busy) < processes:
                if idle:
                    ours, process = idle.pop()
                else:
                    ours, theirs = context.Pipe()
                    process = context.Process(target=_serve, args=(theirs, work), daemon=True)
                    process.start()
                    theirs.close()  # so that the end of the process is seen at our end
                try:
                    ours.send(pending[0])
                except OSError:  # it died meanwhile
                    _bury(ours, process, started)
                    continue
                busy[ours] = (process, pending.popleft(), time.monotonic())
            for connection in multiprocessing.connection.wait(list(busy), timeout=1):
                ready = cast(Connection, connection)  # never a socket or a handle
                process, job, _ = busy.pop(ready)
                try:
                    error = ready.recv()
                    if error is None:  # it has started
                        started.add(process)
                        busy[ready] = (process, job, time.monotonic())
                        continue
                    idle.append((ready, process))
                    if isinstance(error, CacheError):
                        raise error
                except (EOFError, OSError):
                    _bury(ready, process, started)
                    error = f"its process died (exit code {process.exitcode})."
                yield job, error
            for process, _, since in busy.values():
                if process in started and time.monotonic() - since > LONGEST_SECONDS:
                    process.kill()
    finally:
        for process in [process for _, process in idle] + [entry[0] for entry in busy.values()]:
            process.terminate()
            process.join()


def _bury(
    connection: Connection,
    process: multiprocessing.process.BaseProcess,
    started: set[multiprocessing.process.BaseProcess],
) -> None:
    """Put away what is left of a process that died; `RuntimeError` if it has never started."""
    process.join()
    connection.close()
    if process not in started:
        raise RuntimeError(
            "no process to work in can be started; a script that needs them must "
            "do its work below `if __name__ == '__main__':`"
        ) from None


def _serve(connection: Connection, work: Callable[[Job], None]) -> None:
    """Do jobs until the other end closes; errors go back as text, after None to begin with."""
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other end hears it and ends us
    connection.send(None)
    with threadpool_limits(1):  # there is a process for every core
        while True:
            try:
                job = connection.recv()
            except EOFError:
                return
            error: str | CacheError = ""
            try:
                work(job)
            except CacheError as problem:
                error = problem
            except (AudioError, DescriptorError) as problem:
                error = str(problem)
            except Exception as problem:
                error = f"{type(problem).__name__}: {problem}"
            connection.send(error)
