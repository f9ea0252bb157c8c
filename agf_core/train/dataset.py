"""Datasets to train networks on: rows of tracks, drawn at random or window by window.

From spectrograms one random segment per track is drawn; from the transfer features that trained
networks compute, one random window per track or all windows. Both have one interface, so that one
training loop and one prediction serve networks and MLP. Rows are stored on the device of the
examples, or, where they do not fit there, in a file from which each example is read on access.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from agf_core.constants import LOG_FLOOR
from agf_core.features.spectrogram import InputSpec
from agf_core.utils.lazy import OnDemand


class PackedRows(OnDemand[np.ndarray]):
    """Rows of many tracks in one array, one track after the other.

    Items are np.ndarray [shape=(n_rows, n_columns)], views of the whole.

    Parameters
    ----------
    rows : Tensor [shape=(all rows, n_columns)]
    counts : sequence of int
        Rows of each track.
    """

    def __init__(self, rows: Tensor, counts: Sequence[int]) -> None:
        if len(rows) != sum(counts):
            raise ValueError(f"there are {len(rows)} rows, but the tracks have {sum(counts)}")
        self.rows, self.counts = rows, list(counts)
        self._ends = np.cumsum(counts).tolist()

    @classmethod
    def open(cls, path: Path, counts: Sequence[int]) -> Self:
        """Map the rows of a ``.npy`` file into memory: they are read on access."""
        # Copy on write, because a tensor cannot be read-only; nothing ever writes.
        return cls(torch.from_numpy(np.load(path, mmap_mode="c")), counts)

    def __len__(self) -> int:
        return len(self.counts)

    def item(self, index: int) -> np.ndarray:
        """Return the rows of one track."""
        return self.rows[self._ends[index] - self.counts[index] : self._ends[index]].numpy()


class TrackDataset:
    """Rows of many tracks, one track after the other.

    Parameters
    ----------
    rows : PackedRows, or sequence of np.ndarray [shape=(n_rows, n_columns)]
        At least `length` rows of each track. Packed rows are used as they are, others copied.
    length : int
        Rows of one example.
    hop : int
        Rows from one window of a track to the next.
    dtype : torch.dtype
        Type of the stored rows; examples are float32.
    device : str or torch.device
        Device of the examples and of the stored rows.
    stream : bool
        Leave the rows where they are, and copy only examples to the device.
    """

    def __init__(
        self,
        rows: Sequence[np.ndarray],
        *,
        length: int,
        hop: int,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        stream: bool = False,
    ) -> None:
        counts = rows.counts if isinstance(rows, PackedRows) else [len(r) for r in rows]
        if not counts or min(counts) < length:
            raise ValueError(f"every track needs at least {length} rows")
        self.length, self.hop = length, hop
        self.counts = torch.tensor(counts)
        self.offsets = torch.cumsum(self.counts, 0) - self.counts
        if isinstance(rows, PackedRows):
            self.rows = rows.rows.to(dtype)
        else:
            self.rows = torch.empty(sum(counts), rows[0].shape[1], dtype=dtype)
            for offset, r in zip(self.offsets.tolist(), rows, strict=True):
                self.rows[offset : offset + len(r)] = torch.from_numpy(r)
        self.device = torch.device(device)
        if not stream:
            self.rows = self.rows.to(self.device)

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def streamed(self) -> bool:
        """Whether rows and examples are on different devices."""
        return self.rows.device.type != self.device.type

    def subset(self, tracks: Sequence[int] | np.ndarray) -> Self:
        """Return some of the tracks, in the order given; the rows themselves are shared."""
        part = copy.copy(self)
        chosen = torch.as_tensor(tracks)
        part.counts, part.offsets = self.counts[chosen], self.offsets[chosen]
        return part

    def pieces(self, tracks: Tensor, firsts: Tensor, lengths: Tensor) -> Self:
        """Return pieces of tracks as if each were a track of its own; the rows are shared.

        Parameters
        ----------
        tracks, firsts, lengths : Tensor [shape=(n_pieces,), dtype=int64]
            Which track, the row of it that the piece begins with, and its number of rows.
        """
        part = copy.copy(self)
        part.counts, part.offsets = lengths, self.offsets[tracks] + firsts
        return part

    def thinned(self, every: int) -> Self:
        """Return the same tracks with only one window in `every`."""
        part = copy.copy(self)
        part.hop = every * self.hop
        return part

    def at(self, starts: Tensor) -> Tensor:
        """Return the examples that begin at the given rows, (n, length, n_columns)."""
        index = starts[:, None] + torch.arange(self.length, device=starts.device)
        return self.rows[index.to(self.rows.device)].to(self.device).float()

    def augmented(self, starts: Tensor) -> Tensor:
        """Return examples to train on, augmented at random in some kinds of datasets."""
        return self.at(starts)

    def starts(self, tracks: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the first row of a random example of each track, (n_tracks,)."""
        room = self.counts[tracks] - self.length + 1
        shifts = (torch.rand(len(tracks), generator=generator) * room).long()
        return self.offsets[tracks] + shifts

    def epoch(
        self, tracks: Tensor, generator: torch.Generator, *, every_window: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Draw the examples of an epoch, in random order.

        Parameters
        ----------
        tracks : Tensor [shape=(n_tracks,), dtype=int64]
        every_window : bool
            Take every window of each track, not one example at random.

        Returns
        -------
        starts, tracks : Tensor [shape=(n_examples,), dtype=int64]
            The first row and the track of each example.
        """
        if every_window:
            starts, tracks = self._windows(tracks)
            order = torch.randperm(len(tracks), generator=generator)
            return starts[order], tracks[order]
        tracks = tracks[torch.randperm(len(tracks), generator=generator)]
        return self.starts(tracks, generator), tracks

    def windows(self, *tracks: int) -> Tensor:
        """Return all windows of the tracks, one track after the other, (n_windows, ...)."""
        return self.at(self._windows(torch.tensor(tracks))[0])

    def _windows(self, tracks: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first row and the track of each window."""
        counts = torch.tensor(self.n_windows(tracks))
        before = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        each = torch.repeat_interleave(tracks, counts)
        return self.offsets[each] + self.hop * (torch.arange(len(each)) - before), each

    def n_windows(self, tracks: Sequence[int] | Tensor) -> list[int]:
        """Return how many windows each of the tracks has."""
        return ((self.counts[torch.as_tensor(tracks)] - self.length) // self.hop + 1).tolist()


@dataclass(frozen=True)
class SpectrogramAugmentation:
    """Random augmentation of segments in training, as recordings differ.

    Attributes
    ----------
    loudness : float
        Standard deviation of a gain over all mel bands, decibels.
    equaliser : float
        Standard deviation of a gain that changes smoothly from band to band, decibels.
    """

    loudness: float = 0.0
    equaliser: float = 0.0

    KNOTS = 6  # of the equaliser, evenly spaced over the mel bands

    def gains(self, n: int, n_mels: int, device: str | torch.device = "cpu") -> Tensor:
        """Draw the gains of `n` segments from the device's global generator, (n, 1, n_mels)."""
        knots = self.equaliser * torch.randn(n, 1, self.KNOTS, device=device)
        curve = F.interpolate(knots, n_mels, mode="linear", align_corners=True)
        return self.loudness * torch.randn(n, 1, 1, device=device) + curve


class SegmentDataset(TrackDataset):
    """Log-mel segments, normalised per mel band: (n, 1, segment_frames, n_mels).

    Parameters
    ----------
    spectrograms : sequence of np.ndarray [shape=(frames, n_mels)]
        Decibels; kept in half precision (an error of at most 0.04 dB).
    mean, std : np.ndarray [shape=(n_mels,)]
        See `fit_normaliser`.
    augmentation : SpectrogramAugmentation
        Of the segments in training.
    device, stream
        See `TrackDataset`.
    """

    def __init__(
        self,
        spectrograms: Sequence[np.ndarray],
        spec: InputSpec,
        mean: np.ndarray,
        std: np.ndarray,
        *,
        augmentation: SpectrogramAugmentation = SpectrogramAugmentation(),
        device: str | torch.device = "cpu",
        stream: bool = False,
    ) -> None:
        super().__init__(
            spectrograms,
            length=spec.segment_frames,
            hop=spec.window_hop,
            dtype=torch.float16,
            device=device,
            stream=stream,
        )
        self.mean = torch.as_tensor(mean, dtype=torch.float32, device=device)
        self.std = torch.as_tensor(std, dtype=torch.float32, device=device)
        self.augmentation = augmentation

    def at(self, starts: Tensor) -> Tensor:
        """Return the segments that begin at the given frames, (n, 1, segment_frames, n_mels)."""
        return self._normalised(super().at(starts))

    def augmented(self, starts: Tensor) -> Tensor:
        """Return the segments, each with a random loudness and equaliser."""
        if self.augmentation == SpectrogramAugmentation():
            return self.at(starts)
        x = super().at(starts)
        x = x + self.augmentation.gains(len(x), x.shape[-1], x.device)
        return self._normalised(x.clamp(min=10 * np.log10(LOG_FLOOR)))

    def normalised_by(self, mean: np.ndarray, std: np.ndarray) -> Self:
        """Return the same segments with another normaliser; the rows are shared."""
        other = copy.copy(self)
        other.mean, other.std = (
            torch.as_tensor(x, dtype=torch.float32, device=self.device) for x in (mean, std)
        )
        return other

    def _normalised(self, x: Tensor) -> Tensor:
        return ((x - self.mean) / self.std).unsqueeze(1)


class FeatureDataset(TrackDataset):
    """Transfer features of every window of every track: (n, n_features)."""

    def __init__(
        self,
        features: Sequence[np.ndarray],
        *,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        stream: bool = False,
    ) -> None:
        super().__init__(features, length=1, hop=1, dtype=dtype, device=device, stream=stream)

    @property
    def n_features(self) -> int:
        """Length of an example."""
        return self.rows.shape[1]

    def at(self, starts: Tensor) -> Tensor:
        """Return the features of the given windows, (n, n_features)."""
        return super().at(starts).squeeze(1)


class SideBySide(FeatureDataset):
    """Features that several networks compute of the same tracks, as if of one network.

    They are put together example by example: all of them would take the memory twice.

    Parameters
    ----------
    parts : sequence of FeatureDataset
    """

    def __init__(self, parts: Sequence[FeatureDataset]) -> None:
        self.__dict__.update(parts[0].__dict__)
        self.parts = parts

    @property
    def n_features(self) -> int:
        """Length of an example."""
        return sum(part.n_features for part in self.parts)

    def at(self, starts: Tensor) -> Tensor:
        """Return the features of the given windows, (n, n_features)."""
        return torch.cat([part.at(starts) for part in self.parts], dim=1)


def fit_normaliser(spectrograms: Iterator[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean and standard deviation of each mel band over all training frames.

    Parameters
    ----------
    spectrograms : iterator of np.ndarray [shape=(frames, n_mels)]
        Of training tracks only; read once.

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
