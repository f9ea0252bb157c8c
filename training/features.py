"""Features of a collection's tracks, made once and kept."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from agf_core.audio import decode
from agf_core.data.tracks import Track
from agf_core.errors import AudioError, DescriptorError
from agf_core.features.cache import FeatureCache
from agf_core.features.descriptors import (
    Stored,
    describe_track,
    extract,
    kind_of,
    possible_sources,
)
from agf_core.features.spectrogram import InputSpec, log_mel
from agf_core.groups.codebook import Observations
from training.errors import leave_to_the_sound

LONGEST_SECONDS = 90.0  # seconds of a track, from its middle, that are used

DESCRIPTORS = {
    "m": "MFCCs",
    "d": "differences of MFCCs",
    "e": "Essentia's descriptors",
    "s": "genre labels",
}
"""What artist groups are made of, by the letter of their task."""


def spectrogram_kind(spec: InputSpec) -> str:
    """Return the kind under which log-mel spectrograms of whole clips are in the cache."""
    sizes = (spec.sample_rate, spec.n_fft, spec.hop_length, spec.n_mels, spec.fmin, spec.fmax)
    return "-".join(["logmel", *(f"{size:g}" for size in sizes)])


def spectrogram(track: Track, spec: InputSpec, cache: FeatureCache) -> np.ndarray:
    """Log-mel of a clip, in half precision, (frames, n_mels); `AudioError` if it has none."""

    def compute() -> np.ndarray:
        samples = decode.read_excerpt(
            track.path, LONGEST_SECONDS, sample_rate=spec.sample_rate
        ).samples
        return log_mel(samples, spec).astype(np.float16)

    return cache.get(spectrogram_kind(spec), track.track_id, compute)


def spectrograms(
    tracks: Sequence[Track], spec: InputSpec, cache: FeatureCache
) -> tuple[list[Track], list[np.ndarray]]:
    """Log-mel of every track, in half precision.

    Clips that cannot be read are left out and listed, as are those of less than one segment.

    Returns
    -------
    tracks : list of Track
        Those that are left.
    spectrograms : list of np.ndarray [shape=(frames, n_mels), dtype=float16]
    """
    usable, result = [], []
    for track in tqdm(tracks, desc="log-mel", unit="clip"):
        try:
            rows = spectrogram(track, spec, cache)
        except AudioError as error:
            leave_to_the_sound(error)
            tqdm.write(f"left out: {error}")
            continue
        if len(rows) < spec.segment_frames:
            tqdm.write(f"left out: {track.track_id} is shorter than a segment")
            continue
        usable.append(track)
        result.append(rows)
    return usable, result


def make_features(folder: Path, spec: InputSpec, sources: str, track: Track) -> dict[str, str]:
    """Put a track's log-mel and descriptors into a cache, for the workers of a cluster.

    Parameters
    ----------
    folder : Path
        Of the cache.
    sources : str
        Letters of the descriptors.

    Returns
    -------
    dict of str
        Why something could not be made, by ``log-mel`` or the source's letter. Without a log-mel
        nothing else is tried.

    Raises
    ------
    RunError
        When the reason is not the sound of the track.
    """
    cache = FeatureCache(folder)
    try:
        spectrogram(track, spec, cache)
    except AudioError as error:
        leave_to_the_sound(error)
        return {"log-mel": str(error)}
    errors = {}
    for source in sources:
        try:
            describe_track(cache, source, (track.track_id, track.path), fmax=spec.fmax)
        except AudioError as error:
            leave_to_the_sound(error)
            errors[source] = str(error)
        except DescriptorError as error:
            errors[source] = str(error)
    return errors


def stored_descriptors(
    tracks: Sequence[Track], source: str, cache: FeatureCache, *, fmax: float
) -> Observations:
    """Return what artist groups of a source are made of, as far as the cache has it.

    Raises
    ------
    ValueError
        When it has nothing of any track.
    """
    if source == "s":
        return [track.labels for track in tracks]
    kind = kind_of(source, fmax=fmax)
    stored = Stored(cache, kind, [track.track_id for track in tracks], source)
    stored.missing = {t for t in stored.track_ids if not cache.has_file(kind, t)}
    if len(stored.missing) == len(tracks):
        raise ValueError("no track has been described by them; run training.paper.prepare")
    return stored


def describe(
    tracks: Sequence[Track],
    sources: str,
    cache: FeatureCache,
    *,
    fmax: float,
    processes: int | None = None,
) -> dict[str, Observations]:
    """Return what artist groups are made of: per source, an item for every track.

    A source that needs a package that is not installed is left out and listed; task g has no
    groups.

    Parameters
    ----------
    sources : str
        Letters.
    fmax : float
        Where the mel bands of MFCCs end, hertz.
    processes : int, optional
        At a time; by default one per core.
    """
    possible, left_out = possible_sources(sources.replace("g", ""))
    if left_out:
        print(left_out)
    described: dict[str, Observations] = {}
    for source in possible:
        if source == "s":
            described[source] = [track.labels for track in tracks]
        else:
            described[source] = extract(tracks, source, cache, fmax=fmax, processes=processes)
    return described
