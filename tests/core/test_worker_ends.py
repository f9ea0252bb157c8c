"""What is told of a file that the worker process did not come to an end with."""

import io
import json
import os

import pytest
from sabotage import sabotage

from agf_core import errors
from agf_core.audio import container, decode
from agf_core.audio.decode import UnreadableAudioError, read_excerpt
from agf_core.inference import worker
from agf_core.inference.worker import IsolatedTagger

LACKS_MEMORY = """
several = threading.active_count() > 3  # main, reads, and one that analyses
if name == "killed" or (name == "large" and several):
    os.kill(os.getpid(), signal.SIGKILL)
if name == "memory" or (name == "hungry" and several):
    raise MemoryError
if name == "tight":
    import resource
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 20, resource.getrlimit(resource.RLIMIT_DATA)[1]))
if name == "threads":
    os._exit(1)  # as OpenBLAS does
"""


@pytest.fixture
def tagger(tiny_folder, monkeypatch):
    sabotage(monkeypatch, LACKS_MEMORY)
    tagger = IsolatedTagger.load(tiny_folder, threads=2)
    yield tagger
    tagger.close()


def results(tagger, tmp_path, clip, *names):
    for name in names:
        (tmp_path / name).write_bytes(clip.read_bytes())
    return list(tagger.predict_files([tmp_path / name for name in names]))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("killed", "was killed by signal 9 (SIGKILL); this happens when memory runs out"),
        ("memory", "has too little memory; free some"),
        ("tight", "has too little memory; free some"),
        ("threads", "dies (exit code 1); this happens when memory runs out"),
    ],
)
def test_a_file_is_not_to_blame_for_want_of_memory(tagger, tmp_path, clips, name, told):
    first, bad, last = results(tagger, tmp_path, clips[0], "a", name, "b")
    assert first.prediction
    assert last.prediction
    message = str(bad.error)
    assert type(bad.error) is errors.AudioError
    assert told in message
    assert str(tmp_path / name) in message
    assert "damaged" not in message
    assert "replace" not in message


@pytest.mark.parametrize("name", ["large", "hungry"])
def test_what_two_threads_have_no_memory_for_is_tried_by_one(tagger, tmp_path, clips, name):
    assert all(
        result.prediction for result in results(tagger, tmp_path, clips[0], *"abc", name, *"def")
    )


@pytest.mark.parametrize("kills", [1, 2])
def test_a_worker_that_is_killed_while_it_starts_is_started_once_more(
    tagger, tmp_path, clips, monkeypatch, kills
):
    begun = tmp_path / "begun"
    kill = (
        f"open({os.fspath(begun)!r}, 'a').write('x')\n"
        f"if len(open({os.fspath(begun)!r}).read()) <= {kills}: os.kill(os.getpid(), 9)\n"
    )
    program = f"import os; exec({kill!r}); {worker.WORKER_PROGRAM}"
    monkeypatch.setattr(worker, "WORKER_PROGRAM", program)
    if kills == 1:
        (result,) = results(tagger, tmp_path, clips[0], "a")
        assert result.prediction
    else:
        with pytest.raises(errors.BundleError, match=r"was killed by signal 9 .* free some memory"):
            results(tagger, tmp_path, clips[0], "a")
    assert begun.read_text() == "xx"


def test_a_worker_that_cannot_start_is_told_with_both_of_its_causes(tagger, monkeypatch):
    monkeypatch.setattr(worker, "WORKER_PROGRAM", "import no_such_module")
    with pytest.raises(errors.BundleError, match=r"free some memory.*otherwise repair"):
        list(tagger.predict_files(["a"]))


@pytest.mark.parametrize("step", ["read_excerpt", "content_key"])
@pytest.mark.parametrize("is_short", [True, False])
def test_a_file_that_needs_absurdly_much_is_damaged_unless_memory_is_short(
    flac, monkeypatch, is_short, step
):
    def cannot_allocate(*_):
        raise MemoryError("Cannot allocate memory")

    if step == "read_excerpt":
        monkeypatch.setattr(decode.Downmixer, "_mix", cannot_allocate)
    else:
        monkeypatch.setattr(container.AudioFile, "packets", cannot_allocate)
        monkeypatch.setattr(container.AudioFile, "head", cannot_allocate)
    monkeypatch.setattr(container, "MEMORY_NEEDED", 1 << 62 if is_short else 1)
    with pytest.raises(MemoryError if is_short else UnreadableAudioError):
        decode.read_excerpt(flac, 5) if step == "read_excerpt" else decode.content_key(flac)


# The limit grows with what is read


class Clock:
    """Time that passes as a process says; its lines come at once."""

    def __init__(self, *events: tuple[float, dict]) -> None:
        self.now, self.events = 0.0, list(events)

    def monotonic(self) -> float:
        return self.now

    def get(self, timeout: float) -> bytes:
        after, message = self.events[0] if self.events else (float("inf"), {})
        if after > timeout:
            self.now += timeout
            raise worker.Empty
        self.now += after
        self.events.pop(0)
        return json.dumps(message).encode() + b"\n"


def received(monkeypatch, *events):
    clock = Clock(*events)
    monkeypatch.setattr(worker, "time", clock)
    process = worker._Process.__new__(worker._Process)
    process._lines = clock
    return process.receive()


def beat(read: int, waiting: bool = True) -> dict:
    return {"read": read, "waiting": waiting}


def test_a_slow_mount_gets_the_time_that_it_needs(monkeypatch):
    reads = [(100, beat(2_000_000))] * 5
    assert received(monkeypatch, *reads, (100, {"number": 1})) == {"number": 1}


@pytest.mark.parametrize("events", [[(1, beat(0))], [(1, beat(100))] * 300])
def test_a_mount_that_is_stuck_or_drips_is_told_to_be_slow(monkeypatch, events):
    with pytest.raises(worker._DiedError) as caught:
        received(monkeypatch, *events)
    error = caught.value.error_of("/music/a.flac")
    assert type(error) is errors.AudioError
    assert str(error).startswith("/music/a.flac was not analysed: ")
    assert str(error).endswith("the disk or the network is too slow, or stuck; run again later.")


@pytest.mark.parametrize("events", [[], [(1, beat(1_000, waiting=False))]])
def test_a_decoder_that_stands_still_is_the_files_fault(monkeypatch, events):
    with pytest.raises(worker._DiedError, match="gives no answer for 120") as caught:
        received(monkeypatch, *events)
    assert isinstance(caught.value.error_of("a.flac"), UnreadableAudioError)


def test_reading_a_file_over_and_over_is_not_counted(clips):
    before = container.READ_COUNTER.bytes
    with container._File(clips[0]) as file:
        size = len(file.read())
        for _ in range(100):
            file.seek(0)
            file.read()
    assert container.READ_COUNTER.bytes - before == container.MOST_READ * size
    assert container.READ_COUNTER.waiting == 0


# The disk


@pytest.mark.parametrize("fails_from", [0, 40_000, 400_000])
@pytest.mark.parametrize(
    ("number", "told"), [(5, "Input/output error"), (116, "Stale file handle"), (110, "timed out")]
)
def test_a_file_that_cannot_be_read_is_not_called_damaged(
    flac, monkeypatch, fails_from, number, told
):
    class Failing(io.FileIO):
        def read(self, size=-1):
            if self.tell() >= fails_from:
                raise OSError(number, f"{told}")
            return super().read(size)

    class File(container._File, Failing):  # in this order of calls
        pass

    monkeypatch.setattr(container, "_File", File)
    with pytest.raises(UnreadableAudioError, match=rf"cannot be read \(.*{told}\)") as caught:
        read_excerpt(flac, 5)
    assert "damaged" not in str(caught.value)
    assert "replace" not in str(caught.value)
    assert container.READ_COUNTER.waiting == 0
