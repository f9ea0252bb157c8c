"""Process many files in worker processes.

Native code that crashes on a file ends its worker alone; the file is reported, the others go on.
"""

import errno
import multiprocessing
import multiprocessing.connection
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

from agf_core.errors import AgfError, AudioError, CacheError, DescriptorError
from agf_core.utils.cores import available_cores
from agf_core.utils.process_end import FREE_MEMORY, TOO_LITTLE_MEMORY, TOO_SLOW, reason_of_end

LONGEST_SECONDS = 600  # that a file may take before its process is killed

Job = tuple[str, Path]


class _Unfinished(str):
    """Why a job was not done, where that need not be the file's fault."""


def processes_for(wanted: int | None, jobs: int) -> int:
    """Return how many processes to start for so many jobs: one per core is as many as help."""
    cores = available_cores()
    return max(1, min(wanted or cores, cores, jobs))


def in_processes(
    work: Callable[[Job], None], jobs: Sequence[Job], processes: int
) -> Iterator[tuple[Job, str]]:
    """Do `work` on every job, several at a time, also when it crashes its process.

    What was not done because a process was killed, had too little memory or took too long is tried
    once more at the end, by one process.

    Yields
    ------
    job, error
        In the order in which jobs end; the error is empty on success.

    Raises
    ------
    AgfError
        When a job ends with one that is not about its file, such as a `CacheError`: that holds for
        all others.
    RuntimeError
        When no process can be started, which is no fault of a job.
    """
    again = []
    for job, error in _attempts(work, jobs, processes):
        if isinstance(error, _Unfinished):
            again.append(job)
        else:
            yield job, error
    for job, error in _attempts(work, again, 1):
        yield job, str(error)


def _attempts(
    work: Callable[[Job], None], jobs: Sequence[Job], processes: int
) -> Iterator[tuple[Job, str]]:
    """Try every job once; see `in_processes`."""
    context = multiprocessing.get_context("spawn")
    pending = deque(jobs)
    idle: list[tuple[Connection, multiprocessing.process.BaseProcess]] = []
    busy: dict[Connection, tuple[multiprocessing.process.BaseProcess, Job, float]] = {}
    started: set[multiprocessing.process.BaseProcess] = set()
    overdue: set[multiprocessing.process.BaseProcess] = set()
    try:
        while pending or busy:
            while pending and len(busy) < processes:
                if idle:
                    ours, process = idle.pop()
                else:
                    ours, theirs = context.Pipe()
                    process = context.Process(target=_serve, args=(theirs, work), daemon=True)
                    process.start()
                    theirs.close()  # so that the end of the process closes the pipe
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
                    if isinstance(error, AgfError):
                        raise error
                except (EOFError, OSError):
                    _bury(ready, process, started)
                    error = _death(process, process in overdue)
                yield job, error
            for process, _, since in busy.values():
                if process in started and time.monotonic() - since > LONGEST_SECONDS:
                    overdue.add(process)
                    process.kill()
    finally:
        for process in [process for _, process in idle] + [entry[0] for entry in busy.values()]:
            process.terminate()
            process.join()


def _death(process: multiprocessing.process.BaseProcess, is_overdue: bool) -> str:
    """Return why a process has died."""
    if is_overdue:
        return _Unfinished(f"its process died after {LONGEST_SECONDS} s: {TOO_SLOW}.")
    reason, remedy = reason_of_end(process.exitcode or 0)
    text = f"its process died: it {reason}"
    return _Unfinished(f"{text}; {remedy}.") if remedy else f"{text}."


def _bury(
    connection: Connection,
    process: multiprocessing.process.BaseProcess,
    started: set[multiprocessing.process.BaseProcess],
) -> None:
    """Clean up after a process that died; raise `RuntimeError` if it has never started."""
    process.join()
    connection.close()
    if process not in started:
        raise RuntimeError(
            "no worker process can be started; a script must do its work below "
            "`if __name__ == '__main__':`"
        ) from None


def _serve(connection: Connection, work: Callable[[Job], None]) -> None:
    """Do jobs until the other end closes; send None once started, then an error text per job."""
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other end handles it and ends this process
    connection.send(None)
    with threadpool_limits(1):  # there is a process for every core
        while True:
            try:
                job = connection.recv()
            except EOFError:
                return
            error: str | AgfError = ""
            try:
                work(job)
            except (AudioError, DescriptorError) as problem:
                error = str(problem)
            except AgfError as problem:
                error = problem
            except MemoryError:
                error = _Unfinished(f"its process {TOO_LITTLE_MEMORY}; {FREE_MEMORY}.")
            except Exception as problem:
                error = f"{type(problem).__name__}: {problem}"
                if getattr(problem, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                    error = CacheError(f"the disk is full ({problem}); make room there, run again")
            connection.send(error)
