"""Compute the input of a model from a file: the spectrogram of an excerpt, silence removed."""

import numpy as np

from agf_core.audio import decode
from agf_core.audio.container import Path
from agf_core.features.spectrogram import InputSpec, log_mel

SILENCE = 1e-4  # of full scale 1: a stretch with its peak below -80 dB is silent


def load_log_mel(path: Path, spec: InputSpec) -> tuple[np.ndarray, float]:
    """Decode an excerpt of a file and return its log-mel spectrogram.

    Silent stretches of a whole segment are removed: the minutes before a hidden track have no
    genre.

    Parameters
    ----------
    path : str, bytes or os.PathLike
    spec : InputSpec
        Of the model.

    Returns
    -------
    spectrogram : np.ndarray [shape=(frames, n_mels), dtype=float32]
        See `agf_core.features.spectrogram.log_mel`.
    lost : float
        Seconds of the excerpt that are damaged and were skipped.

    Raises
    ------
    agf_core.audio.decode.AudioError
        When the file has no usable audio, or is silent.
    """
    excerpt = decode.read_excerpt(
        path, spec.excerpt_seconds, pieces=spec.excerpt_pieces, sample_rate=spec.sample_rate
    )
    size = spec.segment_frames * spec.hop_length
    starts = range(0, len(excerpt.samples), size)
    parts = [excerpt.samples[start : start + size] for start in starts]
    sounding = [part for part in parts if np.abs(part).max() >= SILENCE]
    if not sounding:
        raise decode.SilentAudioError(
            f"{decode.shown(path)} is silent in the excerpt that was analysed; tag it by hand."
        )
    samples = excerpt.samples if len(sounding) == len(parts) else np.concatenate(sounding)
    return log_mel(samples, spec), excerpt.lost
