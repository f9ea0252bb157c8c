"""Sounds that are not music: all are written, are long enough, and are the same in every run."""

import os
import sys
import wave

import numpy as np
import pytest
from sounds import encode

from training.datasets import not_music
from training.datasets.folders import SHORTEST_MUSIC_SECONDS, read_folder


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(not_music.shutil, "which", lambda _: None)  # no speech synthesiser

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["not_music", *map(str, arguments)])
        not_music.main()

    return run


def samples_of(path):
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def test_sounds_are_read_as_music_without_genres(run, tmp_path, capsys):
    run(tmp_path / "music" / "not-music")
    assert "espeak-ng is not installed" in capsys.readouterr().out
    tracks = read_folder(tmp_path / "music")
    assert {t.path.stem for t in tracks} == {name for name, _ in not_music.synthetic()}
    assert {t.source for t in tracks} == {"not-music"}
    for track in tracks:
        samples = samples_of(track.path)
        assert len(samples) >= SHORTEST_MUSIC_SECONDS * not_music.RATE
        assert np.abs(samples).max() == pytest.approx(not_music.PEAK * 32767, abs=1)


def test_short_recordings_are_joined_and_damaged_ones_left_out(run, tmp_path, monkeypatch):
    monkeypatch.setattr(not_music, "synthetic", lambda: iter(()))
    monkeypatch.setattr(not_music, "SECONDS", 8)
    speech = tmp_path / "recordings" / "czech"
    (speech / "deeper").mkdir(parents=True)
    for i in range(6):
        tone = np.full((1, 2 * not_music.RATE), (i + 1) / 10, np.float32)
        encode(speech / "deeper" / f"{i}.wav", tone, not_music.RATE, "pcm_s16le", "wav", "mono")
    (speech / "bad.ogg").write_bytes(b"no sound")
    for folder in ("first", "second"):
        run(tmp_path / folder, "--speech", tmp_path / "recordings")
    written = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert written == ["czech-0.wav", "czech-1.wav"]  # four with pauses have 9 s
    for name in written:
        samples = samples_of(tmp_path / "first" / name)
        np.testing.assert_array_equal(samples, samples_of(tmp_path / "second" / name))
    assert len(samples_of(tmp_path / "first" / "czech-0.wav")) >= 8 * not_music.RATE


def test_each_text_is_spoken_by_each_voice(tmp_path, monkeypatch):
    synthesiser = tmp_path / "espeak-ng"
    synthesiser.write_text('#!/bin/sh\nfor last; do :; done\nprintf "%s" "$last" > "$8"\n')
    synthesiser.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    output = tmp_path / "sounds"
    output.mkdir()
    not_music.speak(output)
    assert len(list(output.iterdir())) == len(not_music.TEXTS) * len(not_music.VOICES)
    spoken = (output / "speech-pl-f2.wav").read_text()
    assert spoken.count(not_music.TEXTS["pl"]) == not_music.REPEATED
