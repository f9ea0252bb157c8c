"""Every track is analysed once, also when its tags or its name change."""

import os
import shutil
from pathlib import Path

import mediafile
import numpy as np
import pytest

from agf_core.audio import decode
from agf_core.features import spectrogram_cache
from agf_core.features.cache import FeatureCache
from agf_core.features.spectrogram_cache import CachedSpectrograms, cache_spectrograms


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache")


def cached(paths, spec, cache) -> dict[str, tuple[str, str]]:
    return {path.name: (key, error) for path, key, error in cache_spectrograms(paths, spec, cache)}


def test_every_track_is_analysed_once(clips, tiny_spec, cache, tmp_path, monkeypatch):
    names = ("askyel.mp3", "zeropage.flac", "marino.m4a")
    paths = [Path(shutil.copy(c, tmp_path)) for c in clips if c.name in names]
    before = cached(paths, tiny_spec, cache)
    assert len({key for key, _ in before.values()}) == 3
    rows = CachedSpectrograms([key for key, _ in before.values()], tiny_spec, cache)
    assert all(len(r) >= tiny_spec.segment_frames and r.shape[1] == 64 for r in rows)

    # Unchanged files are not even opened.
    monkeypatch.setattr(
        spectrogram_cache, "in_processes", lambda work, jobs, n: map(pytest.fail, jobs)
    )
    assert cached(paths, tiny_spec, cache) == before
    monkeypatch.undo()

    # Other tags and another name: the same sound, which nobody decodes again.
    for path in paths:
        file = mediafile.MediaFile(path)
        file.update({"genres": ["Ambient", "Блюз"], "comments": "x" * 100_000})
        file.save()
    moved = [path.rename(path.with_name("moved-" + path.name)) for path in paths]
    monkeypatch.setattr(spectrogram_cache, "in_processes", in_this_process)
    monkeypatch.setattr(decode, "read_excerpt", None)
    after = cached(moved, tiny_spec, cache)
    assert {name.removeprefix("moved-"): found for name, found in after.items()} == before


def in_this_process(work, jobs, processes):
    for job in jobs:
        work(job)
        yield job, ""


def test_files_that_cannot_be_decoded_are_reported(write_wav, tiny_spec, cache, tmp_path):
    silent = write_wav("silent.wav", np.zeros(22_050 * 3), 22_050)
    short = write_wav("short.wav", np.ones(100), 22_050)
    (tmp_path / "text.mp3").write_bytes(b"no audio")
    found = cached([silent, short, tmp_path / "text.mp3", tmp_path / "gone.ogg"], tiny_spec, cache)
    assert {key for key, _ in found.values()} == {""}
    for name, (_, error) in found.items():
        assert name in error
    assert "is silent" in found["silent.wav"][1]
    assert "does not exist" in found["gone.ogg"][1]


def test_an_excerpt_shorter_than_a_segment_is_repeated(write_wav, tiny_spec, cache):
    rng = np.random.default_rng(0)
    path = write_wav("a.wav", 0.1 * rng.normal(size=22_050), 22_050)
    spec = tiny_spec.from_dict(tiny_spec.to_dict() | {"segment_frames": 100})
    ((_, key, _),) = cache_spectrograms([path], spec, cache)
    rows = CachedSpectrograms([key], spec, cache)[0]
    once = 1 + 22_050 // spec.hop_length
    assert len(rows) == 3 * once
    np.testing.assert_array_equal(rows[:once], rows[once : 2 * once])


def test_content_keys_depend_on_the_audio_alone(clips, tmp_path, write_wav):
    keys = [decode.content_key(clip) for clip in clips]
    assert len(set(keys)) == len(clips)
    copy = shutil.copy(clips[0], tmp_path / os.fsdecode(b"caf\xe9"))
    assert decode.content_key(copy) == keys[0]
    (tmp_path / "empty.wav").write_bytes(b"")
    with pytest.raises(decode.UnreadableAudioError, match=r"empty\.wav is empty"):
        decode.content_key(tmp_path / "empty.wav")
    bare = write_wav("bare.wav", np.zeros(0))
    with pytest.raises(decode.UnreadableAudioError, match="no audio that can be read"):
        decode.content_key(bare)
