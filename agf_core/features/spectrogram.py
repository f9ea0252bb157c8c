"""Log-mel spectrograms of samples, in numpy alone.

Equal to ``10 * log10(max(librosa.feature.melspectrogram(...), 1e-10))`` with librosa's defaults
(periodic Hann window, zero-padded centred frames, Slaney's mel scale and area normalisation).

Samples need not have the model's rate. Where its highest band ends far below half of that, they
are transformed at a lower one, to which `resample` converts them.
"""

import math
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from agf_core import constants
from agf_core.features.resample import is_possible, resample

FRAMES_PER_BLOCK = 64  # transformed at once: as many as the cache of a processor holds
BANDS_AT_ONCE = 16  # mel bands computed together, from the bins that they reach
MARGIN = 1.25  # times fmax, below half the sample rate: room for a filter to take away the rest
MOST_SAMPLES = 2.5  # times the model's rate: above, filters become long
LARGEST_INPUT = 2**27  # numbers in all windows of an excerpt; the paper's are 330 thousand


@dataclass(frozen=True)
class InputSpec:
    """Format of the input of a network; every model has its own.

    Attributes
    ----------
    sample_rate : int
        Hertz.
    n_fft, hop_length : int
        Samples.
    n_mels : int
        Mel bands between `fmin` and `fmax` (hertz).
    segment_frames : int
        Frames of one window, the network's input.
    window_hop : int
        Frames from one window of a prediction to the next.
    excerpt_seconds : float
        Seconds of a track that a prediction analyses.
    excerpt_pieces : int
        Number of pieces that the excerpt consists of, of equal length and evenly spread over the
        track; a single piece is its middle.

    Raises
    ------
    ValueError
        When a value is out of range; the message contains it.
    """

    sample_rate: int = constants.SAMPLE_RATE
    n_fft: int = constants.N_FFT
    hop_length: int = constants.HOP_LENGTH
    n_mels: int = constants.N_MELS
    fmin: float = 0.0
    fmax: float = constants.SAMPLE_RATE / 2
    segment_frames: int = constants.SEGMENT_FRAMES
    window_hop: int = constants.WINDOW_HOP
    excerpt_seconds: float = constants.EXCERPT_SECONDS
    excerpt_pieces: int = 1

    def __post_init__(self) -> None:
        limits = {
            "sample_rate": (1_000, 400_000),
            "n_fft": (16, 65_536),
            "hop_length": (1, 65_536),
            "n_mels": (1, 1_024),
            "segment_frames": (1, 10_000),
            "window_hop": (1, 10_000),
            "excerpt_seconds": (constants.SHORTEST_SECONDS, 3_600),
            "excerpt_pieces": (1, 1_000),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{name} is {value!r}, not a number")
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}, not between {low} and {high}")
            if name != "excerpt_seconds" and value != int(value):
                raise ValueError(f"{name} is {value}, not a whole number")
        if not 0 <= self.fmin < self.fmax <= self.sample_rate / 2:
            raise ValueError(
                f"the mel range {self.fmin} to {self.fmax} Hz does not lie between 0 and half "
                f"the sample rate of {self.sample_rate} Hz"
            )

        frames = self.excerpt_seconds * self.sample_rate / self.hop_length
        windows = frames / self.window_hop + 1
        size = self.n_mels * max(frames, windows * self.segment_frames)
        if size > LARGEST_INPUT:
            raise ValueError(f"an excerpt would become {size:.0f} numbers")
        if self.excerpt_pieces > 1 and frames < self.excerpt_pieces * self.segment_frames:
            raise ValueError(
                f"excerpt_pieces is {self.excerpt_pieces}: shorter than a segment each"
            )

    @property
    def working_rate(self) -> int:
        """Rate at which samples are transformed: the lowest that keeps all up to `fmax`.

        It goes into the model's rate, the window and the hop a whole number of times.
        """
        most = max(1, int(self.sample_rate / (2 * MARGIN * self.fmax)))
        half = 1 if self.n_fft % 2 else self.n_fft // 2  # the centre of a window is a sample
        common = math.gcd(self.sample_rate, half, self.hop_length)
        return self.sample_rate // max(
            n for n in range(1, min(most, common) + 1) if common % n == 0
        )

    def rate_for(self, sample_rate: int) -> int:
        """Return the rate at which samples of another rate are read: theirs if possible.

        Otherwise, a resampler has to convert them to the model's rate first.
        """
        possible = (
            2 * MARGIN * self.fmax <= sample_rate <= MOST_SAMPLES * self.sample_rate
            and is_possible(sample_rate, self.working_rate, self.fmax)
        )
        return sample_rate if possible else self.sample_rate

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "InputSpec":
        """Return the spec in a mapping of every field and no other; raise `ValueError` otherwise.

        Models of older versions have no entry for `excerpt_pieces`, which is 1.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(values, dict):
            raise ValueError(f"the input is {values!r}")
        values = {"excerpt_pieces": 1} | values
        if values.keys() != names:
            odd = ", ".join(sorted(values.keys() ^ names))
            raise ValueError(f"missing or unknown: {odd}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as a mapping that `from_dict` reads."""
        return asdict(self)


def _hz_to_mel(hz: np.ndarray) -> np.ndarray:
    """Convert to Slaney's scale: linear to 1 kHz (15 mel), 27 mel per factor of 6.4 above."""
    linear = hz * 3 / 200
    log = 15 + 27 * np.log(np.maximum(hz, 1e-9) / 1_000) / np.log(6.4)
    return np.where(hz < 1_000, linear, log)


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, mel * 200 / 3, 1_000 * 6.4 ** ((mel - 15) / 27))


@lru_cache(maxsize=8)
def mel_filterbank(spec: InputSpec) -> np.ndarray:
    """Return triangular filters of equal area, as `librosa.filters.mel` does.

    Returns
    -------
    np.ndarray [shape=(n_mels, 1 + n_fft // 2), dtype=float32]
    """
    bins = np.fft.rfftfreq(spec.n_fft, 1 / spec.sample_rate)  # hertz
    lowest, highest = _hz_to_mel(np.array([spec.fmin, spec.fmax]))
    edges = _mel_to_hz(np.linspace(lowest, highest, spec.n_mels + 2))  # Hz
    ramps = edges[:, None] - bins  # (n_mels + 2, bins)
    widths = np.diff(edges)[:, None]
    rising, falling = -ramps[:-2] / widths[:-1], ramps[2:] / widths[1:]
    area = 2 / (edges[2:] - edges[:-2])
    filters: np.ndarray = np.maximum(0, np.minimum(rising, falling)) * area[:, None]
    return filters.astype(np.float32)


@dataclass(frozen=True)
class _Transform:
    """How samples are transformed.

    Parameters
    ----------
    sample_rate : int
        Hertz: the spec's, or a part of it that keeps all frequencies that are needed.
    hop : int
        Samples from one frame to the next.
    window : np.ndarray [shape=(n_fft,), dtype=float64]
    n_bins : int
        Bins that are needed.
    parts : list of (slice, slice, np.ndarray [shape=(bins, bands)])
        The filterbank, cut into dense parts: bins, bands, weights. They are also too small for a
        BLAS to start several threads, which cost more than they gain.
    """

    sample_rate: int
    hop: int
    window: np.ndarray
    n_bins: int
    parts: list[tuple[slice, slice, np.ndarray]]


@lru_cache(maxsize=16)
def _transform(spec: InputSpec) -> _Transform:
    times = spec.sample_rate // spec.working_rate  # fewer samples
    n_fft = spec.n_fft // times
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    # Bins lie where they did, and fewer samples make powers smaller.
    filters = mel_filterbank(spec)[:, : 1 + n_fft // 2] * np.float32(times**2)
    parts = []
    for start in range(0, spec.n_mels, BANDS_AT_ONCE):
        bands = slice(start, min(start + BANDS_AT_ONCE, spec.n_mels))
        used = np.flatnonzero(filters[bands].any(axis=0))
        bins = slice(used[0], used[-1] + 1) if len(used) else slice(0)
        parts.append((bins, bands, np.ascontiguousarray(filters[bands, bins].T)))
    n_bins = max(bins.stop for bins, _, _ in parts)  # nothing above fmax is needed
    return _Transform(spec.working_rate, spec.hop_length // times, window, n_bins, parts)


def log_mel(samples: np.ndarray, spec: InputSpec, sample_rate: int | None = None) -> np.ndarray:
    """Compute the log-mel power spectrogram.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)]
        Mono audio.
    spec : InputSpec
        Sizes, rate and mel range.
    sample_rate : int, optional
        Hertz, of `samples`; by default that of `spec`. See `InputSpec.rate_for`.

    Returns
    -------
    np.ndarray [shape=(frames, n_mels), dtype=float32]
        ``1 + n // hop_length`` frames at the spec's rate (for an even `n_fft`); decibels relative
        to a power of 1, not below -100.

    Raises
    ------
    ValueError
        When `samples` is not one-dimensional or empty, or holds values that are not finite.
    """
    samples = np.asarray(samples, dtype=np.float32)
    if samples.ndim != 1 or samples.size == 0:
        raise ValueError(f"samples must be mono, shape (n,) with n > 0, not {samples.shape}")
    if not np.isfinite(samples).all():
        raise ValueError("samples hold values that are not finite numbers")
    rate = sample_rate or spec.sample_rate
    how = _transform(spec)
    size = len(how.window)
    n_frames = 1 + (len(samples) * spec.sample_rate // rate - spec.n_fft % 2) // spec.hop_length
    padded = resample(samples, rate, how.sample_rate, spec.fmax, size // 2)
    frames = sliding_window_view(padded, size)[:: how.hop][:n_frames]
    result = np.empty((n_frames, spec.n_mels), np.float32)
    # Transformed in double precision, or rounding in loud low bands would drown silent high ones.
    windowed = np.empty((FRAMES_PER_BLOCK, size))
    spectra = np.empty((FRAMES_PER_BLOCK, 1 + size // 2), complex)
    for start in range(0, n_frames, FRAMES_PER_BLOCK):
        n = min(FRAMES_PER_BLOCK, n_frames - start)
        np.multiply(frames[start : start + n], how.window, out=windowed[:n])
        np.fft.rfft(windowed[:n], out=spectra[:n])
        spectrum = spectra[:n, : how.n_bins].astype(np.complex64)
        power = spectrum.real**2 + spectrum.imag**2
        for bins, bands, weights in how.parts:
            result[start : start + n, bands] = power[:, bins] @ weights
    return 10 * np.log10(np.maximum(result, constants.LOG_FLOOR))


def windows(spectrogram: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Cut a spectrogram into the windows that a prediction averages over.

    A spectrogram shorter than one window is repeated until it fills one.

    Parameters
    ----------
    spectrogram : np.ndarray [shape=(frames, n_mels)]

    Returns
    -------
    np.ndarray [shape=(n_windows, segment_frames, n_mels)]
        A read-only view where possible.
    """
    if len(spectrogram) < spec.segment_frames:
        repeats = -(-spec.segment_frames // len(spectrogram))
        spectrogram = np.tile(spectrogram, (repeats, 1))[: spec.segment_frames]
    view = sliding_window_view(spectrogram, spec.segment_frames, axis=0)  # (n, mels, frames)
    return view[:: spec.window_hop].swapaxes(1, 2)
