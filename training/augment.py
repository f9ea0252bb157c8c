"""Augmented copies of tracks: played faster or slower, and mixed with other music.

A network overfits to the teachers' features of a few thousand tracks. Copies are more music, for
which the teachers' features are targets as well; their genre need not be known.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from agf_core.audio import decode
from agf_core.data.tracks import Track

SECONDS = 30.0  # of a copy
FASTEST = 1.26  # times, and as much slower: four semitones up or down
MIXED = 0.5  # of all copies
QUIETEST = -12.0  # decibels by which the music that is mixed in lies below the track, at most


@dataclass(frozen=True)
class AugmentedCopy(Track):
    """A changed copy of a track.

    It has its own ``track_id``, and no main genre, so that no score is about it; its genre weights
    are the track's, unless other music is mixed in. Its artist, fold and source are the track's, so
    that it is on the same side of every split.

    Attributes
    ----------
    speed : float
        By which it is played faster, and sounds higher.
    place : float
        Where in the track it begins, from 0 to 1 of all places where it can.
    other : Track, optional
        The music that is mixed in, which no score is about.
    level : float
        Of `other`, in decibels below the track.
    """

    speed: float = 1.0
    place: float = 0.5
    other: Track | None = None
    level: float = 0.0


def augmented_copies(
    tracks: Sequence[Track], music: Sequence[Track], each: int
) -> list[AugmentedCopy]:
    """Draw how tracks are changed, at random but for each track always alike.

    Parameters
    ----------
    music : sequence of Track
        To mix in: music that belongs to no fold.
    each : int
        Copies of each track.
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
                AugmentedCopy(
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
    """Return the tracks that are no augmented copies."""
    return [track for track in tracks if not isinstance(track, AugmentedCopy)]


def _weights(track: Track) -> tuple[tuple[str, float], ...]:
    return ((track.genre, 1.0),) if track.genre else track.genre_weights


def _digest(*facts: object) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def read_samples(track: Track, seconds: float, sample_rate: int) -> np.ndarray:
    """Read mono samples of the middle of a track, or of a copy; `AudioError` if it has none.

    Parameters
    ----------
    seconds : float
        Of a track; copies have `SECONDS` at most.
    """
    if not isinstance(track, AugmentedCopy):
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
