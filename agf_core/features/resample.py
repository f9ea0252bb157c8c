"""Convert the rate of samples of which only low frequencies are used, by matrix products.

The filter may be as gentle as the frequencies between those that are used and those that would
fold onto them: it is short, and quicker than a resampler that keeps all frequencies.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

ATTENUATION = 100.0  # decibels, of what would fold onto frequencies that are used
SAMPLES_PER_ROW = 512  # about, of the input: a row of the matrix
ROWS_AT_ONCE = 64  # so few that a BLAS starts no threads, which cost more than they gain
OUTPUTS_AT_ONCE = 32  # computed from the inputs that they need
LONGEST_PERIOD = 2_000  # samples after which the filter repeats


@dataclass(frozen=True)
class _Filter:
    """A low-pass filter that is evaluated where the samples of another rate lie.

    Attributes
    ----------
    n_in, n_out : int
        Samples of a row, before and after.
    reach : int
        Samples that the filter needs before and behind a row.
    parts : list of (int, slice, np.ndarray [shape=(inputs, outputs)])
        First of the samples that outputs need, counted from `reach` before the row; the outputs;
        the weights.
    """

    n_in: int
    n_out: int
    reach: int
    parts: list[tuple[int, slice, np.ndarray]]


def is_possible(rate: int, target: int, highest: float) -> bool:
    """Return whether a filter can keep frequencies up to `highest`, and repeats soon enough."""
    period = max(rate, target) // math.gcd(rate, target)
    return period <= LONGEST_PERIOD and min(rate, target) > 2 * highest


def resample(
    samples: np.ndarray, rate: int, target: int, highest: float, padding: int = 0
) -> np.ndarray:
    """Return samples at another rate, with silence before and behind them.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), dtype=float32]
    rate, target : int
        Hertz, before and after; see `is_possible`.
    highest : float
        Hertz. Frequencies up to it are kept; higher ones may be weaker, or fold onto others that
        are above it, too.
    padding : int
        Samples of silence at each end, at the target rate.

    Returns
    -------
    np.ndarray [shape=(ceil(n * target / rate) + 2 * padding,), dtype=float32]
        The first sample stays where it is, behind the padding.
    """
    if rate == target:
        return np.pad(samples, padding)
    how = _filter(rate, target, highest)
    n_out = -(-len(samples) * target // rate) + 2 * padding
    n_before = -(-padding // how.n_out)  # rows
    n_blocks = -(-(n_before * how.n_out + n_out) // (ROWS_AT_ONCE * how.n_out))
    n_rows = n_blocks * ROWS_AT_ONCE
    begin = how.reach + n_before * how.n_in
    padded = np.zeros((n_rows + 1) * how.n_in + 2 * how.reach, np.float32)
    padded[begin : begin + len(samples)] = samples
    result = np.empty((n_blocks, ROWS_AT_ONCE, how.n_out), np.float32)
    for first, outputs, weights in how.parts:
        rows = sliding_window_view(padded, len(weights))[first :: how.n_in][:n_rows]
        blocks = rows.reshape(n_blocks, ROWS_AT_ONCE, -1)  # still a view
        np.matmul(blocks, weights, out=result[..., outputs])
    return result.reshape(-1)[n_before * how.n_out - padding :][:n_out]


@lru_cache(maxsize=16)
def _filter(rate: int, target: int, highest: float) -> _Filter:
    """Return an ideal low-pass filter, cut off by a Kaiser window of the necessary length."""
    common = math.gcd(rate, target)
    periods = max(1, round(SAMPLES_PER_ROW * common / rate))
    n_in, n_out = periods * rate // common, periods * target // common
    lowest_folded = min(rate, target) - highest  # hertz
    cutoff = (highest + lowest_folded) / 2 / rate  # in times of the rate
    width = (lowest_folded - highest) / rate
    half = ((ATTENUATION - 7.95) / (14.36 * width) + 1) / 2  # Kaiser's formulas
    beta = 0.1102 * (ATTENUATION - 8.7)
    reach = math.ceil(half)
    parts = []
    for start in range(0, n_out, OUTPUTS_AT_ONCE):
        outputs = slice(start, min(start + OUTPUTS_AT_ONCE, n_out))
        places = np.arange(outputs.start, outputs.stop) * rate / target
        first, last = math.ceil(places[0] - half), math.floor(places[-1] + half)
        apart = places - np.arange(first, last + 1)[:, None]
        window = np.i0(beta * np.sqrt(np.maximum(0, 1 - (apart / half) ** 2))) / np.i0(beta)
        weights = 2 * cutoff * np.sinc(2 * cutoff * apart) * np.where(abs(apart) <= half, window, 0)
        parts.append((first + reach, outputs, weights.astype(np.float32)))
    return _Filter(n_in, n_out, reach, parts)
