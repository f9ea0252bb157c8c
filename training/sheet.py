"""How good a way to learn is: by folds, and on the music of another source.

    python -m training.sheet --table development.csv --audio corpora --work work --recipe ours
    python -m training.sheet --table development.csv --audio corpora --work work --teacher

prints accuracy, macro F1, log loss and calibration error with intervals. ``--teacher`` is the bar
to clear: a logistic regression upon what the teacher hears (`training.teacher`), with no network of
ours. ``--sources`` leaves the folds out. Stopped, it goes on where it was; folds that
`training.ship` has done are not learnt again.
"""

import argparse
from collections.abc import Callable, Sequence

import numpy as np

from agf_core import metrics
from agf_core.cache import FeatureCache
from agf_core.corpus import Track
from training import teacher
from training.corpora import describe, foundation_of, genres_of, read_table, spectrograms
from training.crossvalidate import (
    Split,
    across_sources,
    calibrated,
    folds,
    predict_part,
    truth_of,
)
from training.options import add_corpora, add_device, add_unlabelled
from training.recipes import RECIPES

Predict = Callable[[Split, str], np.ndarray]
"""From a split and its name to calibrated probabilities of its test part, (n_test, n_genres)."""


def by_teacher(tracks: Sequence[Track], features: np.ndarray, genres: Sequence[str]) -> Predict:
    """Return predictions by logistic regression.

    Parameters
    ----------
    features : np.ndarray [shape=(n_tracks, n_features)]
    """

    def predict(part: Split, name: str) -> np.ndarray:
        taught = np.array([i for i in part.train if tracks[i].genre])
        model = teacher.classifier()
        model.fit(features[taught], truth_of(tracks, taught, genres))
        raw = np.zeros((len(tracks), len(genres)))
        raw[:, model[-1].classes_] = model.predict_proba(features)
        return calibrated(raw, part, tracks, genres)[0][part.test]

    return predict


def sheet(
    tracks: Sequence[Track],
    genres: Sequence[str],
    predict: Predict,
    *,
    seed: int,
    with_folds: bool,
) -> str:
    """Return a table of scores (Markdown), each with its interval over artists."""
    asked: dict[str, dict[str, Split]] = {}
    if with_folds:
        asked["folds"] = {f"fold-{n}": part for n, part in folds(tracks, seed).items()}
    for name, part in across_sources(tracks, seed).items():
        asked[name] = {name: part}
    lines = [
        f"| asked about | clips | artists | {' | '.join(metrics.SCORES).replace('_', ' ')} |",
        "|---" * (3 + len(metrics.SCORES)) + "|",
    ]
    for title, parts in asked.items():
        judged = np.concatenate([part.test for part in parts.values()])
        found = np.concatenate([predict(part, name) for name, part in parts.items()])
        artists = np.array([tracks[i].artist for i in judged])
        scores = metrics.bootstrap(found, truth_of(tracks, judged, genres), artists)
        cells = [title, str(len(judged)), str(len(set(artists))), *map(str, scores.values())]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_corpora(parser)
    add_unlabelled(parser)
    add_device(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--recipe", choices=RECIPES)
    which.add_argument("--teacher", action="store_true", help="what the teacher's features give")
    parser.add_argument("--sources", action="store_true", help="across sources alone, no folds")
    arguments = parser.parse_args()
    cache = FeatureCache(arguments.work / "features")
    tracks = read_table(arguments.table, arguments.audio)
    genres = genres_of(tracks)
    if arguments.teacher:
        features = teacher.over_tracks(teacher.heard(tracks, cache))
        predict, seed = by_teacher(tracks, features, genres), 0
    else:
        recipe = RECIPES[arguments.recipe]
        seed = recipe.networks.seed
        tracks, spectra = spectrograms(tracks, recipe.input, cache)
        descriptors = describe(tracks, recipe.tasks, cache, fmax=recipe.input.fmax)
        work = arguments.work / f"{recipe.name}-{seed}"
        foundation = foundation_of(
            recipe, arguments.unlabelled, cache, work, device=arguments.device
        )

        def predict(part: Split, name: str) -> np.ndarray:
            _, final = predict_part(
                tracks,
                spectra,
                descriptors,
                genres,
                recipe,
                part,
                name,
                work,
                foundation=foundation,
                device=arguments.device,
            )
            return final

    print(sheet(tracks, genres, predict, seed=seed, with_folds=not arguments.sources))


if __name__ == "__main__":
    main()
