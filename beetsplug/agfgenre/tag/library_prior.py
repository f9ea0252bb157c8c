"""How the library is made up: heard in a part of it, and kept beside it.

For each model there is a file of JSON, ``library.db-agfgenre/prior-<16 digits>.json``. One that is
damaged, or another model's, is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from beets.ui import UserError
from beets.util import syspath

from agf_core.errors import BundleError
from agf_core.inference.prediction import FileResult, Prediction
from agf_core.inference.prior_adjusted import PriorAdjustedTagger
from agf_core.label_shift import check_prior, check_probabilities, estimate
from agf_core.utils import atomic
from beetsplug.agfgenre.config import BALANCED, LIBRARY, SHIPPED
from beetsplug.agfgenre.console import Progress, plural
from beetsplug.agfgenre.database import BATCH, folder_beside, uninterrupted
from beetsplug.agfgenre.tag.setup import ModelError

if TYPE_CHECKING:
    from beets.library import Library
    from beets.logging import BeetsLogger

    from agf_core.inference.prior_adjusted import Tagger
    from beetsplug.agfgenre.config import Settings

SAMPLE = 500  # tracks that are listened to, at most
FEWEST = 30  # tracks that say anything about a library
GROWN = 1.5  # times as many tracks as there were: made up anew
LARGEST = 2**24  # bytes of a file
DIGITS = 6  # of a probability that is kept
SHOWN = 5  # genres


@dataclass
class Kept:
    """What has been heard of a library by a model.

    Attributes
    ----------
    heard : dict
        Probabilities, by the numbers of tracks.
    tracks : int
        How many the library had when the prior was estimated.
    prior : list of float or None
        The estimate, if there is one.
    """

    heard: dict[int, list[float]] = field(default_factory=dict)
    tracks: int = 0
    prior: list[float] | None = None

    @classmethod
    def read(cls, path: Path, ears: Tagger) -> Kept:
        """Read what was written; nothing, where there is nothing that could have been."""
        try:
            values = json.loads(atomic.read(path, LARGEST))
            if values["model"] != ears.model_id:
                raise ValueError("it is another model's")
            kept = cls(
                {int(number): row for number, row in values["heard"].items()},
                int(values["tracks"]),
                values["prior"],
            )
            n = len(ears.labels)
            check_probabilities(np.array(list(kept.heard.values()), np.float64), n)
            if kept.prior is not None:
                check_prior(np.array(kept.prior, np.float64), n)
        except Exception:  # whatever a file can do to whoever reads it
            return cls()
        return kept

    def write(self, path: Path, ears: Tagger) -> None:
        """Keep it; `UserError` where that cannot be done."""
        values = {"model": ears.model_id, "tracks": self.tracks, "prior": self.prior}
        text = json.dumps(values | {"heard": self.heard})
        try:
            with uninterrupted(), atomic.written(path) as file:
                file.write(text.encode("ascii"))
        except OSError as error:
            raise UserError(
                f"agfgenre: what is heard of the library cannot be kept in {path.parent}"
                f" ({error.strerror}); nothing is changed"
            ) from error


def with_prior(
    ears: Tagger, lib: Library, settings: Settings, log: BeetsLogger, *, may_listen: bool
) -> Tagger:
    """Return what hears with the prior that the settings want, as far as that can be had.

    Parameters
    ----------
    may_listen : bool
        Whether a part of the library may be listened to, to find out how it is made up. Where it
        may not, what was found out before is taken.

    Raises
    ------
    ModelError
        If the model cannot be run.
    UserError
        If what is heard cannot be kept.
    """
    if settings.prior == SHIPPED:
        return ears
    if ears.prior is None:
        log.warning(
            "{} does not say what it has learnt from: `prior: {}` changes nothing",
            *(ears.model_id, settings.prior),
        )
        return ears
    if settings.prior == BALANCED:
        return PriorAdjustedTagger(ears, np.full(len(ears.labels), 1 / len(ears.labels)), BALANCED)
    return _Library(ears, ears.prior, lib, settings, log).prepared(may_listen)


class _Library:
    """A library whose prior is wanted, and what hears it with a prior that it has learnt."""

    def __init__(
        self, ears: Tagger, learnt: np.ndarray, lib: Library, settings: Settings, log: BeetsLogger
    ) -> None:
        self._ears, self._learnt, self._lib = ears, learnt, lib
        self._settings, self._log = settings, log
        folder = folder_beside(lib)
        name = hashlib.sha256(ears.model_id.encode()).hexdigest()[:16]
        self._path = folder and folder / f"prior-{name}.json"
        self._kept = Kept.read(self._path, ears) if self._path else Kept()
        self._just_heard: dict[bytes | str, FileResult] = {}

    def prepared(self, may_listen: bool) -> Tagger:
        """Return what hears with the library's prior, or without, where it cannot be told."""
        if may_listen:
            with self._lib.transaction() as transaction:
                numbers = [row[0] for row in transaction.query("SELECT id FROM items")]
            if self._kept.prior is None or len(numbers) >= GROWN * self._kept.tracks:
                self._estimate(numbers)
        prior = self._kept.prior
        if prior is None:
            return self._ears
        name = hashlib.sha256(json.dumps(prior).encode()).hexdigest()[:8]
        return PriorAdjustedTagger(
            self._ears, np.array(prior), f"{LIBRARY}-{name}", self._just_heard
        )

    def _estimate(self, numbers: Sequence[int]) -> None:
        """Estimate the prior anew, if enough tracks can be heard."""
        kept = self._kept
        chosen = sorted(numbers, key=_drawn)[:SAMPLE]
        if len(chosen) >= FEWEST:
            self._listen([number for number in chosen if number not in kept.heard])
        heard = {number: kept.heard[number] for number in chosen if number in kept.heard}
        if len(heard) >= FEWEST:
            shares = estimate(np.array(list(heard.values())), self._learnt)
            self._kept = Kept(heard, len(numbers), shares.tolist())
            self._keep()
            self._tell("the library is made of {}", _described(self._ears.labels, shares))
        elif kept.prior is None:
            self._log.warning(
                "fewer than {} tracks can be heard, too few to tell what the library is made of; "
                "`prior: {}` changes nothing",
                *(FEWEST, LIBRARY),
            )

    def _listen(self, numbers: Sequence[int]) -> None:
        """Listen to tracks; if stopped, keep what was heard."""
        items = [(number, self._lib.get_item(number)) for number in numbers]
        there = [(number, syspath(item.path)) for number, item in items if item]
        if not there:
            return
        what = plural(len(there), "track")
        self._tell("listening to {} to learn what the library is made of", what)
        progress = Progress(0 if self._settings.quiet else len(there), self._log)
        results = self._ears.predict_files(path for _, path in there)
        try:
            for (number, path), result in zip(there, results, strict=True):
                self._just_heard[path] = result
                if result.prediction:
                    row = result.prediction.probabilities
                    self._kept.heard[number] = row.round(DIGITS).tolist()
                progress.step()
                if len(self._just_heard) % BATCH == 0:
                    self._keep()
        except BundleError as error:
            raise ModelError(f"agfgenre: {error}") from None
        except KeyboardInterrupt:
            self._log.info("stopped: run again to go on")
            raise
        finally:
            results.close()
            progress.close()
            self._keep()

    def _keep(self) -> None:
        if self._path and not self._settings.pretend:
            self._kept.write(self._path, self._ears)

    def _tell(self, message: str, what: str) -> None:
        if not self._settings.quiet:
            self._log.info(message, what)


def _drawn(number: int) -> bytes:
    """Return by what tracks are drawn: at random, but always the same of the same library."""
    return hashlib.sha256(str(number).encode()).digest()


def _described(labels: Sequence[str], shares: np.ndarray) -> str:
    most = Prediction(tuple(labels), shares).top(SHOWN)
    return ", ".join(f"{genre} {share:.0%}" for genre, share in most)
