"""Windows of music, and what the teachers predict for each: the student's training data.

A window is what the network sees at once (3 s). Those of the excerpt that a prediction analyses
come first; of long tracks there are more, from between its pieces.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from agf_core.audio import decode
from agf_core.data.tracks import Track
from agf_core.errors import CorpusError, shown
from agf_core.features.cache import FeatureCache
from agf_core.features.preprocessing import SILENT_PEAK
from agf_core.features.spectrogram import InputSpec, log_mel
from training.teachers.features import EFFICIENTAT, MUSICNN, SAMPLE_RATE, STRETCH_SAMPLES, Teacher

EXCERPT, BETWEEN = "excerpt", "between"
PARTS = (EXCERPT, BETWEEN)
PIECES_FACTOR = 3  # times a prediction's: every third, from the first, lies between
LOG_MEL = "window-logmel"  # kind in the cache


@dataclass(frozen=True)
class Windows:
    """Windows of one track.

    Attributes
    ----------
    log_mel : np.ndarray [shape=(n_windows, frames, n_mels), dtype=float16]
    musicnn : np.ndarray [shape=(n_windows, 250)]
        Its layer before the last (200) and the logits of its tags (50).
    efficientat : np.ndarray [shape=(n_windows, 512 + n_classes)]
        Its layer before the last (512) and the logits of the classes that are used.
    """

    log_mel: np.ndarray
    musicnn: np.ndarray
    efficientat: np.ndarray

    @property
    def classes(self) -> np.ndarray:
        """Class logits of both teachers, (n_windows, n_classes)."""
        return np.concatenate(
            [rows[:, -n:] for rows, n in zip(self._both, self.class_sizes, strict=True)], axis=1
        )

    @property
    def hidden(self) -> np.ndarray:
        """Both teachers' layers before the last, (n_windows, 712)."""
        return np.concatenate(
            [rows[:, :n] for rows, n in zip(self._both, self.hidden_sizes, strict=True)], axis=1
        )

    @property
    def class_sizes(self) -> tuple[int, ...]:
        """How many classes each teacher has."""
        return MUSICNN.n_classes, EFFICIENTAT.n_classes

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Size of each teacher's layer before the last."""
        return MUSICNN.n_hidden, EFFICIENTAT.n_hidden

    @property
    def _both(self) -> tuple[np.ndarray, np.ndarray]:
        return self.musicnn, self.efficientat


def samples_of(track: Track, part: str, spec: InputSpec) -> np.ndarray:
    """Return the samples of a part of a track's windows, at the rate of `spec`, silence left out.

    Raises
    ------
    agf_core.errors.AudioError
        When the file cannot be decoded, is silent, or is too short to have a part between pieces.
    """
    if part == EXCERPT:
        samples = decode.read_excerpt(
            track.path,
            spec.excerpt_seconds,
            pieces=spec.excerpt_pieces,
            sample_rate=spec.sample_rate,
        ).samples
    else:
        pieces, seconds = PIECES_FACTOR * spec.excerpt_pieces, PIECES_FACTOR * spec.excerpt_seconds
        whole = decode.read_excerpt(
            track.path, seconds, pieces=pieces, sample_rate=spec.sample_rate
        )
        if whole.seconds < 0.9 * seconds:
            raise decode.AudioTooShortError(f"{shown(track.path)} is all in its excerpt.")
        size = len(whole.samples) // pieces
        first = range(0, pieces, PIECES_FACTOR)
        samples = np.concatenate([whole.samples[i * size : (i + 1) * size] for i in first])
    length = spec.segment_frames * spec.hop_length
    parts = [samples[start : start + length] for start in range(0, len(samples), length)]
    sounding = [one for one in parts if np.abs(one).max() >= SILENT_PEAK]
    if not sounding:
        raise decode.SilentAudioError(f"{shown(track.path)} is silent.")
    return np.concatenate(sounding)


def cut_log_mel(samples: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Return the log-mel of whole windows, (n_windows, frames, n_mels), in half precision."""
    length = spec.segment_frames * spec.hop_length
    if len(samples) < length:
        samples = np.tile(samples, -(-length // len(samples)))[:length]
    rows = log_mel(samples, spec)
    n = len(rows) // spec.segment_frames
    return rows[: n * spec.segment_frames].reshape(n, spec.segment_frames, -1).astype(np.float16)


def cut_for_teachers(samples: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Return the samples of the same windows at the teachers' rate, one behind the other.

    Each window is as long as what musicnn analyses at once, which is 3 ms less than ours.
    """
    import soxr

    length = spec.segment_frames * spec.hop_length
    if len(samples) < length:
        samples = np.tile(samples, -(-length // len(samples)))[:length]
    n = (1 + len(samples) // spec.hop_length) // spec.segment_frames
    slower = soxr.resample(samples, spec.sample_rate, SAMPLE_RATE).astype(np.float32)
    starts = [round(i * length * SAMPLE_RATE / spec.sample_rate) for i in range(n)]
    rows = [slower[start : start + STRETCH_SAMPLES] for start in starts]
    return np.concatenate([np.pad(row, (0, STRETCH_SAMPLES - len(row))) for row in rows])


def kind(teacher: Teacher | None, part: str) -> str:
    """Return the kind of a part's windows in the cache, by a teacher or as log-mel."""
    return f"{LOG_MEL if teacher is None else teacher.kind}-{part}"


def make_windows(
    track: Track,
    part: str,
    spec: InputSpec,
    cache: FeatureCache,
    predict: Callable[[Teacher, np.ndarray], np.ndarray],
) -> None:
    """Put a part of a track's windows into the cache; what is there is not made again.

    Parameters
    ----------
    predict : callable
        Returns what a teacher predicts for samples at 16 kHz, (n_windows, n_features).

    Raises
    ------
    agf_core.errors.AudioError
        See `samples_of`.
    """
    loaded: list[np.ndarray] = []

    def samples() -> np.ndarray:
        if not loaded:
            loaded.append(samples_of(track, part, spec))
        return loaded[0]

    cache.get(kind(None, part), track.track_id, lambda: cut_log_mel(samples(), spec))
    for teacher in (MUSICNN, EFFICIENTAT):

        def outputs(teacher: Teacher = teacher) -> np.ndarray:
            return predict(teacher, cut_for_teachers(samples(), spec))

        cache.get(kind(teacher, part), track.track_id, outputs, teacher.fits)


def read_windows(track: Track, cache: FeatureCache, parts: Sequence[str] = PARTS) -> Windows:
    """Return a track's windows from the cache; of a part that it does not have, none.

    Raises
    ------
    CorpusError
        When not even those of the excerpt are there.
    """

    def stored(teacher: Teacher | None) -> list[np.ndarray]:
        fits = (lambda _: True) if teacher is None else teacher.fits
        found = []
        for part in parts:
            try:
                found.append(cache.stored(kind(teacher, part), track.track_id, fits))
            except KeyError:
                if part == EXCERPT:
                    raise CorpusError(
                        f"the teachers have not analysed {track.path}; run python -m "
                        "training.pretrained.extract_teachers first"
                    ) from None
        return found

    return Windows(*(np.concatenate(stored(one)) for one in (None, MUSICNN, EFFICIENTAT)))


def excerpt_of(track: Track, cache: FeatureCache) -> Windows:
    """Return the windows that a prediction of the track analyses."""
    return read_windows(track, cache, [EXCERPT])
