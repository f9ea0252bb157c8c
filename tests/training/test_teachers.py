"""What teachers predict, from a process of their own; here one that measures how loud it is."""

import hashlib
import sys

import numpy as np
import pytest

from agf_core.errors import CorpusError
from agf_core.features.cache import FeatureCache
from training.datasets.collection import read_csv
from training.pretrained import extract_teachers
from training.pretrained.extract_teachers import TeacherProcess
from training.recipes import OURS
from training.teachers.features import EFFICIENTAT, MUSICNN, STRETCH_SAMPLES
from training.teachers.windows import cut_for_teachers, cut_log_mel, excerpt_of, read_windows

CHILD = """
import sys
import numpy as np

n = {"musicnn": 250, "efficientat": 698}[sys.argv[1]]
while head := sys.stdin.buffer.read(8):
    samples = np.frombuffer(sys.stdin.buffer.read(4 * int.from_bytes(head, "little")), np.float32)
    if not samples.any():
        sys.exit(1)
    windows = samples.reshape(-1, 187 * 256)
    sys.stdout.buffer.write(np.int64(len(windows)).tobytes())
    rows = np.repeat(abs(windows).max(axis=1, keepdims=True), n, axis=1)
    sys.stdout.buffer.write(rows.astype(np.float32).tobytes())
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    monkeypatch.setattr(extract_teachers, "WORKER_PROGRAM", script)


def test_a_teacher_answers_sound_by_sound(child):
    with TeacherProcess(EFFICIENTAT, sys.executable) as efficientat:
        for loud in (0.5, 0.25):
            answer = efficientat.analyse(np.full(2 * STRETCH_SAMPLES, loud))
            np.testing.assert_array_equal(answer, np.full((2, 698), loud, np.float32))


def test_one_that_ends_is_named(child):
    with (
        TeacherProcess(MUSICNN, sys.executable) as musicnn,
        pytest.raises(RuntimeError, match="has ended; has its environment what musicnn needs"),
    ):
        musicnn.analyse(np.zeros(9))


def test_network_and_teachers_get_the_same_windows():
    spec = OURS.input
    length = spec.segment_frames * spec.hop_length
    samples = np.zeros(3 * length + 100, np.float32)
    samples[length : 2 * length] = np.random.default_rng(0).uniform(-1, 1, length)
    rows = cut_log_mel(samples, spec)
    assert rows.shape == (3, spec.segment_frames, spec.n_mels)
    asked = cut_for_teachers(samples, spec).reshape(-1, STRETCH_SAMPLES)
    loud = np.sqrt((asked**2).mean(axis=1))
    assert len(asked) == 3
    assert loud[1] > 10 * max(loud[0], loud[2])
    assert rows[1].mean() > rows[0].mean() + 20


def test_a_sound_shorter_than_a_window_is_repeated():
    assert cut_log_mel(np.ones(5_000, np.float32), OURS.input).shape[0] == 1
    assert cut_for_teachers(np.ones(5_000, np.float32), OURS.input).shape == (STRETCH_SAMPLES,)


def test_the_command_keeps_what_both_predict_and_reads_nothing_twice(
    child, tmp_path, monkeypatch, write_wav
):
    rng = np.random.default_rng(0)
    lines = ["track_id,path,artist,album,genre,genres,split"]
    for i in range(3):
        write_wav(f"{i}.wav", rng.uniform(-0.1, 0.1, 112_000) * (i + 1), 16_000)
        lines.append(f"{i},{i}.wav,artist {i},,Rock,Rock,train")
    table, clone = tmp_path / "table.csv", tmp_path / "EfficientAT"
    table.write_text("\n".join(lines))
    arguments = ["teacher", "--table", str(table), "--work"]
    arguments += [str(tmp_path / "work"), "--python", sys.executable]
    arguments += ["--efficientat", str(clone)]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit, match="cannot be read: No such file"):
        extract_teachers.main()
    (clone / "resources").mkdir(parents=True)
    (clone / extract_teachers.MN04_WEIGHTS).write_bytes(b"not it")
    with pytest.raises(SystemExit, match="another file than the one"):
        extract_teachers.main()
    monkeypatch.setattr(extract_teachers, "MN04_SHA256", hashlib.sha256(b"not it").hexdigest())
    with monkeypatch.context() as broken:
        broken.setattr(extract_teachers, "WORKER_PROGRAM", tmp_path / "none.py")
        with pytest.raises(SystemExit, match="has ended; has its environment what musicnn needs"):
            extract_teachers.main()
    extract_teachers.main()
    tracks = read_csv(table).tracks
    cache = FeatureCache(tmp_path / "work" / "features")
    for i, track in enumerate(tracks):
        windows = excerpt_of(track, cache)
        assert windows.classes.shape == (2, 236)
        assert windows.hidden.shape == (2, 712)
        assert windows.classes.mean() == pytest.approx(0.1 * (i + 1), rel=0.5)
        assert len(read_windows(track, cache).log_mel) == 2  # too short for more
    (tmp_path / "0.wav").unlink()  # has been analysed
    monkeypatch.setattr(extract_teachers, "WORKER_PROGRAM", tmp_path / "none.py")
    extract_teachers.main()
    write_wav("9.wav", rng.uniform(-0.1, 0.1, 112_000), 16_000)
    table.write_text(f"{table.read_text()}\n9,9.wav,artist 9,,Rock,Rock,train")
    (tmp_path / "9.wav").unlink()  # has not been analysed
    with pytest.raises(SystemExit, match=r"9\.wav does not exist\. What is finished is kept"):
        extract_teachers.main()


def test_a_track_that_was_not_analysed_is_named(tmp_path, corpus):
    track = read_csv(corpus).tracks[0]
    with pytest.raises(CorpusError, match="have not analysed"):
        excerpt_of(track, FeatureCache(tmp_path))


@pytest.mark.parametrize("one", [MUSICNN, EFFICIENTAT])
def test_what_has_another_shape_is_no_feature(one):
    assert one.fits(np.zeros((1, one.n_features)))
    assert not one.fits(np.zeros((0, one.n_features)))
    assert not one.fits(np.zeros((1, one.n_features - 1)))
    assert not one.fits(np.full((1, one.n_features), np.nan))
