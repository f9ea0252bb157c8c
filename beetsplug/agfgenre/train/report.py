"""The report on a fine-tuned model: whether it is better than the previous ones, by how much."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from agf_core import errors
from agf_core.bundle.format import Bundle, load
from agf_core.bundle.registry import SHIPPED_NAME, ModelStore
from agf_core.bundle.seen_artists import seen_artists
from agf_core.data.genre_names import fold_genre_name
from agf_core.data.sampling import SetAside
from agf_core.data.tracks import Track
from agf_core.evaluation import FINE_TUNED, Comparison, compare, score_sheet
from agf_core.finetune.held_out import HeldOut
from beetsplug.agfgenre.console import columns, plural
from beetsplug.agfgenre.models import PAGE_FILE, REPORT_FILE, read_report
from beetsplug.agfgenre.train.report_page import page

MOST_COMMON = "always the most common genre"

# From a model it makes what predicts a track, given by its index in the training data; that returns
# None where the model would have to analyse the track.
Predictor = Callable[[Bundle], Callable[[int], np.ndarray | None]]


class Data(Protocol):
    """Training data."""

    @property
    def tracks(self) -> list[Track]:
        """First the tagged tracks, then others."""

    @property
    def genres(self) -> tuple[str, ...]:
        """Genres that are trained on."""

    @property
    def n_tagged(self) -> int:
        """Number of tagged tracks."""


class Tuner(Protocol):
    """What trains a model: a `FineTuner` or a `LightTrainer`."""

    model: Bundle

    @property
    def data(self) -> Data:
        """The training data."""

    @property
    def prior(self) -> np.ndarray:
        """Share of each genre among the tagged tracks."""


def compare_with_previous(
    tuner: Tuner,
    held_out: HeldOut,
    store: ModelStore,
    configured: str,
    predictor: Predictor,
) -> dict[str, Comparison]:
    """Compare a new model with the previous ones, on artists unseen by both.

    Artists of the base model's training set are left out, as far as its metadata has them. If none
    would be left, all are compared on, which favours the base model.
    An active fine-tuned model has been trained on most artists of the library. Its predictions for
    these, from when they were held out, are in its own report; genres that it lacks count as wrong;
    artists that came later are predicted now.

    Returns
    -------
    dict
        By name: the base model, and an active fine-tuned model if there are fair predictions of
        half of the tracks or more.
    """
    artists = np.array([tuner.data.tracks[i].artist for i in held_out.tracks])
    seen = _seen_by_base(tuner, artists)
    fair = np.flatnonzero(~seen) if not seen.all() else np.arange(len(artists))
    result = {
        tuner.model.metadata.name: compare(
            held_out.fine_tuned[fair], held_out.base[fair], held_out.truth[fair], artists[fair]
        )
    }
    if not configured and store.active != SHIPPED_NAME:
        folder = store.folder_of(store.active)
        chosen, predicted = _predictions_of_active(tuner, held_out, folder, predictor)
        if 2 * len(chosen) >= len(held_out.tracks):
            result[store.active] = compare(
                held_out.fine_tuned[chosen], predicted, held_out.truth[chosen], artists[chosen]
            )
    return result


def _predictions_of_active(
    tuner: Tuner, held_out: HeldOut, folder: Path, predictor: Predictor
) -> tuple[np.ndarray, np.ndarray]:
    """Return the active model's predictions of tracks whose artists it was not trained on.

    Returns
    -------
    chosen : np.ndarray [shape=(n,), dtype=int]
        Which of the held-out tracks these are.
    probabilities : np.ndarray [shape=(n, n_genres + 1)]
        The last column is of genres that are not trained on now.
    """
    genres = tuner.data.genres
    report = read_report(folder) or {}
    stored, artists = report.get("held_out"), report.get("training_artists")
    if not isinstance(stored, dict) or not isinstance(artists, list):
        stored, artists = {}, None
    seen = None if artists is None else set(map(str, artists))  # None: they are not known
    try:
        model = load(folder)
        predict = predictor(model)
    except errors.BundleError:
        return np.array([], int), np.zeros((0, len(genres) + 1))
    column = {fold_genre_name(genre): i for i, genre in enumerate(genres)}
    columns = [column.get(fold_genre_name(label), len(genres)) for label in model.metadata.labels]
    chosen, predicted = [], []
    for i, place in enumerate(held_out.tracks.tolist()):
        track = tuner.data.tracks[place]
        if _are_probabilities(stored.get(track.track_id), len(columns)):
            probabilities = stored[track.track_id]
        elif column[fold_genre_name(track.genre)] not in columns:
            probabilities = np.zeros(len(columns))
        elif seen is not None and track.artist not in seen:
            found = predict(place)
            if found is None:
                continue
            probabilities = found
        else:
            continue
        row = np.zeros(len(genres) + 1)
        np.add.at(row, columns, probabilities)
        row[-1] += 1 - row.sum()
        chosen.append(i)
        predicted.append(row)
    return np.array(chosen, int), np.array(predicted).reshape(len(chosen), len(genres) + 1)


def _are_probabilities(stored: Any, n: int) -> bool:
    return (
        isinstance(stored, list)
        and len(stored) == n
        and all(isinstance(p, int | float) and 0 <= p <= 1 for p in stored)
    )


def _seen_by_base(tuner: Tuner, artists: np.ndarray) -> np.ndarray:
    """Return whether the base model was trained on the artist of each track, (n_tracks,)."""
    seen = seen_artists(tuner.model.metadata.trained_on, set(artists.tolist()))
    return np.array([artist in seen for artist in artists.tolist()], bool)


def training_report(
    tuner: Tuner,
    held_out: HeldOut,
    comparisons: dict[str, Comparison],
    left_out: Sequence[SetAside],
) -> dict[str, Any]:
    """Return the whole report, as JSON can hold it."""
    data = tuner.data
    tested = [data.tracks[i] for i in held_out.tracks]
    artists = np.array([track.artist for track in tested])
    sheet = score_sheet(
        data.genres,
        held_out.truth,
        artists,
        {
            MOST_COMMON: held_out.common,
            tuner.model.metadata.name: held_out.base,
            FINE_TUNED: held_out.fine_tuned,
        },
        FINE_TUNED,
    )
    seen = _seen_by_base(tuner, artists)
    return {
        "date": date.today().isoformat(),
        "base_model": tuner.model.model_id,
        "folds": held_out.folds,
        **sheet,
        "compared": {
            name: {
                "tracks": c.tracks,
                "artists": c.artists,
                "difference": [
                    round(x, 4) for x in (c.difference.value, c.difference.low, c.difference.high)
                ],
                "better_in": c.better_in,
                "better": c.better,
            }
            for name, c in comparisons.items()
        },
        "seen_by_base": {"tracks": int(seen.sum()), "artists": len(set(artists[seen].tolist()))},
        "left_out": [asdict(aside) for aside in left_out],
        "training_artists": sorted({track.artist for track in data.tracks}),
        "held_out": {
            track.track_id: [round(float(p), 4) for p in row]
            for track, row in zip(tested, held_out.fine_tuned, strict=True)
        },
    }


def report_lines(report: dict[str, Any]) -> list[str]:
    """Return the part of a report that people read."""
    folds = report["folds"]
    how = f"{folds} folds, each held out in turn" if folds > 1 else "one fold in five, held out"
    lines = [
        "",
        f"Tested on {plural(report['tracks'], 'track')} by "
        f"{plural(report['artists'], 'unseen artist')} ({how}), with 95 % intervals:",
        "",
    ]
    rows = [("", "accuracy", "macro F1", "log loss")]
    for name, scores in report["overall"].items():
        rows.append((name, *(_interval(scores[s]) for s in ("accuracy", "macro_f1", "log_loss"))))
    lines += columns(rows)
    lines.append("")
    table = [("genre", "precision", "recall", "tracks", "artists")]
    for genre, row in report["genres"].items():
        shares = (row["precision"], row["recall"])
        numbers = ("-" if share is None else f"{share:.2f}" for share in shares)
        table.append((genre, *numbers, str(row["tracks"]), str(row["artists"])))
    lines += columns(table)
    lines.append("")
    for name, c in report["compared"].items():
        value, low, high = (f"{100 * share:+.1f}" for share in c["difference"])
        which = plural(c["tracks"], "track")
        if c["tracks"] < report["tracks"]:
            which += f" that {name} predicted without being trained on their artists"
        lines.append(
            f"{FINE_TUNED} against {name}: accuracy {value} points [{low}, {high}] on {which}, "
            f"better in {c['better_in']:.0%} of resamples"
        )
    seen = report["seen_by_base"]
    if seen["tracks"]:
        base = next(iter(report["compared"]))
        of_whom = f"{plural(seen['artists'], 'artist')} ({plural(seen['tracks'], 'track')})"
        everybody = seen["tracks"] == report["tracks"]
        lines.append(
            f"{base} was trained on all {of_whom}, which favours it in the comparison"
            if everybody
            else f"{base} was trained on {of_whom}, which the comparison with it leaves out"
        )
    lines += _context_lines(report.get("context"))
    if curve := report.get("learning_curve"):
        points = ", ".join(f"{point['accuracy']:.0%} with {point['artists']}" for point in curve)
        lines.append(f"accuracy with fewer artists to train on: {points}")
    if "tag_next" in report:
        there = report["untagged"]
        lines += [
            "",
            f"{plural(there['tracks'], 'track')} by {plural(there['artists'], 'artist')} have no "
            "genre that you gave them; these are most worth tagging:",
            f"  beet ls {report['tag_next']}",
        ]
    return lines


def _context_lines(context: dict[str, Any] | None) -> list[str]:
    """Return what an artist's other albums bring, part by part."""
    if not context or not context["tracks"]:
        return []
    title = f"{plural(context['tracks'], 'track')} by artists with other tagged albums"
    rows = [(title, "accuracy", f"written at {context['confidence']:g}", "right of these")]
    for name, part in context["parts"].items():
        right = "-" if part["right"] is None else f"{part['right']:.1%}"
        rows.append((f"  {name}", f"{part['accuracy']:.1%}", f"{part['written']:.1%}", right))
    return ["", *columns(rows), ""]


def _interval(score: Sequence[float]) -> str:
    value, low, high = score
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """Write a report, and the page that shows it."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    (folder / REPORT_FILE).write_text(text, encoding="utf-8")
    (folder / PAGE_FILE).write_text(page(report, report_lines(report)), encoding="utf-8")
