r"""Evaluate a recipe or a model: by cross-validation, and on the music of another source.

    WHERE="--table collection.csv --work work"
    python -m training.pretrained.evaluate $WHERE --recipe ours --unlabelled music --output sheet
    python -m training.pretrained.evaluate $WHERE --teacher
    python -m training.pretrained.evaluate --table other.csv --work work --bundle MODEL

prints accuracy, macro F1, log loss and calibration error with intervals, then the scores of each
genre and by confidence, and the model's size and speed; ``--output`` keeps that in a folder, with a
reliability diagram. ``--teacher`` is a baseline: a logistic regression on the features of musicnn
(`training.pretrained.extract_teachers`). ``--bundle`` evaluates a finished model, on clips that
should not have been in its training set. ``--sources`` leaves the folds out. Stopped, it goes on
where it was; folds that `training.pretrained.release` has trained are not trained again.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.special import softmax

from agf_core import metrics
from agf_core.bundle import format as bundle_format
from agf_core.data.tracks import Track
from agf_core.evaluation import by_confidence
from agf_core.features.cache import FeatureCache
from agf_core.inference.tagger import GenreTagger
from training.cli import add_collection, add_device, add_unlabelled, one_line_errors
from training.datasets.collection import read_csv
from training.datasets.folders import genres_of
from training.errors import RunError
from training.pretrained.cross_validation import (
    calibrated,
    calibrated_by_fold,
    predict_split,
)
from training.pretrained.data import gather, work_folder
from training.pretrained.linear_head import LinearHead
from training.pretrained.model_card import confidence_table, genre_table
from training.recipes import RECIPES, seeded
from training.splits import Split, across_sources, folds
from training.targets import truth_of
from training.teachers.features import MUSICNN, mean_over_tracks, teacher_features

Predict = Callable[[Split, str], np.ndarray]
"""From a split and its name to probabilities of its test part, (n_test, n_genres).

With the temperature of the artists kept back, if any are.
"""

Predictions = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""By the name of the test: indices of the tracks, and their probabilities, (n, n_genres)."""

TIMED = 20  # tracks
SHEET, PICTURE = "sheet.md", "reliability.png"


def by_teacher(tracks: Sequence[Track], features: np.ndarray, genres: Sequence[str]) -> Predict:
    """Return predictions by logistic regression.

    Parameters
    ----------
    features : np.ndarray [shape=(n_tracks, n_features)]
    """

    def predict(part: Split, name: str) -> np.ndarray:
        train = np.array([i for i in part.train if tracks[i].genre])
        truth = truth_of(tracks, train, genres)
        head = LinearHead.fit(features[train], truth.tolist(), len(genres), MUSICNN.regularisation)
        raw = softmax(head.logits(features), axis=1)
        return calibrated(raw, part, tracks, genres)[0][part.test]

    return predict


def by_bundle(tracks: Sequence[Track], model: bundle_format.Bundle) -> Predictions:
    """Predict the tracks of a model's genres by it; unreadable ones are left out and listed."""
    known = [i for i, track in enumerate(tracks) if track.genre in model.metadata.labels]
    judged, found = [], []
    results = GenreTagger(model).predict_files([tracks[i].path for i in known])
    for i, result in zip(known, results, strict=True):
        if result.prediction is None:
            print(f"left out: {result.error}")
            continue
        judged.append(i)
        found.append(result.prediction.probabilities)
    return {"all": (np.array(judged), np.array(found))}


def predict_tests(
    tracks: Sequence[Track], predict: Predict, *, seed: int, with_folds: bool
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Predict all folds, and each source by models trained on another; see `Predictions`.

    Each fold has the temperature of the others.
    """
    tests = {}
    if with_folds:
        by_fold = folds(tracks)
        judged = np.concatenate([part.test for part in by_fold.values()])
        raw = np.concatenate([predict(part, f"fold-{n}") for n, part in by_fold.items()])
        tests["folds"] = judged, calibrated_by_fold(raw, judged, tracks, genres_of(tracks))[0]
    for name, part in across_sources(tracks, seed).items():
        tests[name] = part.test, predict(part, name)
    return tests


def overall(
    tracks: Sequence[Track], genres: Sequence[str], judged: np.ndarray, p: np.ndarray
) -> dict[str, object]:
    """Return all scores with intervals over artists, and the numbers of tracks and artists.

    Parameters
    ----------
    judged : np.ndarray [shape=(n,), dtype=int]
        Indices of the tracks.
    p : np.ndarray [shape=(n, n_genres)]
        Their probabilities.
    """
    artists = np.array([tracks[i].artist for i in judged])
    return {
        "tracks": len(judged),
        "artists": len(set(artists)),
        "overall": {
            name: [round(x, 4) for x in (score.value, score.low, score.high)]
            for name, score in metrics.evaluate(
                p, truth_of(tracks, judged, genres), artists
            ).items()
        },
    }


def score_sheet(
    tracks: Sequence[Track], genres: Sequence[str], probabilities: np.ndarray
) -> dict[str, object]:
    """Return scores with intervals, per genre, and by confidence, as the bundle stores them.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_tracks, n_genres)]
        Calibrated, each track's by a model not trained on its fold; NaN for tracks without one.
    """
    judged = np.flatnonzero(np.isfinite(probabilities).all(axis=1))
    truth = truth_of(tracks, judged, genres)
    artists = np.array([tracks[int(i)].artist for i in judged])
    p = probabilities[judged]
    best = p.argmax(axis=1)
    right = best == truth
    fold_of = np.array([tracks[int(i)].fold for i in judged])
    return {
        **overall(tracks, genres, judged, p),
        "accuracy_by_fold": {
            int(fold): round(metrics.accuracy(p[fold_of == fold], truth[fold_of == fold]), 4)
            for fold in np.unique(fold_of)
        },
        "most_common_genre_accuracy": round(float(np.bincount(truth).max() / len(truth)), 4),
        "genres": {
            genre: {
                "tracks": int((truth == g).sum()),
                "artists": len(set(artists[truth == g])),
                "sources": len({tracks[i].source for i in judged[truth == g]}),
                "precision": round(float(right[best == g].mean()), 3)
                if (best == g).any()
                else None,
                "recall": round(float(right[truth == g].mean()), 3) if (truth == g).any() else None,
            }
            for g, genre in enumerate(genres)
        },
        "by_confidence": by_confidence(p, truth),
    }


def table(tracks: Sequence[Track], genres: Sequence[str], tests: Predictions) -> str:
    """Return a table of scores (Markdown), each with its interval over artists."""
    lines = [
        f"| test | clips | artists | {' | '.join(metrics.SCORES).replace('_', ' ')} |",
        "|---" * (3 + len(metrics.SCORES)) + "|",
    ]
    for title, (judged, found) in tests.items():
        artists = np.array([tracks[i].artist for i in judged])
        scores = metrics.evaluate(found, truth_of(tracks, judged, genres), artists)
        cells = [title, str(len(judged)), str(len(set(artists))), *map(str, scores.values())]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(confidence: np.ndarray, right: np.ndarray, path: Path) -> None:
    """Draw a reliability diagram: the accuracy of ten equal parts of the tracks, by confidence.

    Parameters
    ----------
    confidence : np.ndarray [shape=(n_tracks,)]
        Probability of the most probable genre.
    right : np.ndarray [shape=(n_tracks,), dtype=bool]
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(4.5, 4.5), layout="constrained")
    parts = np.array_split(np.argsort(confidence), 10)
    axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axis.plot([confidence[p].mean() for p in parts], [right[p].mean() for p in parts], "o-")
    axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="right")
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def cost(model: bundle_format.Bundle, tracks: Sequence[Track]) -> str:
    """Return a model's size, and the time that it takes to tag a track, as a phrase."""
    size = sum(path.stat().st_size for path in model.folder.iterdir())
    tagger = GenreTagger(model, threads=1)
    paths = [track.path for track in tracks[: TIMED + 1]]
    tagger.predict_one(paths[0])  # the first takes longer
    start = time.process_time()
    for path in paths[1:]:
        tagger.predict_one(path)
    seconds = (time.process_time() - start) / max(1, len(paths) - 1)
    return f"{size / 1e6:.1f} MB; {1_000 * seconds:.0f} ms of a processor for each track"


@one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_collection(parser)
    add_unlabelled(parser)
    add_device(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--recipe", choices=RECIPES)
    which.add_argument("--teacher", action="store_true", help="a regression on musicnn's features")
    which.add_argument("--bundle", type=Path, help="folder of a finished model")
    parser.add_argument("--seed", type=int, default=0, help="of the recipe")
    parser.add_argument("--sources", action="store_true", help="across sources alone, no folds")
    parser.add_argument("--output", type=Path, help="folder to keep the sheet in")
    arguments = parser.parse_args()
    _print(arguments)


def _print(arguments: argparse.Namespace) -> None:
    cache = FeatureCache(arguments.work / "features")
    tracks: Sequence[Track] = read_csv(arguments.table).tracks
    genres = genres_of(tracks)
    with_folds, model, notes = not arguments.sources, None, []
    if arguments.bundle:
        model = bundle_format.load(arguments.bundle)
        genres, tests = model.metadata.labels, by_bundle(tracks, model)
        seen = {t.source for t in tracks} & set(model.metadata.trained_on.get("sources", ()))
        if seen:
            notes.append(f"It was trained on {', '.join(sorted(seen))}: this is not a test of it.")
    elif arguments.teacher:
        features = mean_over_tracks(teacher_features(tracks, cache, [MUSICNN]))
        predict = by_teacher(tracks, features, genres)
        tests = predict_tests(tracks, predict, seed=0, with_folds=with_folds)
    else:
        recipe = seeded(RECIPES[arguments.recipe], arguments.seed)
        material, work = gather(arguments, recipe), work_folder(arguments.work, recipe)
        tracks, genres = material.tracks, material.genres

        def by_recipe(part: Split, name: str) -> np.ndarray:
            trained.append(name)
            return predict_split(material, part, name, work)[1]

        trained: list[str] = []
        tests = predict_tests(tracks, by_recipe, seed=arguments.seed, with_folds=with_folds)
        model = bundle_format.load(work / trained[0] / "model") if trained else None
    if not tests:
        raise RunError("no two sources of the table share a genre; leave --sources out")
    text = [table(tracks, genres, tests), *notes]
    judged, found = next(iter(tests.values()))
    if not arguments.sources:
        probabilities = np.full((len(tracks), len(genres)), np.nan)
        probabilities[judged] = found
        scores = score_sheet(tracks, genres, probabilities)
        text += [genre_table(scores), confidence_table(scores)]
    if model:
        text.append(cost(model, tracks))
    print("\n\n".join(text))
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / SHEET).write_text("\n\n".join(text) + "\n", encoding="utf-8")
        right = found.argmax(axis=1) == truth_of(tracks, judged, genres)
        draw(found.max(axis=1), right, arguments.output / PICTURE)


if __name__ == "__main__":
    main()
