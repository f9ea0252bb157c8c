"""A tagger in a worker process, which a file may crash without harm to the main process.

libav decodes untrusted files in native code, and a bad file could end the process. The worker uses
as many threads as a `GenreTagger`. When it dies or hangs, the files in progress are sent to a new
worker, one by one; a file that ends it again is reported as the cause. The main process loads
neither libav nor ONNX Runtime.

Both processes exchange lines of JSON, one for each file and one for each result.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import weakref
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
from agf_core.inference.prediction import FileResult, P, PathLike, Prediction

SECONDS = 120.0  # without any answer, after which the process is taken to hang
MEMORY = 4 * 2**30  # bytes of data the process may have; it needs a tenth of that
# Environment of the worker, overridden by that of the main process. Files run in parallel: threads
# of numpy would only wait for one another. Freed memory is kept for the next file (glibc only):
# allocating it again costs an eighth of the time.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**27),
}
PROGRAM = (
    "import sys; sys.path[:] = sys.argv[1:]; from agf_core.inference.worker import serve; serve()"
)


class _DiedError(Exception):
    """The worker is gone; the message is the reason, to follow "it"."""


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
    """

    def __init__(self, model: bundle_format.Bundle, *, threads: int | None = None) -> None:
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

        Lazy: paths are consumed as results are, a few ahead. Results are in the order of paths. A
        file that fails, or crashes the worker, is a result with an error. Closing the iterator ends
        the worker if it has files in progress.

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

    def _send(self, path: P) -> _Sent[P]:
        """Send a file to the worker; its death is noticed when no result comes."""
        if self._process is None:
            self._process = self._start()
        self._sent += 1
        self._process.send({"number": self._sent, "path": os.fsdecode(path)})
        return _Sent(self._sent, path)

    def _receive(self, sent: Iterable[_Sent[P]]) -> None:
        """Wait for one more result."""
        assert self._process is not None
        answer = self._process.receive()
        (one,) = (one for one in sent if one.number == answer["number"])
        if "error" in answer:
            error = getattr(errors, answer["error"])(answer["message"])
            one.result = FileResult(one.path, error=error)
        else:
            prediction = Prediction(
                self.labels,
                np.array(answer["probabilities"]),
                self.styles,
                np.array(answer["styles"]),
            )
            one.result = FileResult(one.path, prediction, lost=answer["lost"])

    def _blame(self, sent: Iterable[_Sent[P]]) -> None:
        """Send each file without a result to the worker alone, to find which of them crashes it."""
        self.close()
        for one in sent:
            if one.result is not None:
                continue
            alone = self._send(one.path)
            try:
                self._receive([alone])
                one.result = alone.result
            except _DiedError as end:
                self.close()
                error = errors.UnreadableAudioError(
                    f"{errors.shown(one.path)} is damaged: the process that decodes it {end};"
                    " replace it with an intact copy."
                )
                one.result = FileResult(one.path, error=error)

    def _start(self) -> "_Process":
        try:
            process = _Process()
        except OSError as error:
            raise errors.BundleError(
                f"no worker process can be started ({error.strerror})"
            ) from error
        folder = "" if self._folder == bundle_format.SHIPPED else os.fsdecode(self._folder)
        process.send({"folder": folder, "threads": self._threads})
        try:
            greeting = process.receive()
        except _DiedError as end:
            raise errors.BundleError(
                f"the model in {self._folder} cannot be run: its process {end}"
            ) from None
        if "error" in greeting:
            raise errors.BundleError(greeting["error"])
        if greeting["model_id"] != self.model_id:
            raise errors.BundleError(f"the model in {self._folder} has just changed; run again")
        self._ahead = 2 * greeting["threads"]
        return process


class _Process:
    """The worker, as seen from the main process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            # -P: nothing is imported from the current folder
            [sys.executable, "-P", "-c", PROGRAM, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT | os.environ,
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
        """Return the next line; raise `_DiedError` if none will come."""
        try:
            line = self._lines.get(timeout=SECONDS)
        except Empty:
            raise _DiedError(f"gives no answer for {SECONDS:g} s") from None
        if not line.endswith(b"\n"):  # the last one, perhaps cut off
            raise _DiedError(f"dies ({_cause(self._process.wait())})")
        return json.loads(line)


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):  # unsent lines cannot be sent any more
            pipe.close()  # type: ignore[union-attr]


def _forward(process: subprocess.Popen, lines: SimpleQueue[bytes]) -> None:
    """Forward the output of a process, and an empty line when it has ended."""
    assert process.stdout is not None
    with suppress(ValueError):  # closed by the main process
        for line in process.stdout:
            lines.put(line)
    lines.put(b"")


def _cause(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"exit code {code}"


# In the worker


def serve() -> None:
    """Predict from the files of standard input, until it ends with the main process."""
    from agf_core.inference.tagger import GenreTagger

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries is discarded
    _limit_memory()
    order = json.loads(sys.stdin.readline())
    try:
        tagger = GenreTagger.load(order["folder"] or None, threads=order["threads"])
    except errors.BundleError as error:
        print(json.dumps({"error": str(error)}), file=answers, flush=True)
        return
    greeting = {"model_id": tagger.model_id, "threads": tagger.threads}
    print(json.dumps(greeting), file=answers, flush=True)
    writing = threading.Lock()

    def answer(number: int, path: str) -> None:
        reply = json.dumps({"number": number} | _result(tagger, path))
        with writing:
            print(reply, file=answers, flush=True)

    pool = ThreadPoolExecutor(tagger.threads)
    for line in sys.stdin:
        pool.submit(answer, **json.loads(line))
    os._exit(0)  # files in progress are not waited for: one may hang


def _result(tagger: Any, path: PathLike) -> dict[str, Any]:
    """Return the result of a file as JSON holds it."""
    try:
        result = tagger.predict_one(path)
    except Exception as error:  # a bug, or too little memory: no reason to stop
        message = f"{errors.shown(path)} cannot be analysed ({type(error).__name__}: {error})."
        return {"error": "AudioError", "message": message}
    if result.error is not None:
        return {"error": type(result.error).__name__, "message": str(result.error)}
    return {
        "probabilities": result.prediction.probabilities.tolist(),
        "styles": result.prediction.style_probabilities.tolist(),
        "lost": result.lost,
    }


def _limit_memory() -> None:
    """Limit memory, so that a file that needs absurdly much fails; write no core file."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind, most in ((resource.RLIMIT_DATA, MEMORY), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(kind)
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (soft, hard))
