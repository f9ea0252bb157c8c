"""``beet agftrain``: fit a model to the genres of a library, and report how good it is.

The steps of both ways of training are here: `beetsplug.agfgenre.train.light` trains a small head
upon stored features, `beetsplug.agfgenre.train.deep` the networks. Neither the library nor any of
its files is changed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from beets.ui import UserError

from agf_core import errors
from agf_core.bundle import format as bundle_format
from agf_core.bundle import seen_artists
from agf_core.data.genre_names import fold_genre_name
from agf_core.data.sampling import SetAside
from agf_core.data.tracks import Track
from agf_core.evaluation import FINE_TUNED
from agf_core.finetune.held_out import HeldOut
from agf_core.inference.artist_context import adjust_without_own_album
from beetsplug.agfgenre.console import duration, markdown_text, show
from beetsplug.agfgenre.models import PAGE_FILE, model_store
from beetsplug.agfgenre.train import workspace
from beetsplug.agfgenre.train.report import (
    Predictor,
    Tuner,
    compare_with_previous,
    report_lines,
    training_report,
    write_report,
)
from beetsplug.agfgenre.train.training_set import TrainingSet, choose

if TYPE_CHECKING:
    from beets.library import Library
    from beets.logging import BeetsLogger

    from beetsplug.agfgenre.config import TrainSettings
    from beetsplug.agfgenre.vocabulary import Vocabulary


class TrainingRun(ABC):
    """One ``beet agftrain``: analyse, train, report, and keep the new model if it is better.

    Parameters
    ----------
    lib : Library
    vocabulary : Vocabulary
    learn_as : mapping
        See `beetsplug.agfgenre.vocabulary.read_learn_as`.
    settings : TrainSettings
    log : BeetsLogger
    """

    def __init__(
        self,
        lib: Library,
        vocabulary: Vocabulary,
        learn_as: Mapping[str, str],
        settings: TrainSettings,
        log: BeetsLogger,
    ) -> None:
        self._vocabulary, self._learn_as = vocabulary, learn_as
        self._settings, self._log = settings, log
        self._work = workspace.work_folder(lib)

    @abstractmethod
    def train(self, training_set: TrainingSet) -> bool:
        """Train; return whether the new model is better than the active one, and active now.

        Raises
        ------
        UserError
            If nothing can be trained or saved.
        """

    @abstractmethod
    def _predictor(self, tuner: Any) -> Predictor:
        """Return what predicts tracks by an installed model."""

    @abstractmethod
    def _finish(self, tuner: Any, held_out: HeldOut) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Train on everything; return fields of the model's metadata, and its files."""

    def _more_of_report(self, tuner: Any) -> dict[str, Any]:
        return {}

    def _base(self) -> bundle_format.Bundle:
        """Load the base model; `UserError` if it cannot be one."""
        try:
            base = bundle_format.load(self._settings.model or None)
        except errors.BundleError as error:
            raise UserError(f"agftrain: {error}") from None
        if base.metadata.head is not None:
            raise UserError(
                f"agftrain: {base.metadata.name} is a light model, which cannot be trained "
                "further; remove `model:` from the configuration to train on the shipped model"
            )
        return base

    def _evaluate(self, tuner: Any, held_out: HeldOut, left_out: Sequence[SetAside]) -> bool:
        """Test the new model, print the report, and keep the model if it is better."""
        comparisons = compare_with_previous(
            tuner, held_out, model_store(), self._settings.model, self._predictor(tuner)
        )
        report = training_report(tuner, held_out, comparisons, left_out)
        confidence = self._settings.min_confidence
        report |= self._more_of_report(tuner) | {"context": _context(tuner, held_out, confidence)}
        self._print(report_lines(report))
        better = all(comparison.better for comparison in comparisons.values())
        if better:
            name, folder = self._save(tuner, held_out, report)
            self._log.info("{} is better and is used from now on", name)
            if self._settings.model:
                self._log.warning(
                    "but the configuration has `model: {}`, which takes precedence",
                    self._settings.model,
                )
        else:
            folder = self._work / "report"
            try:
                write_report(folder, report)
            except OSError as error:
                message = errors.why_not_written(folder, error)
                raise UserError(f"agftrain: {message}; nothing is changed") from None
            than = " and ".join(name for name, one in comparisons.items() if not one.better)
            self._log.info("the new model is not clearly better than {}; nothing is changed", than)
        opens = f"; `beet agfmodels show {name} --open` opens it" if better else ""
        self._log.info("full report: {}{}", folder / PAGE_FILE, opens)
        return better

    def _announce(self, phase: str, left: float | None = None) -> None:
        if not self._settings.quiet:
            about = "" if left is None else f", about {duration(left)} left"
            self._log.info("{}{}", phase, about)

    def _print(self, lines: Iterable[str]) -> None:
        if not self._settings.quiet:
            for line in lines:
                show(line)

    def _choose(
        self, tracks: Sequence[Track]
    ) -> tuple[list[Track], tuple[str, ...], list[SetAside]]:
        """Remove genres that cannot be trained on from the tracks."""
        genres, left_out = choose(tracks, self._settings.min_tracks)
        kept = [t if t.genre in genres else replace(t, genre="") for t in tracks]
        return kept, genres, left_out

    def _counterparts(self, base: bundle_format.Bundle) -> dict[str, str]:
        """Return what the user's rules call the base model's labels in this library."""
        names = {}
        for label in base.metadata.labels:
            mapped = self._learn_as.get(fold_genre_name(label))
            names[label] = self._vocabulary.main(label) if mapped is None else mapped
        return {label: name or label for label, name in names.items()}

    def _save(self, tuner: Tuner, held_out: HeldOut, report: dict[str, Any]) -> tuple[str, Path]:
        """Train on everything, save the model with its report, and make it the active one."""
        fields, files = self._finish(tuner, held_out)
        data = tuner.data
        store = model_store()
        name = store.free_name(self._settings.name or report["date"])
        metadata = replace(
            tuner.model.metadata,
            name=name,
            labels=data.genres,
            prior=tuner.prior,
            trained_on={
                "tracks": data.n_tagged,
                "artists": len({t.artist for t in data.tracks[: data.n_tagged]}),
                "date": report["date"],
                seen_artists.ARTIST_HASHES: seen_artists.hash_artists(
                    track.artist for track in data.tracks
                ),
            },
            scores={
                "tracks": report["tracks"],
                "artists": report["artists"],
                "folds": report["folds"],
                "overall": report["overall"][FINE_TUNED],
                "by_confidence": report["by_confidence"],
                "genres": report["genres"],
            },
            **fields,
        )
        card = "\n".join([f"# {name}", "", *map(markdown_text, report_lines(report))]) + "\n"
        files = files | {bundle_format.CARD: card.encode()}
        try:
            folder = bundle_format.save(store.path(name), metadata, files).folder
            write_report(folder, report)
            store.activate(name)
        except errors.BundleError as error:
            raise UserError(f"agftrain: the model cannot be saved: {error}") from None
        except OSError as error:
            message = errors.why_not_written(store.folder, error)
            raise UserError(f"agftrain: the model cannot be saved: {message}") from None
        return name, folder


def _context(tuner: Tuner, held_out: HeldOut, confidence: float) -> dict[str, Any]:
    """Return what each part of an artist's other albums adds to the predictions."""
    tested = [tuner.data.tracks[i] for i in held_out.tracks]
    tracks = [
        (track.artist, track.album or track.track_id, genre)
        for track, genre in zip(tested, held_out.truth.tolist(), strict=True)
    ]
    found = adjust_without_own_album(held_out.fine_tuned, tracks)
    chosen = np.flatnonzero(found.has_others)
    parts = {
        "by sound alone": held_out.fine_tuned,
        "with predictions of the artist's other albums": found.pooled,
        "with your genres of them as well": found.adjusted,
    }
    scores = {}
    for name, p in parts.items() if len(chosen) else ():
        right = p[chosen].argmax(axis=1) == held_out.truth[chosen]
        written = p[chosen].max(axis=1) >= confidence
        scores[name] = {
            "accuracy": round(float(right.mean()), 4),
            "written": round(float(written.mean()), 4),
            "right": round(float(right[written].mean()), 4) if written.any() else None,
        }
    return {"tracks": len(chosen), "confidence": confidence, "parts": scores}
