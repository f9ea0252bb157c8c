"""Descriptors of real clips, and of files that cannot be described."""

import subprocess
import sys
import textwrap
from pathlib import Path

import librosa
import numpy as np
import pytest

from agf_core.audio import decode
from agf_core.data.tracks import Track
from agf_core.features import descriptors
from agf_core.features.cache import FeatureCache
from agf_core.features.descriptors import ESSENTIA_ENTRIES, extract, mfcc

ROOT = Path(__file__).parents[2]


def tracks_of(paths):
    return [Track(path.name, path, "someone") for path in paths]


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "features")


def test_mfccs_are_librosas():
    samples = np.random.default_rng(0).normal(0, 0.1, 44_100).astype(np.float32)
    ours = mfcc(samples)
    theirs = librosa.feature.mfcc(y=samples, sr=44_100, n_mfcc=25, n_fft=2048, hop_length=1024)
    assert ours.shape == (1 + 44_100 // 1024, 25)
    np.testing.assert_array_equal(ours, theirs.T)
    assert not np.allclose(mfcc(samples, fmax=8_000), ours)


def test_essentia_vector_has_the_same_names_whatever_the_track(clips):
    """All are there on real music; Essentia brings tracks to one loudness first."""
    assert len(ESSENTIA_ENTRIES) == len(set(ESSENTIA_ENTRIES)) == 4_348
    for statistic in descriptors.STATISTICS:
        assert f"lowlevel.mfcc.{statistic}[12]" in ESSENTIA_ENTRIES
        assert f"rhythm.beats_loudness.{statistic}[0]" in ESSENTIA_ENTRIES
        assert f"tonal.hpcp.{statistic}[35]" in ESSENTIA_ENTRIES
    samples = decode.read(clips[0]).samples
    vector = descriptors.essentia_vector(samples)
    assert vector.shape == (4_348,)
    assert np.isfinite(vector).all()
    softer = descriptors.essentia_vector(0.5 * samples)
    for name in ("rhythm.bpm[0]", "lowlevel.spectral_energy.mean[0]", "tonal.hpcp.mean[7]"):
        entry = ESSENTIA_ENTRIES.index(name)
        assert softer[entry] == pytest.approx(vector[entry], rel=1e-3)
    with pytest.raises(descriptors.DescriptorError, match="silent"):
        descriptors.essentia_vector(np.zeros(44_100, np.float32))


def test_every_format_is_described_once(clips, cache, capsys):
    """Opus too, on which Essentia's own decoding has been seen to crash."""
    chosen = [path for path in clips if path.suffix in (".opus", ".mp3", ".m4a", ".wav")]
    tracks = tracks_of(chosen)
    described = {source: extract(tracks, source, cache, progress=False) for source in "mde"}
    for i in range(len(tracks)):
        frames = described["m"][i]
        assert frames.dtype == np.float32
        assert frames.shape[1] == 25
        np.testing.assert_array_equal(described["d"][i], frames[1:] - frames[:-1])
        assert described["e"][i].shape == (1, 4_348)
        assert np.isfinite(described["e"][i]).mean() > 0.99
    exact = mfcc(decode.read(chosen[0]).samples)
    np.testing.assert_allclose(described["m"][0], exact, atol=0.51)
    assert capsys.readouterr().out == ""

    stored = {path: path.stat().st_mtime_ns for path in cache.folder.rglob("*.npy")}
    assert len(stored) == 2 * len(tracks)
    elsewhere = [Track(t.track_id, Path("/nowhere"), t.artist) for t in tracks]
    again = extract(elsewhere, "e", cache, progress=False)
    np.testing.assert_array_equal(again[1], described["e"][1])
    assert stored == {path: path.stat().st_mtime_ns for path in cache.folder.rglob("*.npy")}


def test_files_that_cannot_be_described_are_listed_and_empty(cache, write_wav, tmp_path, capsys):
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * 44_100)
    paths = [write_wav("silence.wav", 0 * noise), tmp_path / "gone.mp3", write_wav("ok.wav", noise)]
    described = extract(tracks_of(paths), "e", cache, processes=2, progress=False)
    assert [len(rows) for rows in described] == [0, 0, 1]
    assert described[0].shape == (0, 4_348)
    printed = capsys.readouterr().out
    assert "silence.wav: Essentia cannot describe it" in printed
    assert "gone.mp3 does not exist" in printed
    assert "ok.wav" not in printed
    part = extract(tracks_of(paths[2:]), "m", cache, seconds=1.0, progress=False)
    assert part[0].shape == (44, 25)


def test_interrupted_it_goes_on_where_it_stopped(clips, cache, monkeypatch):
    """Ctrl-C while it waits: processes end, what is done stays, and the next run does the rest."""
    tracks = tracks_of(clips[:4])
    real = descriptors.in_processes
    ends = []

    def interrupted(work, jobs, processes):
        generator = real(work, jobs, processes)
        yield next(generator)
        generator.close()
        ends.append(True)
        raise KeyboardInterrupt

    monkeypatch.setattr(descriptors, "in_processes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract(tracks, "m", cache, processes=1, progress=False)
    assert len(list(cache.folder.rglob("*.npy"))) in (1, 2)  # the second may have been under way
    monkeypatch.setattr(descriptors, "in_processes", real)
    assert all(len(rows) > 40 for rows in extract(tracks, "m", cache, progress=False))


def test_without_essentia_task_e_is_left_out(monkeypatch):
    assert descriptors.possible_sources("gmdes") == ("gmdes", "")
    monkeypatch.setattr(descriptors, "find_spec", lambda name: None)
    sources, line = descriptors.possible_sources("gmdes")
    assert sources == "gmds"
    assert line == "task e is left out: essentia is not installed (pip install 'beets-agf[train]')"
    assert descriptors.possible_sources("gs") == ("gs", "")


def test_unknown_sources_are_refused(cache):
    with pytest.raises(ValueError, match="'x'"):
        extract([], "x", cache)


def test_importing_it_loads_nothing_heavy():
    code = """
        import sys, agf_core.features.descriptors, agf_core.groups.lda
        print({"librosa", "essentia", "sklearn", "scipy", "torch"} & set(sys.modules))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
