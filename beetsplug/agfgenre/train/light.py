"""``beet agftrain``: train a small head upon the features that tagging has stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from beets.ui import UserError

from agf_core import errors
from agf_core.bundle import format as bundle_format
from agf_core.data.sampling import SetAside, at_most
from agf_core.data.tracks import Track
from agf_core.finetune.held_out import HeldOut
from agf_core.finetune.light import LightData, LightTrainer, most_informative
from agf_core.inference.prediction import Features, predict
from beetsplug.agfgenre.console import Progress, plural
from beetsplug.agfgenre.models import storing_tagger
from beetsplug.agfgenre.train.report import Predictor
from beetsplug.agfgenre.train.run import TrainingRun

if TYPE_CHECKING:
    from beetsplug.agfgenre.train.training_set import TrainingSet

MOST_OF_AN_ALBUM = 4  # tracks: an album counts as one anyway
MOST_IN_ALL = 30_000  # tracks that are trained on
TO_TAG_NEXT = 20  # tracks


@dataclass(frozen=True, eq=False)
class _TrackFeatures:
    """Keys and features of sounds, a row for each file in `rows`."""

    rows: dict[Path, int]
    keys: list[str]
    embeddings: np.ndarray
    log_probabilities: np.ndarray


class LightRun(TrainingRun):
    """Trains a `LibraryHead` upon the features of a base model; numpy is all it needs."""

    def train(self, training_set: TrainingSet) -> bool:
        """Train; see `TrainingRun.train`."""
        base = self._base()
        tracks, genres, left_out = self._choose(training_set.tracks)
        self._print(training_set.lines(genres, left_out))
        data, too_few_now = self._data(self._features(base, tracks), tracks)
        if not data.embeddings.shape[1]:
            self._log.warning(
                "{} has no embeddings: the new model is trained on its genre probabilities alone",
                base.metadata.name,
            )
        self._announce(f"training on {plural(data.n_tagged, 'track')}{self._left_out}")
        tuner = LightTrainer(base, data, counterparts=self._counterparts(base))
        return self._evaluate(tuner, tuner.hold_out(), [*left_out, *too_few_now])

    def _data(
        self, features: _TrackFeatures, tracks: Iterable[Track]
    ) -> tuple[LightData, list[SetAside]]:
        """Return what is trained on, and the genres that cannot be."""
        tracks = list(tracks)
        there = [track for track in tracks if track.path in features.rows]
        different = _each_sound_once(there, features)
        chosen, genres, too_few = self._choose(different)
        tagged = at_most([t for t in chosen if t.genre], MOST_OF_AN_ALBUM, MOST_IN_ALL)
        self._left_out = _reasons_for_fewer(tracks, there, different, chosen, tagged)
        self._others = [track for track in chosen if not track.genre]
        ordered = [*tagged, *self._others]
        rows = [features.rows[track.path] for track in ordered]
        data = LightData(
            [replace(t, track_id=features.keys[row]) for t, row in zip(ordered, rows, strict=True)],
            genres,
            features.embeddings[rows],
            features.log_probabilities[rows],
        )
        return data, too_few

    def _features(self, base: bundle_format.Bundle, tracks: Iterable[Track]) -> _TrackFeatures:
        """Return the features of every track that can be analysed."""
        paths = list(dict.fromkeys(track.path for track in tracks))
        tagger = storing_tagger(base, self._settings.threads or None)
        stored = tagger.store.table(base.model_id, paths, len(base.metadata.labels))
        rows = {paths[file]: row for row, file in enumerate(stored.files.tolist())}
        keys = stored.keys
        arrays = [(stored.embeddings, stored.log_probabilities)] if keys else []
        missing = [path for path in paths if path not in rows]
        progress = Progress(0 if self._settings.quiet else len(missing), self._log)
        results = tagger.predict_files(missing)
        try:
            for result in results:
                progress.step()
                if result.error is not None:
                    with progress.aside():
                        self._log.warning("{}", result.error)
                elif result.features is not None:
                    rows[result.path] = len(keys)
                    keys.append(result.key or str(result.path))
                    found = result.features.embedding, result.features.log_probabilities
                    arrays.append((found[0][None], found[1][None].astype(np.float32)))
        except errors.BundleError as error:
            raise UserError(f"agftrain: {error}") from None
        finally:
            results.close()
            progress.close()
        if tagger.store.problem:
            self._log.warning("{}; features are not stored", tagger.store.problem)
        if not keys:
            raise UserError("agftrain: no track could be analysed, see above; nothing is changed")
        embeddings, log_probabilities = map(np.concatenate, zip(*arrays, strict=True))
        return _TrackFeatures(rows, keys, embeddings, log_probabilities)

    def _predictor(self, tuner: LightTrainer) -> Predictor:
        data = tuner.data

        def of(model: bundle_format.Bundle) -> Callable[[int], np.ndarray | None]:
            head = model.metadata.head
            known = head is not None and head.base_id == tuner.model.model_id

            def predict_track(track: int) -> np.ndarray | None:
                if not known:  # it would have to analyse the track
                    return None
                features = Features(data.embeddings[track], data.log_probabilities[track])
                return predict(model.metadata, features).probabilities

            return predict_track

        return of

    def _more_of_report(self, tuner: LightTrainer) -> dict[str, Any]:
        # Tracks with a genre of the user's that is too rare, or not wanted, need no other one.
        untagged = [i for i, track in enumerate(self._others) if not track.labels]
        tracks = [self._others[i] for i in untagged]
        curve = [
            {"artists": artists, "accuracy": round(accuracy, 4)}
            for artists, accuracy in tuner.learning_curve()
        ]
        result: dict[str, Any] = {
            "learning_curve": curve,
            "untagged": {"tracks": len(tracks), "artists": len({t.artist for t in tracks})},
        }
        if tracks:
            best = most_informative(tuner.predict_others(np.array(untagged)), tracks, TO_TAG_NEXT)
            result["tag_next"] = " , ".join(f"id:{tracks[i].track_id}" for i in best)
        return result

    def _finish(
        self, tuner: LightTrainer, held_out: HeldOut
    ) -> tuple[dict[str, Any], dict[str, bytes]]:
        head, temperature = tuner.finish(held_out)
        base = tuner.model
        fields = {
            "head": head,
            "styles": (),
            "temperature": temperature,
            "recipe": tuner.recipe(),
        }
        return fields, {
            bundle_format.NETWORK: base.network,
            bundle_format.WEIGHTS: (base.folder / bundle_format.WEIGHTS).read_bytes(),
        }


def _reasons_for_fewer(*steps: Sequence[Track]) -> str:
    """Return why tracks with a genre are not trained on, from what each step has left of them."""
    reasons = (
        "that cannot be analysed",
        "with the same sound as another",
        "of genres that have too few tracks now",
        f"because at most {MOST_OF_AN_ALBUM} of an album are used, and {MOST_IN_ALL:,} in all",
    )
    counts = [sum(bool(track.genre) for track in step) for step in steps]
    lost = [before - after for before, after in pairwise(counts)]
    parts = [f"{n} {reason}" for n, reason in zip(lost, reasons, strict=True) if n]
    return f"; left out: {', '.join(parts)}" if parts else ""


def _each_sound_once(tracks: Iterable[Track], features: _TrackFeatures) -> list[Track]:
    """Leave out tracks with the same sound as another; one with a genre stays."""
    first: dict[str, Track] = {}
    for track in tracks:
        key = features.keys[features.rows[track.path]]
        if key not in first or (track.genre and not first[key].genre):
            first[key] = track
    return list(first.values())
