"""Compute the input of a model from a file: the spectrogram of an excerpt, silence removed."""

import numpy as np

from agf_core.audio import decode
from agf_core.audio.container import AudioFile
from agf_core.errors import AnyPath
from agf_core.features.spectrogram import InputSpec, log_mel

BLOCK_SECONDS = 120.0  # that are searched for sound at a time
# Peaks, of full scale 1 and without a constant offset.
SILENT_PEAK = 1e-4  # -80 dB: a stretch below it is silent
QUIET_PEAK = 3e-3  # -50 dB: a whole excerpt below it may be noise between pieces of music


def load_log_mel(source: AnyPath | AudioFile, spec: InputSpec) -> tuple[np.ndarray, float]:
    """Decode an excerpt of a file and return its log-mel spectrogram.

    Silent stretches of a whole segment are removed: the minutes before a hidden track have no
    genre. If all of the excerpt is silent, the first sound of the file is used instead. If all of
    it is quiet, as the noise of a tape is, the first that is louder is used, if there is any.

    Parameters
    ----------
    source : str, bytes, os.PathLike or AudioFile
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
    if not isinstance(source, AudioFile):
        with AudioFile(source) as file:
            return load_log_mel(file, spec)
    rate = spec.rate_for(source.stream.sample_rate)
    excerpt = decode.read_excerpt(
        source, spec.excerpt_seconds, pieces=spec.excerpt_pieces, sample_rate=rate
    )
    samples = _without_silence(excerpt.samples, spec, rate)
    if not any(np.ptp(part) >= 2 * QUIET_PEAK for part in _segments(samples, spec, rate)):
        louder = _first_sound(source, spec, rate, QUIET_PEAK)
        samples = louder if len(louder) else samples
    if not len(samples):
        samples = _first_sound(source, spec, rate)
    if not len(samples):
        raise decode.SilentAudioError(f"{decode.shown(source.path)} is silent; tag it by hand.")
    return log_mel(samples, spec, rate), excerpt.lost


def _segments(samples: np.ndarray, spec: InputSpec, rate: int) -> list[np.ndarray]:
    size = round(spec.segment_frames * spec.hop_length * rate / spec.sample_rate)
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def _without_silence(
    samples: np.ndarray, spec: InputSpec, rate: int, peak: float = SILENT_PEAK
) -> np.ndarray:
    """Return samples without the segments that are silent, or below another peak."""
    parts = _segments(samples, spec, rate)
    sounding = [part for part in parts if np.ptp(part) >= 2 * peak]
    return samples if len(sounding) == len(parts) else np.concatenate([samples[:0], *sounding])


def _first_sound(
    file: AudioFile, spec: InputSpec, rate: int, peak: float = SILENT_PEAK
) -> np.ndarray:
    """Return as much of a file's first sound as an excerpt has; nothing where all is silent."""
    wanted = round(spec.excerpt_seconds * rate)
    found = np.zeros(0, np.float32)
    start = 0.0
    while len(found) < wanted:
        try:
            block = decode.read(file, start=start, seconds=BLOCK_SECONDS, sample_rate=rate)
        except decode.AudioError:  # the file has ended
            break
        found = np.concatenate([found, _without_silence(block.samples, spec, rate, peak)])
        start += BLOCK_SECONDS
    return found[:wanted]
