"""From the tracks of a library to training data: analyse the files, compute what is trained on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from beets.ui import UserError

from agf_core.data.sampling import at_most
from agf_core.features.descriptors import FromSpectrograms, Stored, extract
from agf_core.features.spectrogram_cache import CachedSpectrograms, cache_spectrograms
from agf_core.finetune.config import TrainingData
from agf_core.finetune.frozen_features import frozen_features, segments_of
from beetsplug.agfgenre.console import Progress, plural

if TYPE_CHECKING:
    from beets.logging import BeetsLogger

    from agf_core.bundle.format import Bundle
    from agf_core.data.tracks import Track
    from agf_core.features.cache import FeatureCache
    from agf_core.groups.codebook import Observations
    from agf_core.train.networks import GenreNet
    from beetsplug.agfgenre.config import TrainSettings

MOST_OF_AN_ALBUM = 4  # tracks: an album counts as one anyway
MOST_IN_ALL = 4_000  # tracks: what 0.7 GB of memory hold


class Preparation:
    """Prepares training data for a base model.

    Parameters
    ----------
    base : Bundle
    network : GenreNet
        That of the base model.
    cache : FeatureCache
    settings : TrainSettings
    log : BeetsLogger
    announce : callable
        Called with a few words on each phase.
    """

    def __init__(
        self,
        base: Bundle,
        network: GenreNet,
        cache: FeatureCache,
        settings: TrainSettings,
        log: BeetsLogger,
        announce: Callable[[str], None],
    ) -> None:
        self._base, self._network, self._cache = base, network, cache
        self._settings, self._log, self._announce = settings, log, announce
        self._processes = settings.threads or None

    def analyse(self, tracks: Sequence[Track]) -> list[Track]:
        """Analyse the files of tracks; return the readable tracks, each sound once.

        Their ids are those of their audio content from then on.

        Raises
        ------
        UserError
            If no file can be analysed.
        """
        paths = list(dict.fromkeys(track.path for track in tracks))
        self._announce(f"analysing {plural(len(paths), 'track')}")
        progress = self._progress(len(paths), "Analysing")
        keys: dict[Path, str] = {}
        try:
            for path, key, error in cache_spectrograms(
                paths, self._base.metadata.input, self._cache, processes=self._processes
            ):
                progress.step()
                if error:
                    with progress.aside():
                        self._log.warning("{}", error)
                else:
                    keys[path] = key
        finally:
            progress.close()
        if not keys:
            raise UserError("agftrain: no track could be analysed, see above; nothing is changed")
        found: dict[str, Track] = {}
        for track in tracks:
            if track.path in keys:
                found.setdefault(keys[track.path], replace(track, track_id=keys[track.path]))
        return list(found.values())

    def training_data(
        self, tracks: Sequence[Track], genres: tuple[str, ...], groups: str, with_segments: bool
    ) -> TrainingData:
        """Compute what is trained on.

        Parameters
        ----------
        tracks : sequence of Track
            That were analysed; their genre is one of `genres` or empty.
        genres : tuple of str
        groups : str
            Tasks of artist groups.
        with_segments : bool
            Whether the networks are trained, which takes spectrograms.
        """
        with_genre = at_most([t for t in tracks if t.genre], MOST_OF_AN_ALBUM, MOST_IN_ALL)
        others = [t for t in tracks if not t.genre] if groups else []
        most = min(len(with_genre), MOST_IN_ALL - len(with_genre))
        others = at_most(others, MOST_OF_AN_ALBUM, most)
        name = self._base.metadata.name
        self._announce(f"computing features of {plural(len(with_genre), 'track')} with {name}")
        progress = self._progress(len(with_genre), "Computing features")
        try:
            features = frozen_features(
                self._base, self._network, self._excerpts(with_genre), progress.step
            )
        finally:
            progress.close()
        both = [*with_genre, *others]
        if others:
            n = plural(len(others), "track")
            self._announce(f"{n} without a genre take part through artist groups ({groups})")
        segments = segments_of(self._base, self._excerpts(both)) if with_segments else None
        observations = self._observations(tracks, groups)
        return TrainingData(both, genres, features, segments, list(tracks), observations)

    def _observations(self, tracks: Sequence[Track], groups: str) -> dict[str, Observations]:
        """Return what artist groups are computed from, of all tracks, by task."""
        found: dict[str, Observations] = {}
        for task in groups:
            if task == "s":
                found[task] = [track.labels for track in tracks]
            elif task in "md":
                found[task] = FromSpectrograms(self._excerpts(tracks), task)
            elif (described := self._described(tracks, task)) is not None:
                found[task] = described
        return found

    def _described(self, tracks: Sequence[Track], task: str) -> Stored | None:
        """Return descriptors that need the audio again; None if most tracks have none."""
        spec = self._base.metadata.input
        n = plural(len(tracks), "track")
        self._announce(f"computing descriptors of {n} for artist groups ({task})")
        stored = extract(
            tracks,
            task,
            self._cache,
            seconds=spec.excerpt_seconds,
            processes=self._processes,
            progress=not self._settings.quiet and sys.stderr.isatty(),
        )
        if 2 * len(stored.missing) <= len(tracks):
            return stored
        self._log.warning(
            "artist groups {} are left out: most tracks have no descriptors for them", task
        )
        return None

    def _excerpts(self, tracks: Sequence[Track]) -> CachedSpectrograms:
        return CachedSpectrograms(
            [t.track_id for t in tracks], self._base.metadata.input, self._cache
        )

    def _progress(self, total: int, title: str) -> Progress:
        return Progress(0 if self._settings.quiet else total, self._log, title)


def relevant(tracks: Sequence[Track], groups: str) -> list[Track]:
    """Return the tracks that training uses: no other need be analysed.

    Parameters
    ----------
    tracks : sequence of Track
    groups : str
        Tasks of artist groups. Those of sound use untagged tracks, up to `MOST_IN_ALL`; those of
        labels (s) the tracks of artists who have labels.
    """
    if set(groups) & set("mde"):
        untagged = [track for track in tracks if not track.genre]
        chosen = set(at_most(untagged, MOST_OF_AN_ALBUM, MOST_IN_ALL))
        return [track for track in tracks if track.genre or track in chosen]
    labelled = {track.artist for track in tracks if track.labels} if "s" in groups else set()
    return [track for track in tracks if track.genre or track.artist in labelled]
