"""The class prior of a library, estimated from its tags and from predictions of a sample.

For each model there is a JSON file beside the library, ``library.db-agfgenre/prior-<16
digits>.json``, with the estimate in use. One that is damaged, another model's or a former version's
is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from beets.util import syspath

from agf_core.errors import BundleError
from agf_core.inference.prediction import FileResult, Prediction
from agf_core.inference.prior_adjusted import PriorAdjustedTagger
from agf_core.label_shift import check_prior, estimate
from agf_core.utils import atomic
from beetsplug.agfgenre.config import BALANCED, LIBRARY, SHIPPED
from beetsplug.agfgenre.console import Progress, plural
from beetsplug.agfgenre.database import folder_beside, make_folder, uninterrupted
from beetsplug.agfgenre.tag.setup import ModelError

if TYPE_CHECKING:
    from beets.library import Library
    from beets.logging import BeetsLogger

    from agf_core.inference.prior_adjusted import Tagger
    from beetsplug.agfgenre.config import Settings
    from beetsplug.agfgenre.tag.library_tags import LibraryTags, TaggedTrack

SAMPLE_TRACKS = 500  # tracks whose predictions count, at most
NOTICEABLE_CHANGE = (
    0.05  # share of the library that must have moved before another estimate is used
)
LARGEST_FILE = 2**20  # bytes of a file
VERSION = 2
GENRES_SHOWN = 5  # genres


def with_prior(
    tagger: Tagger,
    tags: LibraryTags,
    lib: Library,
    settings: Settings,
    log: BeetsLogger,
    will_analyse: Callable[[TaggedTrack], bool] = lambda track: False,
) -> Tagger:
    """Return a tagger whose predictions hold for the prior of the settings, if that is possible.

    A model that was fine-tuned on a library has that library's prior, and is not adjusted to it.

    Parameters
    ----------
    will_analyse : callable
        Whether the run will analyse a track anyway: such tracks may be analysed at once, to
        estimate the prior. Others count by what is stored of them.

    Raises
    ------
    ModelError
        If the model cannot be run.
    """
    if settings.prior == SHIPPED or (settings.prior == LIBRARY and tagger.fine_tuned):
        return tagger
    if tagger.prior is None:
        report = log.warning if settings.prior == BALANCED else log.debug
        report(
            "the model {} does not state its training prior, so `prior: {}` has no effect",
            *(tagger.model_id, settings.prior),
        )
        return tagger
    if settings.prior == BALANCED:
        n = len(tagger.labels)
        return PriorAdjustedTagger(tagger, np.full(n, 1 / n), BALANCED)
    return _LibraryPrior(tagger, tagger.prior, tags, lib, settings, log).adjusted(will_analyse)


class _LibraryPrior:
    """A library's class prior, estimated from predictions that hold for the training prior."""

    def __init__(
        self,
        tagger: Tagger,
        training_prior: np.ndarray,
        tags: LibraryTags,
        lib: Library,
        settings: Settings,
        log: BeetsLogger,
    ) -> None:
        self._tagger, self._training_prior, self._lib = tagger, training_prior, lib
        self._tags, self._settings, self._log = tags, settings, log
        folder = folder_beside(lib)
        name = hashlib.sha256(tagger.model_id.encode()).hexdigest()[:16]
        self._path = folder and folder / f"prior-{name}.json"
        self._results: dict[bytes | str, FileResult[Any]] = {}  # of this run

    def adjusted(self, will_analyse: Callable[[TaggedTrack], bool]) -> Tagger:
        """Return the tagger adjusted to the library's prior; as it is where the prior is equal.

        An estimate stays in use until another differs from it noticeably: otherwise every run would
        decide anew on all tracks that have no genre. It also stays where less than half as much is
        known as when it was made, as when stored features are lost.
        """
        genres = [track.genre for track in self._tags.tracks if track.genre is not None]
        others = [track for track in self._tags.tracks if track.genre is None]
        tagged = np.bincount(genres, minlength=len(self._training_prior)).astype(np.float64)
        predicted = self._predictions(others, will_analyse)
        found = estimate(self._training_prior, predicted, tagged, len(others))
        known = len(genres) + len(predicted)
        used, known_before = self._read()
        before = self._training_prior if used is None else used
        change = float(np.abs(found - before).sum() / 2)
        if change >= NOTICEABLE_CHANGE and 2 * known >= known_before:
            used = found
            self._write(used, known)
            self._report("estimated genres of the library: {}", _top(self._tagger.labels, used))
        if used is None:
            return self._with_results(self._training_prior, "")  # they need not be computed again
        digest = hashlib.sha256(json.dumps(used.tolist()).encode()).hexdigest()[:8]
        return self._with_results(used, f"{LIBRARY}-{digest}")

    def _with_results(self, prior: np.ndarray, name: str) -> Tagger:
        return PriorAdjustedTagger(self._tagger, prior, name, self._results)

    def _predictions(
        self, others: Sequence[TaggedTrack], will_analyse: Callable[[TaggedTrack], bool]
    ) -> np.ndarray:
        """Return predictions of a sample of the tracks without a tag, (n_tracks, n_genres)."""
        known = [track for track in others if track.analysed_by or will_analyse(track)]
        found, missing = [], []
        for track in sorted(known, key=_drawn)[:SAMPLE_TRACKS]:
            item = self._lib.get_item(track.number)
            if item is None:
                continue
            path = syspath(item.path)
            stored = self._tagger.stored(path) if track.analysed_by else None
            if stored and stored.prediction:
                found.append(stored.prediction.probabilities)
            elif will_analyse(track) and not track.analysed_by.startswith(self._tagger.model_id):
                missing.append(path)
        found += self._analyse(missing)
        return np.array(found).reshape(len(found), len(self._training_prior))

    def _analyse(self, paths: Sequence[bytes | str]) -> list[np.ndarray]:
        """Analyse files; return the predictions of those that can be analysed."""
        if not paths:
            return []
        what = plural(len(paths), "track")
        self._report("analysing {} to estimate how common each genre is in the library", what)
        progress = Progress(0 if self._settings.quiet else len(paths), self._log)
        results = self._tagger.predict_files(paths)
        try:
            for result in results:
                self._results[result.path] = result
                progress.step()
        except BundleError as error:
            raise ModelError(f"agfgenre: {error}") from None
        except KeyboardInterrupt:
            self._log.info("stopped, run again to continue")
            raise
        finally:
            results.close()
            progress.close()
        found = [self._results[path].prediction for path in paths]
        return [prediction.probabilities for prediction in found if prediction]

    def _read(self) -> tuple[np.ndarray | None, int]:
        """Read the estimate in use, and of how many tracks the genre or a prediction was known.

        None and 0 where the file is missing or cannot be valid.
        """
        if self._path is None:
            return None, 0
        try:
            values = json.loads(atomic.read(self._path, LARGEST_FILE))
            if (values["version"], values["model"]) != (VERSION, self._tagger.model_id):
                return None, 0
            known, prior = int(values["known"]), np.array(values["prior"], np.float64)
            check_prior(prior, len(self._training_prior))
        except Exception:  # whatever is wrong with the file
            return None, 0
        return prior, known

    def _write(self, prior: np.ndarray, known: int) -> None:
        if self._path is None or self._settings.pretend:
            return
        values = {
            "version": VERSION,
            "model": self._tagger.model_id,
            "prior": prior.tolist(),
            "known": known,
        }
        try:
            make_folder(self._path.parent)
            with uninterrupted(), atomic.written(self._path) as file:
                file.write(json.dumps(values).encode("ascii"))
        except OSError as error:
            self._log.warning(
                "{} cannot be written ({}); the next run estimates the genres of the library again",
                *(self._path, error.strerror),
            )

    def _report(self, message: str, what: str) -> None:
        if not self._settings.quiet:
            self._log.info(message, what)


def _drawn(track: TaggedTrack) -> bytes:
    """Return the key by which a sample is drawn: random, but the same for the same library."""
    return hashlib.sha256(str(track.number).encode()).digest()


def _top(labels: Sequence[str], shares: np.ndarray) -> str:
    most = Prediction(tuple(labels), shares).top(GENRES_SHOWN)
    return ", ".join(f"{genre} {share:.0%}" for genre, share in most)
