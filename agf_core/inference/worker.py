"""A tagger in a worker process, which a file may crash without harm to the main process.

libav decodes untrusted files in native code, and a bad file could end the process. The worker uses
as many threads as a `GenreTagger`. When it dies or hangs, the files in progress are sent to a new
worker of one thread, one by one. A file that ends it again is reported as damaged. If the worker
was killed, had too little memory, or waited for the disk, that is reported instead. The main
process loads neither libav nor ONNX Runtime.

Both processes exchange lines of JSON: one for each file, one for each result and, while files are
being read, the number of bytes read since the last line.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Generic

import numpy as np

from agf_core import errors
from agf_core.bundle import format as bundle_format
from agf_core.inference.prediction import Features, FileResult, P, predict
from agf_core.utils.process_end import (
    FREE_MEMORY,
    NO_MEMORY_CODE,
    TOO_LITTLE_MEMORY,
    TOO_SLOW,
    reason_of_end,
)

SLOWEST_READING = 8_192  # bytes per second: the time limit grows by reading at this rate
SECONDS_BETWEEN_REPORTS = 1.0  # on bytes read
FILES_AHEAD = 32  # that the worker may go on with while the main process writes what it has
REPAIR = "repair the installation with `pip install --force-reinstall beets-agf`"
SECONDS_WITHOUT_ANSWER = 120.0  # after which the process is taken to hang
MEMORY_LIMIT = 4 * 2**30  # bytes of data the process may have; it needs a tenth of that
# Environment of the worker, overridden by that of the main process. Files run in parallel: threads
# of numpy would only wait for one another. Freed memory is kept for the next file (glibc only):
# allocating it again costs an eighth of the time.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**27),
}
WORKER_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[1:]; from agf_core.inference.worker import serve; serve()"
)


class _DiedError(Exception):
    """The worker is gone; the message is the reason, to follow "it".

    Parameters
    ----------
    reason : str
    remedy : str
        What to do where the file need not be the cause; empty where it is.
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.remedy = remedy

    def error_of(self, path: errors.AnyPath) -> errors.AudioError:
        """Return the error of the only file in progress."""
        name, process = errors.shown(path), f"the process that decodes it {self}"
        if self.remedy:
            return errors.AudioError(f"{name} was not analysed: {process}; {self.remedy}.")
        return errors.UnreadableAudioError(
            f"{name} is damaged: {process}; replace it with an intact copy."
        )


@dataclass
class _Sent(Generic[P]):
    """A file that was sent to the worker."""

    number: int
    path: P
    result: FileResult[P] | None = None


class IsolatedTagger:
    """Predict from files like `GenreTagger`, in a worker process that may crash.

    For one thread at a time. The worker starts with the first file and ends with this object.

    Parameters
    ----------
    model : bundle.Bundle
    threads : int, optional
        Files analysed at a time; by default one per processor core.
    store : Path, optional
        Where features of sounds that were analysed before are looked up, see
        `agf_core.inference.embeddings`; the results then have keys.
    """

    def __init__(
        self,
        model: bundle_format.Bundle,
        *,
        threads: int | None = None,
        store: Path | None = None,
    ) -> None:
        self.metadata = model.metadata
        self._store = store
        self.labels = model.metadata.labels
        self.styles = model.metadata.styles
        self.model_id = model.model_id
        self.prior = model.metadata.prior
        self._folder = model.folder
        self._threads = threads
        self._ahead = 1  # files sent and not answered; more once its threads are known
        self._process: _Process | None = None
        self._sent = 0

    @classmethod
    def load(
        cls, folder: str | Path | None = None, *, threads: int | None = None
    ) -> "IsolatedTagger":
        """Load the model of `folder`, or the shipped one; `bundle.BundleError` where it fails."""
        return cls(bundle_format.load(folder), threads=threads)

    def predict_files(self, paths: Iterable[P]) -> Generator[FileResult[P]]:
        """Predict from many files.

        Lazy: paths are consumed as results are, some ahead, so that the worker need not wait.
        Results are in the order of paths. A file that fails, or crashes the worker, is a result
        with an error. Closing the iterator ends the worker if it has files in progress.

        Yields
        ------
        FileResult

        Raises
        ------
        bundle.BundleError
            When the model's network cannot be run.
        """
        remaining = iter(paths)
        sent: deque[_Sent[P]] = deque()
        try:
            while True:
                while len(sent) < self._ahead and (path := next(remaining, None)) is not None:
                    sent.append(self._send(path))
                if not sent:
                    return
                try:
                    self._receive(sent)
                except _DiedError:
                    self._blame(sent)
                while sent and (result := sent[0].result):
                    sent.popleft()
                    yield result
        finally:
            if sent:
                self.close()

    def close(self) -> None:
        """End the worker; it starts again when it is needed."""
        if self._process:
            self._process.end()
            self._process = None

    def _send(self, path: P, threads: int | None = None) -> _Sent[P]:
        """Send a file to the worker; its death is noticed when no result comes."""
        if self._process is None:
            self._process = self._start(threads or self._threads)
        self._sent += 1
        self._process.send({"number": self._sent, "path": os.fsdecode(path)})
        return _Sent(self._sent, path)

    def _receive(self, sent: Iterable[_Sent[P]]) -> None:
        """Wait for one more result."""
        assert self._process is not None
        answer = self._process.receive()
        (one,) = (one for one in sent if one.number == answer["number"])
        if answer.get("error") == "MemoryError":
            raise _DiedError(TOO_LITTLE_MEMORY, FREE_MEMORY)
        if "error" in answer:
            error = getattr(errors, answer["error"])(answer["message"])
            one.result = FileResult(one.path, error=error)
        else:
            features = Features(
                np.frombuffer(b64decode(answer["embedding"]), np.float16),
                np.array(answer["log_probabilities"]),
                np.array(answer["styles"]),
            )
            one.result = FileResult(
                one.path,
                predict(self.metadata, features),
                lost=answer["lost"],
                features=features,
                key=answer["key"],
                seconds=answer["seconds"],
            )

    def _blame(self, sent: Iterable[_Sent[P]]) -> None:
        """Send each file without a result to the worker alone, to find which of them crashes it."""
        self.close()
        for one in sent:
            if one.result is not None:
                continue
            alone = self._send(one.path, threads=1)
            try:
                self._receive([alone])
                one.result = alone.result
            except _DiedError as end:
                self.close()
                one.result = FileResult(one.path, error=end.error_of(one.path))
        self.close()  # the next worker has all threads again

    def _start(self, threads: int | None, *, again: bool = False) -> "_Process":
        """Start a worker; once more with one thread if it is killed meanwhile."""
        try:
            process = _Process()
        except OSError as error:
            raise errors.BundleError(
                f"no worker process can be started ({error.strerror}); end some programs, run again"
            ) from error
        folder = "" if self._folder == bundle_format.SHIPPED else os.fsdecode(self._folder)
        store = self._store and os.fsdecode(self._store)
        process.send({"folder": folder, "threads": threads, "store": store})
        try:
            greeting = process.receive()
        except _DiedError as end:
            process.end()
            if end.remedy and not again:
                return self._start(1, again=True)
            hint = f"; otherwise {REPAIR}" if "exit code" in str(end) else ""
            raise errors.BundleError(
                f"the model in {self._folder} cannot be run: its process {end}; "
                f"{end.remedy or 'make or install the model again'}{hint}"
            ) from None
        if "error" in greeting:
            raise errors.BundleError(greeting["error"])
        if greeting["model_id"] != self.model_id:
            raise errors.BundleError(f"the model in {self._folder} has just changed; run again")
        self._ahead = 2 * greeting["threads"] + FILES_AHEAD
        return process


class _Process:
    """The worker, as seen from the main process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            # -P: nothing is imported from the current folder
            [sys.executable, "-P", "-c", WORKER_PROGRAM, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=WORKER_ENVIRONMENT | os.environ,
            start_new_session=True,  # Ctrl-C is for the main process
        )
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self.end = weakref.finalize(self, _end, self._process)
        threading.Thread(target=_forward, args=(self._process, self._lines), daemon=True).start()

    def send(self, message: dict[str, Any]) -> None:
        """Send a line, which is lost if the worker is gone."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """Return the next result; raise `_DiedError` if none will come."""
        begin, read, waiting = time.monotonic(), 0, False
        while True:
            limit = SECONDS_WITHOUT_ANSWER + read / SLOWEST_READING
            try:
                line = self._lines.get(timeout=max(0.0, begin + limit - time.monotonic()))
            except Empty:
                reason = f"gives no answer for {limit:g} s"
                raise _DiedError(reason, TOO_SLOW if waiting else "") from None
            if not line.endswith(b"\n"):  # the last one, perhaps cut off
                raise _DiedError(*reason_of_end(self._process.wait()))
            message: dict[str, Any] = json.loads(line)
            if "read" not in message:
                return message
            read, waiting = read + message["read"], message["waiting"]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):  # unsent lines cannot be sent any more
            pipe.close()  # type: ignore[union-attr]


def _forward(process: subprocess.Popen[bytes], lines: SimpleQueue[bytes]) -> None:
    """Forward the output of a process, and an empty line when it has ended."""
    assert process.stdout is not None
    with suppress(ValueError):  # closed by the main process
        for line in process.stdout:
            lines.put(line)
    lines.put(b"")


# In the worker


def serve() -> None:
    """Predict from the files of standard input, until it ends with the main process."""
    from agf_core.audio.container import READ_COUNTER
    from agf_core.inference.embeddings import EmbeddingStore
    from agf_core.inference.tagger import GenreTagger

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries is discarded
    _limit_memory()
    order = json.loads(sys.stdin.readline())
    try:
        store = EmbeddingStore(Path(order["store"])) if order["store"] else None
        tagger = GenreTagger.load(order["folder"] or None, threads=order["threads"], store=store)
    except errors.BundleError as error:
        if "alloc" in str(error.__cause__):
            os._exit(NO_MEMORY_CODE)
        print(json.dumps({"error": str(error)}), file=answers, flush=True)
        return
    greeting = {"model_id": tagger.model_id, "threads": tagger.threads}
    print(json.dumps(greeting), file=answers, flush=True)
    writing = threading.Lock()

    def write(message: dict[str, Any]) -> None:
        with writing:
            print(json.dumps(message), file=answers, flush=True)

    def answer(number: int, path: str) -> None:
        try:
            write({"number": number} | _result(tagger, path))
        except MemoryError:
            os._exit(NO_MEMORY_CODE)

    def report_reads() -> None:
        before = (0, False)
        while True:
            time.sleep(SECONDS_BETWEEN_REPORTS)
            now = (READ_COUNTER.bytes, READ_COUNTER.waiting > 0)
            if now != before:
                write({"read": now[0] - before[0], "waiting": now[1]})
                before = now

    try:
        threading.Thread(target=report_reads, daemon=True).start()
        pool = ThreadPoolExecutor(tagger.threads)
        for line in sys.stdin:
            pool.submit(answer, **json.loads(line))
    except (MemoryError, RuntimeError):  # no thread can be started
        os._exit(NO_MEMORY_CODE)
    os._exit(0)  # files in progress are not waited for: one may hang


def _result(tagger: Any, path: errors.AnyPath) -> dict[str, Any]:
    """Return the result of a file as JSON holds it."""
    try:
        result = tagger.predict_one(path)
    except MemoryError:
        return {"error": "MemoryError"}
    except Exception as error:  # a bug: no reason to stop
        if "alloc" in str(error):  # ONNX Runtime has errors of its own
            return {"error": "MemoryError"}
        message = f"{errors.shown(path)} cannot be analysed ({type(error).__name__}: {error})."
        return {"error": "AudioError", "message": message}
    if result.error is not None:
        return {"error": type(result.error).__name__, "message": str(result.error)}
    return {
        "embedding": b64encode(result.features.embedding.tobytes()).decode(),
        "log_probabilities": result.features.log_probabilities.tolist(),
        "styles": result.features.style_probabilities.tolist(),
        "lost": result.lost,
        "key": result.key,
        "seconds": result.seconds,
    }


def _limit_memory() -> None:
    """Limit memory, so that a file that needs absurdly much fails; write no core file."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind, most in ((resource.RLIMIT_DATA, MEMORY_LIMIT), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(kind)
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (soft, hard))
