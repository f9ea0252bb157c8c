"""Music changed in ways that teachers can be asked about: played faster or slower, and mixed.

A network learns what teachers hear of a few thousand tracks by heart. Changed music sounds like
more of it, and the teachers say what they hear there; what genre it is need not be known.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from agf_core.audio import decode
from agf_core.data.tracks import Track

SECONDS = 30.0  # of a variant
FASTEST = 1.26  # times, and as much slower: four semitones up or down
MIXED = 0.5  # of all variants
QUIETEST = -12.0  # decibels by which what is mixed in lies below the track, at most


@dataclass(frozen=True)
class Variant(Track):
    """A track, changed.

    It has its own ``track_id``, and no main genre, so that it is never asked about; by its weights
    it belongs to the track's genres, unless something is mixed in. Its artist, fold and source are
    those of the track, and keep it on the same side of every split.

    Attributes
    ----------
    speed : float
        By which it is played faster, and sounds higher.
    place : float
        Where in the track it begins, of all places where it can.
    other : Track, optional
        What is mixed in, from music that no score is about.
    level : float
        Of `other`, in decibels below the track.
    """

    speed: float = 1.0
    place: float = 0.5
    other: Track | None = None
    level: float = 0.0


def variants_of(tracks: Sequence[Track], music: Sequence[Track], each: int) -> list[Variant]:
    """Choose how tracks are changed, by chance, and for each track always alike.

    Parameters
    ----------
    music : sequence of Track
        Of which one may be mixed in: music that belongs to no fold.
    each : int
        Variants of each track.
    """
    chosen = []
    for track in tracks:
        for k in range(each):
            rng = np.random.default_rng(int(_digest(track.track_id, k), 16))
            speed = FASTEST ** rng.uniform(-1, 1)
            place, level = rng.uniform(), rng.uniform(QUIETEST, 0)
            other = music[int(rng.integers(len(music)))] if rng.uniform() < MIXED else None
            how = _digest(speed, place, other and other.track_id, level)
            chosen.append(
                Variant(
                    f"{track.track_id}~{how}",
                    track.path,
                    track.artist,
                    fold=track.fold,
                    source=track.source,
                    genre_weights=() if other else _weights(track),
                    speed=speed,
                    place=place,
                    other=other,
                    level=level,
                )
            )
    return chosen


def originals(tracks: Iterable[Track]) -> list[Track]:
    """Return the tracks that are no variants."""
    return [track for track in tracks if not isinstance(track, Variant)]


def _weights(track: Track) -> tuple[tuple[str, float], ...]:
    return ((track.genre, 1.0),) if track.genre else track.genre_weights


def _digest(*facts: object) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def samples_of(track: Track, seconds: float, sample_rate: int) -> np.ndarray:
    """Return mono samples of the middle of a track, or of a variant; `AudioError` if it has none.

    Parameters
    ----------
    seconds : float
        Of a track; variants have `SECONDS` at most.
    """
    if not isinstance(track, Variant):
        return decode.read_excerpt(track.path, seconds, sample_rate=sample_rate).samples
    # Read at a lower rate and played at the higher one, it is faster.
    rate = round(sample_rate / track.speed)
    stretch = SECONDS * track.speed
    whole = decode.read(track.path, seconds=1.0).duration or 0.0
    begin = track.place * max(0.0, whole - stretch)
    samples = decode.read(track.path, start=begin, seconds=stretch, sample_rate=rate).samples
    if track.other is None:
        return samples
    other = decode.read_excerpt(track.other.path, SECONDS, sample_rate=sample_rate).samples
    n = min(len(samples), len(other))
    samples, other = samples[:n], other[:n]
    loud, other_loud = (np.sqrt((x**2).mean() + 1e-12) for x in (samples, other))
    mixed = samples + other * (10 ** (track.level / 20) * loud / other_loud)
    mixed *= loud / np.sqrt((mixed**2).mean() + 1e-12)
    result: np.ndarray = mixed.astype(np.float32)
    return result
