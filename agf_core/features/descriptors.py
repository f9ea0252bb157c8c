"""Descriptors of tracks, the input of artist groups (paper, section 3.1).

=======  ====================================  =========================
source   one observation                       shape per track
=======  ====================================  =========================
``m``    25 MFCCs of a frame                   (frames, 25)
``d``    their difference to the next frame    (frames - 1, 25)
``e``    Essentia's MusicExtractor             (1, len(ESSENTIA_ENTRIES))
=======  ====================================  =========================

`extract` computes them once per track, in worker processes (`agf_core.utils.workers`).
"""

import tempfile
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from tqdm import tqdm

from agf_core.audio import decode
from agf_core.constants import HOP_LENGTH, N_FFT, N_MELS, SAMPLE_RATE
from agf_core.data.tracks import Track
from agf_core.errors import DescriptorError, naming
from agf_core.features.cache import FeatureCache
from agf_core.utils.lazy import OnDemand
from agf_core.utils.workers import in_processes, processes_for

N_MFCC = 25  # paper, table 1

STATISTICS = ["mean", "var", "stdev", "median", "min", "max", "dmean", "dmean2", "dvar", "dvar2"]
COVARIANCES = ["cov", "icov"]

FRAME_WISE = {
    "lowlevel": (
        "barkbands:27 barkbands_crest barkbands_flatness_db barkbands_kurtosis barkbands_skewness "
        "barkbands_spread dissonance erbbands:40 erbbands_crest erbbands_flatness_db "
        "erbbands_kurtosis erbbands_skewness erbbands_spread gfcc:13 hfc loudness_ebu128.momentary "
        "loudness_ebu128.short_term melbands:40 melbands128:128 melbands_crest "
        "melbands_flatness_db melbands_kurtosis melbands_skewness melbands_spread mfcc:13 "
        "pitch_salience silence_rate_20dB silence_rate_30dB silence_rate_60dB spectral_centroid "
        "spectral_complexity spectral_contrast_coeffs:6 spectral_contrast_valleys:6 "
        "spectral_decrease spectral_energy spectral_energyband_high spectral_energyband_low "
        "spectral_energyband_middle_high spectral_energyband_middle_low spectral_entropy "
        "spectral_flux spectral_kurtosis spectral_rms spectral_rolloff spectral_skewness "
        "spectral_spread spectral_strongpeak zerocrossingrate"
    ),
    "rhythm": "beats_loudness beats_loudness_band_ratio:6",
    "tonal": "chords_strength hpcp:36 hpcp_crest hpcp_entropy",
}
"""Descriptors of which Essentia computes every statistic, with their sizes."""

WHOLE_TRACK = {
    "lowlevel": (
        "average_loudness dynamic_complexity loudness_ebu128.integrated "
        "loudness_ebu128.loudness_range"
    ),
    "rhythm": (
        "beats_count bpm bpm_histogram_first_peak_bpm bpm_histogram_first_peak_weight "
        "bpm_histogram_second_peak_bpm bpm_histogram_second_peak_spread "
        "bpm_histogram_second_peak_weight danceability onset_rate"
    ),
    "tonal": (
        "chords_changes_rate chords_histogram:24 chords_number_rate key_edma.strength "
        "key_krumhansl.strength key_temperley.strength thpcp:36 tuning_diatonic_strength "
        "tuning_equal_tempered_deviation tuning_frequency tuning_nontempered_energy_ratio"
    ),
}
"""Descriptors that Essentia computes once per track.

Excluded are descriptors without a fixed number of entries (positions of beats: their number is
included), words (keys, scales, chords: the histogram of chords and the pitch classes hold as much),
and the tempo histogram, whose 250 bins are nearly all empty, so that their ranks carry no
information.
"""


def _layout() -> dict[str, int]:
    """Return every name of Essentia's pool that is used, and how many numbers it holds."""

    def named(group: str, words: str) -> Iterator[tuple[str, int]]:
        for word in words.split():
            name, _, size = word.partition(":")
            yield f"{group}.{name}", int(size or 1)

    layout: dict[str, int] = {}
    for group, words in FRAME_WISE.items():
        for name, size in named(group, words):
            layout |= {f"{name}.{statistic}": size for statistic in STATISTICS}
            if name in ("lowlevel.mfcc", "lowlevel.gfcc"):
                layout |= {f"{name}.{statistic}": size * size for statistic in COVARIANCES}
    for group, words in WHOLE_TRACK.items():
        layout |= dict(named(group, words))
    return layout


LAYOUT = _layout()
ESSENTIA_ENTRIES = tuple(f"{name}[{i}]" for name, size in LAYOUT.items() for i in range(size))
"""The name of every entry of an Essentia vector, in order: the same for every track."""


def possible_sources(sources: str) -> tuple[str, str]:
    """Return the sources that can be computed here, and a line on those that cannot, or ""."""
    if "e" in sources and find_spec("essentia") is None:
        return sources.replace("e", ""), (
            "task e is left out: essentia is not installed (pip install 'beets-agf[train]')"
        )
    return sources, ""


def mfcc(samples: np.ndarray, fmax: float = SAMPLE_RATE / 2) -> np.ndarray:
    """Compute mel-frequency cepstral coefficients, by librosa.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)]
        Mono, at 44.1 kHz.
    fmax : float
        Upper end of the mel bands, hertz.

    Returns
    -------
    np.ndarray [shape=(1 + n // 1024, 25), dtype=float32]
    """
    import librosa

    result: np.ndarray = librosa.feature.mfcc(
        y=samples,
        sr=SAMPLE_RATE,
        n_mfcc=N_MFCC,
        n_fft=N_FFT,
        hop_length=HOP_LENGTH,
        n_mels=N_MELS,
        fmax=fmax,
    )
    return np.ascontiguousarray(result.T, np.float32)


def essentia_vector(samples: np.ndarray, folder: Path | None = None) -> np.ndarray:
    """Compute every statistic of Essentia's MusicExtractor.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)]
        Mono, at 44.1 kHz. Essentia reads them from a temporary file, never the original: its own
        decoder crashes on some.
    folder : Path, optional
        For the temporary file.

    Returns
    -------
    np.ndarray [shape=(len(ESSENTIA_ENTRIES),), dtype=float32]
        NaN where Essentia computes no finite number.

    Raises
    ------
    DescriptorError
        When Essentia fails, as for silence.
    """
    import essentia
    from scipy.io import wavfile

    essentia.log.infoActive = essentia.log.warningActive = False
    from essentia.standard import MusicExtractor

    extractor = MusicExtractor(
        lowlevelStats=STATISTICS,
        rhythmStats=STATISTICS,
        tonalStats=STATISTICS,
        mfccStats=STATISTICS + COVARIANCES,
        gfccStats=STATISTICS + COVARIANCES,
    )
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        path = Path(temporary, "samples.wav")
        wavfile.write(path, SAMPLE_RATE, samples.astype(np.float32))
        try:
            pool, _ = extractor(str(path))
        except RuntimeError as error:
            raise DescriptorError(f"Essentia cannot describe it ({error}).") from error
    given = set(pool.descriptorNames())
    parts = []
    for name, size in LAYOUT.items():
        values = np.ravel(pool[name]) if name in given else np.empty(0)
        parts.append(values if values.shape == (size,) else np.full(size, np.nan))
    vector = np.concatenate(parts)
    vector[np.abs(vector) > np.finfo(np.float32).max] = np.nan
    return vector.astype(np.float32)


class FromSpectrograms(OnDemand[np.ndarray]):
    """MFCCs of spectrograms that are there already (`m`), or their differences (`d`).

    Items are np.ndarray [shape=(n_observations, 25), dtype=float32], computed on access. They are
    those of `mfcc`, but of the mel bands of the network's input, of its excerpt, and of one frame
    in `FRAMES_APART`: words cost as many products as there are frames.

    Parameters
    ----------
    spectrograms : sequence of np.ndarray [shape=(frames, n_mels)]
        Decibels.
    source : str
        ``m`` or ``d``.
    """

    FRAMES_APART = 8

    def __init__(self, spectrograms: Sequence[np.ndarray], source: str) -> None:
        self.spectrograms, self.source = spectrograms, source

    def __len__(self) -> int:
        return len(self.spectrograms)

    def item(self, index: int) -> np.ndarray:
        """Return the descriptors of one track."""
        from scipy.fft import dct

        decibels = self.spectrograms[index].astype(np.float32)
        rows: np.ndarray = dct(decibels, axis=1, norm="ortho")[:, :N_MFCC]
        return (np.diff(rows, axis=0) if self.source == "d" else rows)[:: self.FRAMES_APART]


class Stored(OnDemand[np.ndarray]):
    """Descriptors in a cache, each read on access: a corpus need not fit in memory.

    Items are np.ndarray [shape=(n_observations, n_columns), dtype=float32], in the order of the
    tracks, without rows where a track could not be described.
    """

    def __init__(
        self, cache: FeatureCache, kind: str, track_ids: Sequence[str], source: str
    ) -> None:
        self.cache, self.kind, self.track_ids, self.source = cache, kind, track_ids, source
        self.missing: set[str] = set()

    def __len__(self) -> int:
        return len(self.track_ids)

    def item(self, index: int) -> np.ndarray:
        """Return the descriptors of one track."""
        if self.track_ids[index] in self.missing:
            return np.empty((0, _columns(self.source)), np.float32)
        rows = self.cache.stored(
            self.kind, self.track_ids[index], partial(_fits, self.source)
        ).astype(np.float32)
        return np.diff(rows, axis=0) if self.source == "d" else rows


def kind_of(source: str, *, seconds: float | None = None, fmax: float = SAMPLE_RATE / 2) -> str:
    """Return the kind under which descriptors of a source are cached; see `extract`."""
    if source not in ("m", "d", "e"):
        raise ValueError(f"the source is {source!r}, not m, d or e")
    if source == "e":
        names = zlib.crc32("\n".join(ESSENTIA_ENTRIES).encode())
        kind = f"essentia-{names:08x}"
    else:
        kind = f"mfcc-{SAMPLE_RATE}-{N_FFT}-{HOP_LENGTH}-{N_MELS}-{N_MFCC}-{fmax:g}"
    return kind + ("" if seconds is None else f"-{seconds:g}s")


def extract(
    tracks: Sequence[Track],
    source: str,
    cache: FeatureCache,
    *,
    seconds: float | None = None,
    fmax: float = SAMPLE_RATE / 2,
    processes: int | None = None,
    progress: bool = True,
) -> Stored:
    """Compute the descriptors of every track that are not in the cache yet.

    Parameters
    ----------
    source : str
        ``m``, ``d`` or ``e``; ``d`` is computed from the MFCCs on access.
    seconds : float, optional
        Length of the excerpt from the middle of each track; by default all of it.
    fmax : float
        Upper end of the mel bands of the MFCCs, hertz: above it, collections encoded with different
        bandwidths could be distinguished.
    processes : int, optional
        Number of worker processes; by default one per core.

    Returns
    -------
    Stored
        In the order of `tracks`. Tracks that cannot be described are listed on standard output and
        are empty; another run tries them again.
    """
    kind = kind_of(source, seconds=seconds, fmax=fmax)
    stored = Stored(cache, kind, [track.track_id for track in tracks], source)
    wanted: dict[str, Path] = {}
    for track in tracks:
        try:
            cache.stored(kind, track.track_id, partial(_fits, source))
        except KeyError:
            wanted[track.track_id] = track.path
    with (
        tempfile.TemporaryDirectory(prefix="beets-agf-") as scratch,
        tqdm(
            total=len(tracks),
            initial=len(tracks) - len(wanted),
            desc=f"descriptors ({source})",
            unit="track",
            disable=not progress,
        ) as bar,
    ):
        describe = partial(
            describe_track, cache, source, seconds=seconds, fmax=fmax, scratch=Path(scratch)
        )
        n_processes = processes_for(processes, len(wanted))
        for (track_id, path), error in in_processes(describe, list(wanted.items()), n_processes):
            bar.update()
            if error:
                stored.missing.add(track_id)
                tqdm.write(f"skipped in {source}: {naming(path, error)}")
    return stored


def _columns(source: str) -> int:
    return len(ESSENTIA_ENTRIES) if source == "e" else N_MFCC


def _fits(source: str, stored: np.ndarray) -> bool:
    """Whether an array can be the descriptors of a track."""
    return (
        stored.dtype in (np.float16, np.float32)
        and stored.ndim == 2
        and len(stored) > 0
        and stored.shape[1] == _columns(source)
        and (source == "e" or bool(np.isfinite(stored).all()))
    )


def describe_track(
    cache: FeatureCache,
    source: str,
    job: tuple[str, Path],
    *,
    seconds: float | None = None,
    fmax: float = SAMPLE_RATE / 2,
    scratch: Path | None = None,
) -> None:
    """Put the descriptors of one track into the cache, unless they are there; see `extract`.

    Parameters
    ----------
    job : tuple of str and Path
        The track's id and file.
    scratch : Path, optional
        A folder for temporary files.

    Raises
    ------
    agf_core.audio.decode.AudioError, DescriptorError
        When the track cannot be described.
    """
    track_id, path = job

    def compute() -> np.ndarray:
        clip = decode.read(path) if seconds is None else decode.read_excerpt(path, seconds)
        if source == "e":
            return essentia_vector(clip.samples, scratch)[None]
        return mfcc(clip.samples, fmax).astype(np.float16)  # an error of at most 0.5

    kind = kind_of(source, seconds=seconds, fmax=fmax)
    cache.get(kind, track_id, compute, partial(_fits, source))
