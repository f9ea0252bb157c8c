"""A tagger in a process of its own, which a file may crash without harm to whoever asked.

libav decodes what strangers made, natively: one bad file could end the process. So it is another
one. It listens in as many threads as a `GenreTagger` does; when it dies or stands still, what it
had in hand is given to a new one, file by file, and the file that is its end again is the one to
blame. The asking process loads neither libav nor ONNX Runtime.

Both sides talk in lines of JSON, one for each file and one for each result.
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
# What the process is started with, unless whoever asks has other wishes. Files are what runs in
# parallel: numpy's own threads would only wait for one another. And memory that has just been given
# back is wanted again for the next file (glibc only): to get it anew costs an eighth of the time.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**27),
}
PROGRAM = (
    "import sys; sys.path[:] = sys.argv[1:]; from agf_core.inference.worker import serve; serve()"
)


class _DiedError(Exception):
    """The process is gone; the message says how, to follow "it"."""


@dataclass
class _Asked(Generic[P]):
    """A file that the process has been given."""

    number: int
    path: P
    result: FileResult[P] | None = None


class IsolatedTagger:
    """Predicts from files like `GenreTagger`, in a process that may crash.

    For one thread at a time. The process starts with the first file and ends with this object.

    Parameters
    ----------
    model : bundle.Bundle
    threads : int, optional
        Files listened to at a time; by default one per processor core.
    """

    def __init__(self, model: bundle_format.Bundle, *, threads: int | None = None) -> None:
        self.labels = model.metadata.labels
        self.model_id = model.model_id
        self.prior = model.metadata.prior
        self._folder = model.folder
        self._threads = threads
        self._ahead = 1  # files in hand or waiting; more when the process has told its threads
        self._process: _Process | None = None
        self._asked = 0

    @classmethod
    def load(
        cls, folder: str | Path | None = None, *, threads: int | None = None
    ) -> "IsolatedTagger":
        """Load the model of `folder`, or the shipped one; `bundle.BundleError` where it fails."""
        return cls(bundle_format.load(folder), threads=threads)

    def predict_files(self, paths: Iterable[P]) -> Generator[FileResult[P]]:
        """Predict from many files.

        Lazy: paths are taken as results are, a few ahead. Results come in the paths' order. A file
        that fails, or ends the process that listens to it, is a result with an error. Closing the
        iterator ends the process if it has files in hand.

        Yields
        ------
        FileResult

        Raises
        ------
        bundle.BundleError
            When the model's network cannot be run.
        """
        remaining = iter(paths)
        asked: deque[_Asked[P]] = deque()
        try:
            while True:
                while len(asked) < self._ahead and (path := next(remaining, None)) is not None:
                    asked.append(self._ask(path))
                if not asked:
                    return
                try:
                    self._receive(asked)
                except _DiedError:
                    self._blame(asked)
                while asked and (result := asked[0].result):
                    asked.popleft()
                    yield result
        finally:
            if asked:
                self.close()

    def close(self) -> None:
        """End the process; it starts again when it is needed."""
        if self._process:
            self._process.end()
            self._process = None

    def _ask(self, path: P) -> _Asked[P]:
        """Give the process a file; that it has died is found out when there is no answer."""
        if self._process is None:
            self._process = self._start()
        self._asked += 1
        self._process.send({"number": self._asked, "path": os.fsdecode(path)})
        return _Asked(self._asked, path)

    def _receive(self, asked: Iterable[_Asked[P]]) -> None:
        """Wait for one more result."""
        assert self._process is not None
        answer = self._process.receive()
        (one,) = (one for one in asked if one.number == answer["number"])
        if "error" in answer:
            error = getattr(errors, answer["error"])(answer["message"])
            one.result = FileResult(one.path, error=error)
        else:
            prediction = Prediction(self.labels, np.array(answer["probabilities"]))
            one.result = FileResult(one.path, prediction, lost=answer["lost"])

    def _blame(self, asked: Iterable[_Asked[P]]) -> None:
        """Give each file without a result to the process alone; see which of them ends it."""
        self.close()
        for one in asked:
            if one.result is not None:
                continue
            alone = self._ask(one.path)
            try:
                self._receive([alone])
                one.result = alone.result
            except _DiedError as end:
                self.close()
                error = errors.UnreadableAudioError(
                    f"{errors.shown(one.path)} is damaged: whoever decodes it {end};"
                    " replace it by an intact copy."
                )
                one.result = FileResult(one.path, error=error)

    def _start(self) -> "_Process":
        try:
            process = _Process()
        except OSError as error:
            raise errors.BundleError(
                f"no process to listen in can be started ({error.strerror})"
            ) from error
        folder = "" if self._folder == bundle_format.SHIPPED else os.fsdecode(self._folder)
        process.send({"folder": folder, "threads": self._threads})
        try:
            greeting = process.receive()
        except _DiedError as end:
            raise errors.BundleError(
                f"the model in {self._folder} cannot be run: whoever tries {end}"
            ) from None
        if "error" in greeting:
            raise errors.BundleError(greeting["error"])
        if greeting["model_id"] != self.model_id:
            raise errors.BundleError(f"the model in {self._folder} has just changed; run again")
        self._ahead = 2 * greeting["threads"]
        return process


class _Process:
    """The process that listens, as seen from outside."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            # -P: nothing is imported from the folder that somebody happens to be in
            [sys.executable, "-P", "-c", PROGRAM, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT | os.environ,
            start_new_session=True,  # Ctrl-C is for us
        )
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self.end = weakref.finalize(self, _end, self._process)
        threading.Thread(target=_forward, args=(self._process, self._lines), daemon=True).start()

    def send(self, message: dict[str, Any]) -> None:
        """Send a line; to a process that is gone, in vain."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """Return the next line; `_DiedError` if none will come."""
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
        with suppress(OSError):  # what was not sent yet cannot be sent any more
            pipe.close()  # type: ignore[union-attr]


def _forward(process: subprocess.Popen, lines: SimpleQueue[bytes]) -> None:
    """Pass on what a process says, and an empty line when it has ended."""
    assert process.stdout is not None
    with suppress(ValueError):  # closed on our side
        for line in process.stdout:
            lines.put(line)
    lines.put(b"")


def _cause(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"exit code {code}"


# In the process


def serve() -> None:
    """Listen to what standard input names, until it ends, which it does with the asking process."""
    from agf_core.inference.tagger import GenreTagger

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes nowhere
    _limit_memory()
    order = json.loads(sys.stdin.readline())
    try:
        tagger = GenreTagger.load(order["folder"] or None, threads=order["threads"])
    except errors.BundleError as error:
        print(json.dumps({"error": str(error)}), file=answers, flush=True)
        return
    greeting = {"model_id": tagger.model_id, "threads": tagger.threads}
    print(json.dumps(greeting), file=answers, flush=True)
    saying = threading.Lock()

    def answer(number: int, path: str) -> None:
        reply = json.dumps({"number": number} | _heard(tagger, path))
        with saying:
            print(reply, file=answers, flush=True)

    pool = ThreadPoolExecutor(tagger.threads)
    for line in sys.stdin:
        pool.submit(answer, **json.loads(line))
    os._exit(0)  # nobody waits for what is in hand, which may be a file that hangs


def _heard(tagger: Any, path: PathLike) -> dict[str, Any]:
    """Return the result of a file as JSON holds it."""
    try:
        result = tagger.listen(path)
    except Exception as error:  # a fault of ours, or memory that is short: no reason to stop
        message = f"{errors.shown(path)} cannot be listened to ({type(error).__name__}: {error})."
        return {"error": "AudioError", "message": message}
    if result.error is not None:
        return {"error": type(result.error).__name__, "message": str(result.error)}
    return {"probabilities": result.prediction.probabilities.tolist(), "lost": result.lost}


def _limit_memory() -> None:
    """Let a file that asks for more memory than there could be use for fail; leave no core file."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind, most in ((resource.RLIMIT_DATA, MEMORY), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(kind)
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (soft, hard))
