"""The features of teachers, from processes of their own; here of one that measures loudness."""

import hashlib
import sys

import numpy as np
import pytest

from agf_core.features.cache import FeatureCache
from training.datasets.collection import read_csv
from training.errors import RunError
from training.pretrained import extract_teachers
from training.pretrained.extract_teachers import TeacherProcess
from training.teachers.features import EFFICIENTAT, MUSICNN, TEACHERS, teacher_features

WORKER = """
import sys
import numpy as np

n = {"musicnn": 250, "efficientat": 512}[sys.argv[1]]
while head := sys.stdin.buffer.read(8):
    samples = np.frombuffer(sys.stdin.buffer.read(4 * int.from_bytes(head, "little")), np.float32)
    if not samples.any():
        sys.exit(1)
    stretches = 2 if n == 250 else 3
    sys.stdout.buffer.write(np.int64(stretches).tobytes())
    sys.stdout.buffer.write(np.full((stretches, n), abs(samples).max(), np.float32).tobytes())
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    script = tmp_path / "child.py"
    script.write_text(WORKER)
    monkeypatch.setattr(extract_teachers, "WORKER", script)


def test_a_teacher_answers_sound_by_sound(child):
    with TeacherProcess(EFFICIENTAT, sys.executable) as efficientat:
        for loud in (0.5, 0.25):
            found = efficientat.extract(np.array([0, loud, -loud / 2]))
            np.testing.assert_array_equal(found, np.full((3, 512), loud, np.float32))


def test_a_teacher_that_ends_is_an_error(child):
    with (
        TeacherProcess(MUSICNN, sys.executable) as musicnn,
        pytest.raises(RunError, match="has ended; see that its environment"),
    ):
        musicnn.extract(np.zeros(9))


def test_the_command_keeps_the_features_of_both_and_reads_nothing_twice(
    child, tmp_path, monkeypatch, write_wav
):
    rng = np.random.default_rng(0)
    lines = ["track_id,path,artist,album,genre,genres,split"]
    for i in range(3):
        write_wav(f"{i}.wav", rng.uniform(-0.1, 0.1, 80_000) * (i + 1), 16_000)
        lines.append(f"{i},{i}.wav,artist {i},,Rock,Rock,train")
    table, clone = tmp_path / "table.csv", tmp_path / "EfficientAT"
    table.write_text("\n".join(lines))
    arguments = ["extract_teachers", "--table", str(table), "--work"]
    arguments += [str(tmp_path / "work"), "--python", sys.executable, "--recipe", "paper"]
    arguments += ["--efficientat", str(clone)]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit, match=r"cannot be read \(No such file"):
        extract_teachers.main()
    (clone / "resources").mkdir(parents=True)
    (clone / extract_teachers.MN04).write_bytes(b"not it")
    with pytest.raises(SystemExit, match="another file than that of release"):
        extract_teachers.main()
    monkeypatch.setattr(extract_teachers, "MN04_SHA256", hashlib.sha256(b"not it").hexdigest())
    with monkeypatch.context() as broken:
        broken.setattr(extract_teachers, "WORKER", tmp_path / "none.py")
        with pytest.raises(SystemExit, match="has ended; see that its environment"):
            extract_teachers.main()
    extract_teachers.main()
    tracks = read_csv(table).tracks
    cache = FeatureCache(tmp_path / "work" / "features")
    both = teacher_features(tracks, cache)
    assert [rows.shape for rows in both] == [(2, 762)] * 3  # as many as both have
    for i, rows in enumerate(both):
        assert (rows == rows[0, 0]).all()
        assert rows[0, 0] == pytest.approx(0.1 * (i + 1), rel=0.01)
    assert teacher_features(tracks, cache, [EFFICIENTAT])[0].shape == (3, 512)
    (tmp_path / "0.wav").unlink()  # its features are there
    monkeypatch.setattr(extract_teachers, "WORKER", tmp_path / "none.py")
    extract_teachers.main()
    np.testing.assert_array_equal(teacher_features(tracks, cache)[0], both[0])


def test_what_has_another_shape_is_no_feature():
    for one in TEACHERS:
        assert one.fits(np.zeros((1, one.n_features)))
        assert not one.fits(np.zeros((0, one.n_features)))
        assert not one.fits(np.zeros((1, one.n_features - 1)))
        assert not one.fits(np.full((1, one.n_features), np.nan))
