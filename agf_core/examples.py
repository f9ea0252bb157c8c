"""What the networks learn from: per-track rows, drawn at random or read through.

Spectrograms are drawn as one random segment per track; the transfer features that trained networks
make of them, as one random window per track. Both answer the same three calls, so that one training
loop and one prediction serve networks and MLP alike.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from agf_core.spectrogram import InputSpec


class Examples:
    """Rows of many tracks, one behind the other.

    Parameters
    ----------
    rows : sequence of np.ndarray [shape=(n_rows, n_columns)]
        One array per track, each with at least `length` rows.
    length : int
        Rows of one example.
    hop : int
        Rows from one window to the next when a track is read through.
    dtype : torch.dtype
        How the rows are kept; examples come out as float32.
    """

    def __init__(
        self,
        rows: Sequence[np.ndarray],
        *,
        length: int,
        hop: int,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        if not rows or min(map(len, rows)) < length:
            raise ValueError(f"every track needs at least {length} rows")
        self.length, self.hop = length, hop
        self.counts = torch.tensor([len(r) for r in rows])
        self.offsets = torch.cumsum(self.counts, 0) - self.counts
        self.rows = torch.empty(int(self.counts.sum()), rows[0].shape[1], dtype=dtype)
        for offset, r in zip(self.offsets.tolist(), rows, strict=True):
            self.rows[offset : offset + len(r)] = torch.from_numpy(r)
        self.rows = self.rows.to(device)

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def device(self) -> torch.device:
        """Where the examples come out."""
        return self.rows.device

    def subset(self, tracks: Sequence[int] | np.ndarray) -> Self:
        """Return some of the tracks, in the order given; the rows themselves are shared."""
        part = copy.copy(self)
        chosen = torch.as_tensor(tracks)
        part.counts, part.offsets = self.counts[chosen], self.offsets[chosen]
        return part

    def thinned(self, every: int) -> Self:
        """Return the same tracks, of which `windows` gives but one window in so many."""
        part = copy.copy(self)
        part.hop = every * self.hop
        return part

    def _gather(self, starts: Tensor) -> Tensor:
        """Return examples that begin at the given rows, (n, length, n_columns)."""
        index = starts[:, None] + torch.arange(self.length)
        return self.rows[index.to(self.device)].float()

    def draw(self, tracks: Tensor, generator: torch.Generator) -> Tensor:
        """Return one random example of each track, (n_tracks, ...)."""
        room = self.counts[tracks] - self.length + 1
        shifts = (torch.rand(len(tracks), generator=generator) * room).long()
        return self._gather(self.offsets[tracks] + shifts)

    def windows(self, track: int) -> Tensor:
        """Return all windows of one track in order, (n_windows, ...)."""
        last = int(self.counts[track]) - self.length + 1
        return self._gather(self.offsets[track] + torch.arange(0, last, self.hop))


class Segments(Examples):
    """Log-mel segments, normalised per mel band: (n, 1, segment_frames, n_mels).

    Parameters
    ----------
    spectrograms : sequence of np.ndarray [shape=(frames, n_mels)]
        Decibels; kept in half precision (an error of at most 0.04 dB).
    mean, std : np.ndarray [shape=(n_mels,)]
        See `fit_normaliser`.
    """

    def __init__(
        self,
        spectrograms: Sequence[np.ndarray],
        spec: InputSpec,
        mean: np.ndarray,
        std: np.ndarray,
        *,
        device: str | torch.device = "cpu",
    ) -> None:
        super().__init__(
            spectrograms,
            length=spec.segment_frames,
            hop=spec.window_hop,
            dtype=torch.float16,
            device=device,
        )
        self.mean = torch.as_tensor(mean, dtype=torch.float32, device=device)
        self.std = torch.as_tensor(std, dtype=torch.float32, device=device)

    def _gather(self, starts: Tensor) -> Tensor:
        return ((super()._gather(starts) - self.mean) / self.std).unsqueeze(1)


class Features(Examples):
    """Transfer features of every window of every track: (n, n_features)."""

    def __init__(
        self, features: Sequence[np.ndarray], *, device: str | torch.device = "cpu"
    ) -> None:
        super().__init__(features, length=1, hop=1, device=device)

    def _gather(self, starts: Tensor) -> Tensor:
        return super()._gather(starts).squeeze(1)


def side_by_side(features: Sequence[Features]) -> Features:
    """Return several networks' features of the same tracks as those of one network."""
    together = copy.copy(features[0])
    together.rows = torch.cat([part.rows for part in features], dim=1)
    return together


def fit_normaliser(spectrograms: Iterator[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each mel band over all frames of the training tracks.

    Parameters
    ----------
    spectrograms : iterator of np.ndarray [shape=(frames, n_mels)]
        Of training tracks only. Read once.

    Returns
    -------
    mean, std : np.ndarray [shape=(n_mels,), dtype=float32]
        Decibels. A band that never changes gets a deviation of 1.
    """
    count, total, squares = 0, np.zeros(1), np.zeros(1)
    for spectrogram in spectrograms:
        x = spectrogram.astype(np.float64)
        count += len(x)
        total = total + x.sum(axis=0)
        squares = squares + (x**2).sum(axis=0)
    if count == 0:
        raise ValueError("no training spectrograms to fit a normaliser on")
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return mean.astype(np.float32), np.where(std < 1e-3, 1, std).astype(np.float32)
