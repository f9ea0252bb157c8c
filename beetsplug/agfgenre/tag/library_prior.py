"""The class prior of a library, estimated from predictions of a sample of its tracks.

For each model there is a JSON file beside the library, ``library.db-agfgenre/prior-<16
digits>.json``. One that is damaged, or another model's, is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from beets.ui import UserError
from beets.util import syspath

from agf_core.bundle.old_keys import with_present_keys
from agf_core.errors import BundleError
from agf_core.inference.prediction import FileResult, Prediction
from agf_core.inference.prior_adjusted import PriorAdjustedTagger
from agf_core.label_shift import check_prior, check_probabilities, estimate
from agf_core.utils import atomic
from beetsplug.agfgenre.config import BALANCED, LIBRARY, SHIPPED
from beetsplug.agfgenre.console import Progress, plural
from beetsplug.agfgenre.database import BATCH_SIZE, folder_beside, uninterrupted
from beetsplug.agfgenre.tag.setup import ModelError

if TYPE_CHECKING:
    from beets.library import Library
    from beets.logging import BeetsLogger

    from agf_core.inference.prior_adjusted import Tagger
    from beetsplug.agfgenre.config import Settings

SAMPLE_TRACKS = 500  # tracks that are analysed, at most
FEWEST_TRACKS = 30  # analysed tracks that an estimate needs
GROWTH_FACTOR = 1.5  # times as many tracks as there were: estimated again
LARGEST_FILE = 2**24  # bytes of a file
STORED_DIGITS = 6  # of a stored probability
GENRES_SHOWN = 5  # genres


@dataclass
class StoredEstimate:
    """A library's class prior for a model, and the predictions it was estimated from.

    Attributes
    ----------
    predictions : dict
        Probabilities by the ids of tracks.
    tracks : int
        How many the library had when the prior was estimated.
    prior : list of float or None
        The estimate, if there is one.
    """

    predictions: dict[int, list[float]] = field(default_factory=dict)
    tracks: int = 0
    prior: list[float] | None = None

    @classmethod
    def read(cls, path: Path, tagger: Tagger) -> StoredEstimate:
        """Read the file of a model; an empty estimate if it is missing or cannot be valid."""
        try:
            values = with_present_keys(json.loads(atomic.read(path, LARGEST_FILE)))
            if values["model"] != tagger.model_id:
                raise ValueError("the file is another model's")
            stored = cls(
                {int(number): row for number, row in values["predictions"].items()},
                int(values["tracks"]),
                values["prior"],
            )
            n = len(tagger.labels)
            check_probabilities(np.array(list(stored.predictions.values()), np.float64), n)
            if stored.prior is not None:
                check_prior(np.array(stored.prior, np.float64), n)
        except Exception:  # whatever is wrong with the file
            return cls()
        return stored

    def write(self, path: Path, tagger: Tagger) -> None:
        """Write the file of a model; `UserError` where that fails."""
        values = {"model": tagger.model_id, "tracks": self.tracks, "prior": self.prior}
        text = json.dumps(values | {"predictions": self.predictions})
        try:
            with uninterrupted(), atomic.written(path) as file:
                file.write(text.encode("ascii"))
        except OSError as error:
            raise UserError(
                f"agfgenre: {path} cannot be written ({error.strerror}); make room there or allow "
                "writing, and run again; nothing is changed"
            ) from error


def with_prior(
    tagger: Tagger, lib: Library, settings: Settings, log: BeetsLogger, *, may_analyse: bool = True
) -> Tagger:
    """Return a tagger whose predictions hold for the prior of the settings, if that is possible.

    Parameters
    ----------
    may_analyse : bool
        Whether a sample of the library may be analysed to estimate its prior; otherwise the last
        estimate is used.

    Raises
    ------
    ModelError
        If the model cannot be run.
    UserError
        If the estimate cannot be stored.
    """
    if settings.prior == SHIPPED:
        return tagger
    if tagger.prior is None:
        log.warning(
            "the model {} does not state its training prior, so `prior: {}` has no effect",
            *(tagger.model_id, settings.prior),
        )
        return tagger
    if settings.prior == BALANCED:
        n = len(tagger.labels)
        return PriorAdjustedTagger(tagger, np.full(n, 1 / n), BALANCED)
    return _LibraryPrior(tagger, tagger.prior, lib, settings, log).adjusted(may_analyse)


class _LibraryPrior:
    """A library's class prior, estimated from predictions that hold for the training prior."""

    def __init__(
        self,
        tagger: Tagger,
        training_prior: np.ndarray,
        lib: Library,
        settings: Settings,
        log: BeetsLogger,
    ) -> None:
        self._tagger, self._training_prior, self._lib = tagger, training_prior, lib
        self._settings, self._log = settings, log
        folder = folder_beside(lib)
        name = hashlib.sha256(tagger.model_id.encode()).hexdigest()[:16]
        self._path = folder and folder / f"prior-{name}.json"
        self._stored = StoredEstimate.read(self._path, tagger) if self._path else StoredEstimate()
        self._results: dict[bytes | str, FileResult[Any]] = {}  # of this run

    def adjusted(self, may_analyse: bool) -> Tagger:
        """Return the tagger adjusted to the library's prior; as it is if there is no estimate."""
        if may_analyse:
            with self._lib.transaction() as transaction:
                numbers = [row[0] for row in transaction.query("SELECT id FROM items")]
            if self._stored.prior is None or len(numbers) >= GROWTH_FACTOR * self._stored.tracks:
                self._estimate(numbers)
        prior = self._stored.prior
        if prior is None:
            return self._tagger
        name = hashlib.sha256(json.dumps(prior).encode()).hexdigest()[:8]
        return PriorAdjustedTagger(
            self._tagger, np.array(prior), f"{LIBRARY}-{name}", self._results
        )

    def _estimate(self, numbers: Sequence[int]) -> None:
        """Estimate the prior again, if enough tracks can be analysed."""
        stored = self._stored
        chosen = sorted(numbers, key=_drawn)[:SAMPLE_TRACKS]
        if len(chosen) >= FEWEST_TRACKS:
            self._analyse([number for number in chosen if number not in stored.predictions])
        there = {n: stored.predictions[n] for n in chosen if n in stored.predictions}
        if len(there) >= FEWEST_TRACKS:
            shares = estimate(np.array(list(there.values())), self._training_prior)
            self._stored = StoredEstimate(there, len(numbers), shares.tolist())
            self._store()
            self._report("estimated genres of the library: {}", _top(self._tagger.labels, shares))
        elif stored.prior is None:
            self._log.warning(
                "fewer than {} tracks could be analysed, too few to estimate the genres of the "
                "library, so `prior: {}` has no effect",
                *(FEWEST_TRACKS, LIBRARY),
            )

    def _analyse(self, numbers: Sequence[int]) -> None:
        """Analyse tracks; store the predictions also if stopped."""
        items = [(number, self._lib.get_item(number)) for number in numbers]
        there = [(number, syspath(item.path)) for number, item in items if item]
        if not there:
            return
        what = plural(len(there), "track")
        self._report("analysing {} to estimate the genres of the library", what)
        progress = Progress(0 if self._settings.quiet else len(there), self._log)
        results = self._tagger.predict_files(path for _, path in there)
        try:
            for (number, path), result in zip(there, results, strict=True):
                self._results[path] = result
                if result.prediction:
                    row = result.prediction.probabilities
                    self._stored.predictions[number] = row.round(STORED_DIGITS).tolist()
                progress.step()
                if len(self._results) % BATCH_SIZE == 0:
                    self._store()
        except BundleError as error:
            raise ModelError(f"agfgenre: {error}") from None
        except KeyboardInterrupt:
            self._log.info("stopped, run again to continue")
            raise
        finally:
            results.close()
            progress.close()
            self._store()

    def _store(self) -> None:
        if self._path and not self._settings.pretend:
            self._stored.write(self._path, self._tagger)

    def _report(self, message: str, what: str) -> None:
        if not self._settings.quiet:
            self._log.info(message, what)


def _drawn(number: int) -> bytes:
    """Return the key by which a sample is drawn: random, but the same for the same library."""
    return hashlib.sha256(str(number).encode()).digest()


def _top(labels: Sequence[str], shares: np.ndarray) -> str:
    most = Prediction(tuple(labels), shares).top(GENRES_SHOWN)
    return ", ".join(f"{genre} {share:.0%}" for genre, share in most)
