"""The honest report: whether a personal model is better than what was there, and by how much."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from agf_core import errors
from agf_core.bundle.registry import SHIPPED_NAME, ModelStore
from agf_core.data.genre_names import fold_genre_name
from agf_core.data.sampling import SetAside
from agf_core.evaluation import FINE_TUNED, Comparison, compare, draw_confusion, score_sheet
from agf_core.features.cache import FeatureCache
from agf_core.features.spectrogram_cache import Excerpts
from agf_core.finetune.finetuner import FineTuner
from agf_core.finetune.held_out import HeldOut
from agf_core.inference.tagger import GenreTagger
from beetsplug.agfgenre.console import columns, plural
from beetsplug.agfgenre.models import PICTURE, REPORT, read_report

MOST_COMMON = "always the most common genre"


def compare_with_rivals(
    learner: FineTuner,
    held_out: HeldOut,
    store: ModelStore,
    configured: str,
    cache: FeatureCache,
) -> dict[str, Comparison]:
    """Compare a personal model with what was there before, on artists that neither has met.

    A personal model that is active has met most artists of the library. Of these, what it said
    before it met them is in its own report; it is wrong about genres that it does not know; artists
    that came later it is asked about.

    Returns
    -------
    dict
        By name: the model that was begun with, and an active personal model, if it can be asked
        about half of the tracks or more.
    """
    artists = np.array([learner.material.tracks[i].artist for i in held_out.tracks])
    result = {
        learner.model.metadata.name: compare(
            held_out.personal, held_out.before, held_out.truth, artists
        )
    }
    if not configured and store.active != SHIPPED_NAME:
        asked, said = _ask_active(learner, held_out, store.folder_of(store.active), cache)
        if 2 * len(asked) >= len(held_out.tracks):
            result[store.active] = compare(
                held_out.personal[asked], said, held_out.truth[asked], artists[asked]
            )
    return result


def _ask_active(
    learner: FineTuner, held_out: HeldOut, folder: Path, cache: FeatureCache
) -> tuple[np.ndarray, np.ndarray]:
    """Return which of the tracks a personal model can be asked about, and what it says of them.

    What it gives to genres that are not learnt now stands in one more column.
    """
    genres = learner.material.genres
    report = read_report(folder) or {}
    known_tracks, training_prior = report.get("held_out"), report.get("artists_learnt_from")
    if not isinstance(known_tracks, dict) or not isinstance(training_prior, list):
        known_tracks, training_prior = {}, None  # nobody knows whom it has met
    met = None if training_prior is None else set(map(str, training_prior))
    try:
        tagger = GenreTagger.load(folder)
    except errors.BundleError:
        return np.array([], int), np.zeros((0, len(genres) + 1))
    column = {fold_genre_name(genre): i for i, genre in enumerate(genres)}
    columns = [column.get(fold_genre_name(label), len(genres)) for label in tagger.labels]
    asked, said = [], []
    for i, track in enumerate(learner.material.tracks[j] for j in held_out.tracks):
        if _are_probabilities(known_tracks.get(track.track_id), len(columns)):
            probabilities = known_tracks[track.track_id]
        elif column[fold_genre_name(track.genre)] not in columns:
            probabilities = np.zeros(len(columns))
        elif met is not None and track.artist not in met:
            try:
                spectrogram = Excerpts([track.track_id], tagger.metadata.input, cache)[0]
            except KeyError:  # it listens in another way than the model that was begun with
                continue
            probabilities = tagger.predict_log_mel(spectrogram.astype(np.float32)).probabilities
        else:
            continue
        row = np.zeros(len(genres) + 1)
        np.add.at(row, columns, probabilities)
        row[-1] += 1 - row.sum()
        asked.append(i)
        said.append(row)
    return np.array(asked, int), np.array(said).reshape(len(asked), len(genres) + 1)


def _are_probabilities(stored: Any, n: int) -> bool:
    return (
        isinstance(stored, list)
        and len(stored) == n
        and all(isinstance(p, int | float) and 0 <= p <= 1 for p in stored)
    )


def honest_report(
    learner: FineTuner,
    held_out: HeldOut,
    rivals: dict[str, Comparison],
    not_learnt: Sequence[SetAside],
) -> dict[str, Any]:
    """Return the whole report, as JSON can hold it."""
    material = learner.material
    tested = [material.tracks[i] for i in held_out.tracks]
    artists = np.array([track.artist for track in tested])
    sheet = score_sheet(
        material.genres,
        held_out.truth,
        artists,
        {
            MOST_COMMON: held_out.common,
            learner.model.metadata.name: held_out.before,
            FINE_TUNED: held_out.personal,
        },
        FINE_TUNED,
    )
    return {
        "date": date.today().isoformat(),
        "begun_with": learner.model.model_id,
        "quick": learner.config.networks is None,
        "parts": held_out.parts,
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
            for name, c in rivals.items()
        },
        "not_learnt": [asdict(aside) for aside in not_learnt],
        "artists_learnt_from": sorted({track.artist for track in material.tracks}),
        "held_out": {
            track.track_id: [round(float(p), 4) for p in row]
            for track, row in zip(tested, held_out.personal, strict=True)
        },
    }


def report_lines(report: dict[str, Any]) -> list[str]:
    """Return what people want to know of a report."""
    parts = report["parts"]
    how = f"{parts} parts, each held out in turn" if parts > 1 else "one part in five, held out"
    lines = [
        "",
        f"On {plural(report['tracks'], 'track')} by {plural(report['artists'], 'artist')} "
        f"that were not learnt from ({how}), with 95 % intervals:",
        "",
    ]
    rows = [("", "right", "macro F1", "log loss")]
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
        value, low, high = c["difference"]
        lines.append(
            f"{FINE_TUNED} against {name}: {value:+.1%} of {plural(c['tracks'], 'track')} right "
            f"[{low:+.1%}, {high:+.1%}], better in {c['better_in']:.0%} of resamples"
        )
    return lines


def _interval(score: Sequence[float]) -> str:
    value, low, high = score
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """Write a report and its picture."""
    folder.mkdir(parents=True, exist_ok=True)
    draw_confusion(folder / PICTURE, list(report["genres"]), report["confusion"])
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    (folder / REPORT).write_text(text, encoding="utf-8")
