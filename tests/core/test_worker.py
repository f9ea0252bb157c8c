"""Tagging in a worker process, also when it dies."""

import os
import subprocess
import sys

import numpy as np
import pytest
from sabotage import sabotage

from agf_core import errors
from agf_core.audio import decode
from agf_core.bundle import format as bundle_format
from agf_core.inference import worker
from agf_core.inference.tagger import GenreTagger
from agf_core.inference.worker import IsolatedTagger

CRASHES = """
if name == "segfault":
    os.kill(os.getpid(), signal.SIGSEGV)
if name == "exit":
    os._exit(3)
if name == "hang":
    while True:
        time.sleep(60)
if name == "fault":
    raise RuntimeError("a fault of ours")
if name == "memory":
    bytearray(2**40)
"""


@pytest.fixture
def tagger(tiny_folder):
    tagger = IsolatedTagger.load(tiny_folder, threads=2)
    yield tagger
    tagger.close()


@pytest.fixture
def crashes(monkeypatch):
    sabotage(monkeypatch, CRASHES)


def named(tmp_path, clip, *names):
    """Copies of a clip, by these names."""
    for name in names:
        (tmp_path / name).write_bytes(clip.read_bytes())
    return [tmp_path / name for name in names]


def test_it_predicts_as_a_tagger_does(tagger, tiny_folder, clips, tmp_path):
    paths = [*clips, tmp_path / "gone.mp3", os.fsencode(clips[0])]
    expected = list(GenreTagger.load(tiny_folder).predict_files(paths))
    for _ in range(2):
        results = list(tagger.predict_files(paths))
        assert [r.path for r in results] == paths
        for one, other in zip(results, expected, strict=True):
            assert (type(one.error), str(one.error)) == (type(other.error), str(other.error))
            if one.prediction:
                assert one.prediction.labels == other.prediction.labels
                np.testing.assert_allclose(  # the last bit depends on where memory lies
                    one.prediction.probabilities, other.prediction.probabilities, rtol=1e-6
                )
    assert list(tagger.predict_files([])) == []


def test_of_a_cut_off_file_it_returns_how_much_was_analysed(tagger, mp3, tmp_path):
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3.read_bytes()[: mp3.stat().st_size // 10])
    whole, rest = tagger.predict_files([mp3, path])
    assert (whole.lost, whole.seconds) == (0, pytest.approx(3, abs=0.05))
    assert (rest.lost, rest.seconds) == (pytest.approx(3), pytest.approx(2, abs=0.2))


@pytest.mark.usefixtures("crashes")
@pytest.mark.parametrize(
    ("name", "how"),
    [("segfault", r"dies \(SIGSEGV\)"), ("exit", r"dies \(exit code 3\)")],
)
def test_a_file_that_crashes_the_worker_is_reported_and_the_others_predicted(
    tagger, clips, tmp_path, name, how
):
    paths = named(tmp_path, clips[0], *"abc", name, *"def")
    results = list(tagger.predict_files(paths))
    assert [r.path for r in results] == paths
    (bad,) = [r for r in results if r.error]
    assert bad.path.name == name
    assert isinstance(bad.error, decode.UnreadableAudioError)
    with pytest.raises(decode.UnreadableAudioError, match=how):
        raise bad.error
    assert str(bad.path) in str(bad.error)


@pytest.mark.usefixtures("crashes")
def test_a_file_that_hangs_the_worker_is_reported(tagger, clips, tmp_path, monkeypatch):
    class Impatient(worker._Process):
        patience = 100

        def send(self, message):
            if message.get("path", "").endswith("/hang"):
                self.patience = 0.1
            super().send(message)

        def receive(self):
            monkeypatch.setattr(worker, "SECONDS_WITHOUT_ANSWER", self.patience)
            return super().receive()

    monkeypatch.setattr(worker, "_Process", Impatient)
    first, hanging, last = tagger.predict_files(named(tmp_path, clips[0], "a", "hang", "b"))
    assert first.prediction
    assert last.prediction
    assert "gives no answer for 0.1 s" in str(hanging.error)


@pytest.mark.usefixtures("crashes")
def test_a_fault_or_too_little_memory_is_an_error_of_that_file(tagger, clips, tmp_path):
    results = list(tagger.predict_files(named(tmp_path, clips[0], "a", "fault", "memory")))
    assert results[0].prediction
    assert "fault cannot be analysed (RuntimeError: a fault of ours)." in str(results[1].error)
    assert "memory was not analysed: the process that decodes it has too little memory" in str(
        results[2].error
    )


def test_a_model_that_cannot_be_run_is_an_error(tiny_parts, tmp_path):
    metadata, files = tiny_parts
    bundle_format.save(
        tmp_path / "junk", metadata, files | {bundle_format.NETWORK: b"not a network"}
    )
    with pytest.raises(errors.BundleError, match="cannot be run"):
        list(IsolatedTagger.load(tmp_path / "junk").predict_files(["a"]))


def test_a_model_that_ends_the_process_is_an_error(tagger, monkeypatch):
    monkeypatch.setattr(worker, "WORKER_PROGRAM", "import os; os.abort()")
    with pytest.raises(errors.BundleError, match=r"cannot be run: its process dies \(SIGABRT\)"):
        list(tagger.predict_files(["a"]))


def test_the_process_keeps_numpy_to_one_thread_unless_set_otherwise(tagger, monkeypatch):
    program = "import json, os; print(json.dumps({'error': os.environ['OMP_NUM_THREADS']}))"
    monkeypatch.setattr(worker, "WORKER_PROGRAM", program)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with pytest.raises(errors.BundleError, match=r"^1$"):
        list(tagger.predict_files(["a"]))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    tagger.close()
    with pytest.raises(errors.BundleError, match=r"^3$"):
        list(tagger.predict_files(["a"]))


def test_a_model_that_changed_meanwhile_is_an_error(tagger, tiny_folder, tiny_parts):
    metadata, files = tiny_parts
    bundle_format.save(tiny_folder, metadata, files | {bundle_format.CARD: b"# Other"})
    with pytest.raises(errors.BundleError, match="has just changed"):
        list(tagger.predict_files(["a"]))


def test_the_worker_ends_with_the_main_process():
    code = (
        "from agf_core.inference.worker import IsolatedTagger; tagger = IsolatedTagger.load();"
        "results = tagger.predict_files(['a', 'b', 'c']); next(results);"
        "print(tagger._process._process.pid, flush=True)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    with pytest.raises(ProcessLookupError):
        os.kill(int(run.stdout), 0)
    assert run.stderr == ""


def test_stopping_early_ends_the_process_only_if_it_has_files_in_progress(tagger, clips):
    results = tagger.predict_files([clips[0], clips[0]])
    next(results)
    next(results)
    process = tagger._process
    results.close()
    assert tagger._process is process
    results = tagger.predict_files(clips)
    next(results)
    results.close()
    assert tagger._process is None


def test_the_main_process_needs_neither_decoder_nor_network():
    code = (
        "import sys; from agf_core.inference.worker import IsolatedTagger;"
        "list(IsolatedTagger.load().predict_files(['a']));"
        "print([m for m in ('av', 'onnxruntime', 'torch') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_where_no_process_can_be_started(tagger, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(errors.BundleError, match="No such file"):
        list(tagger.predict_files(["a"]))


@pytest.mark.usefixtures("crashes")
def test_a_file_that_hangs_does_not_keep_the_process_alive(tagger, clips, tmp_path):
    paths = named(tmp_path, clips[0], "a", "hang")
    results = tagger.predict_files(paths)
    next(results)
    process = tagger._process._process
    process.stdin.close()  # as when the main process is killed
    assert process.wait() == 0
