r"""From a collection to the model that ships.

    python -m training.pretrained.release --table collection.csv \
        --unlabelled music --work work

scores the recipe by its folds and across sources, trains the final model on all tracks, and writes
it with its card. Stopped, it goes on where it was. With

    --parts fold-0 fold-1

it trains these networks alone and leaves them in the folder of work, where the command without it
goes on from there: several can share the work out, once one has done the pre-training.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agf_core import calibration
from agf_core.bundle import format as bundle_format
from training.cli import add_collection, add_device, add_unlabelled, one_line_errors
from training.datasets.collection import read_csv
from training.errors import RunError
from training.export import Trained, write_bundle
from training.pretrained.cross_validation import (
    calibrated_by_fold,
    cross_validate,
    predict_split,
)
from training.pretrained.data import TrainingData, gather, work_folder
from training.pretrained.evaluate import overall, predict_tests, score_sheet
from training.pretrained.model_card import model_card
from training.pretrained.pipeline import train_recipe
from training.recipes import RECIPES, seeded
from training.splits import Split, all_splits
from training.targets import truth_of

FINAL = "final"  # the part whose training set is every track


def train_final(material: TrainingData, work: Path) -> Trained:
    """Train the model that ships, on all tracks."""
    return train_recipe(
        material,
        train=np.arange(len(material.tracks)),
        valid=None,
        predicted=np.array([], int),
        folder=work / FINAL,
    )


def train_parts(names: Sequence[str], material: TrainingData, work: Path) -> None:
    """Train some of the networks of `ship`, and leave them in `work` for it.

    Parameters
    ----------
    names : sequence of str
        Of `training.splits.all_splits`, or `FINAL`.
    """
    splits = all_splits(material.tracks, material.recipe.networks.seed)
    for name in names:
        if name == FINAL:
            train_final(material, work)
        else:
            predict_split(material, splits[name], name, work)


def ship(material: TrainingData, work: Path, output: Path) -> bundle_format.Bundle:
    """Score the recipe by folds, train on every track, and save the model."""
    tracks, genres = material.tracks, material.genres
    predictions = cross_validate(material, work)
    scores = score_sheet(tracks, genres, predictions.calibrated)

    judged = np.flatnonzero(np.isfinite(predictions.raw).all(axis=1))
    tested, raw = [judged], [predictions.raw[judged]]

    def predict(part: Split, name: str) -> np.ndarray:
        uncalibrated, final = predict_split(material, part, name, work)
        tested.append(part.test)
        raw.append(uncalibrated)
        return final

    across = predict_tests(tracks, predict, seed=material.recipe.networks.seed, with_folds=False)
    scores["across_sources"] = {
        name: overall(tracks, genres, *answer) for name, answer in across.items()
    }
    # The training set of the final model has every track, so its temperature is fitted on other
    # networks' predictions of held-out artists: of the folds, which are in-domain, and of the other
    # source, which are not. A user's library lies somewhere between.
    clips, plain = np.concatenate(tested), np.concatenate(raw)
    temperature = calibration.fit_temperature(plain, truth_of(tracks, clips, genres))
    # Scores by confidence have temperatures fitted in the same way without the fold's artists.
    as_shipped = np.full(predictions.raw.shape, np.nan)
    by_fold, _ = calibrated_by_fold(plain, clips, tracks, genres)
    as_shipped[judged] = by_fold[: len(judged)]
    scores["by_confidence"] = score_sheet(tracks, genres, as_shipped)["by_confidence"]
    print(json.dumps(scores, indent=1))
    return write_bundle(
        train_final(material, work),
        temperature,
        output,
        name="shipped",
        genres=genres,
        recipe=material.recipe,
        tracks=tracks,
        scores=scores,
        card=model_card,
    )


@one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_collection(parser)
    add_unlabelled(parser)
    add_device(parser)
    parser.add_argument(
        "--output", type=Path, default=bundle_format.SHIPPED, help="the model's folder"
    )
    parser.add_argument("--recipe", choices=RECIPES, default="ours")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", nargs="+", help="train these alone, such as fold-0 or final")
    arguments = parser.parse_args()
    _ship(arguments)


def _ship(arguments: argparse.Namespace) -> None:
    recipe = seeded(RECIPES[arguments.recipe], arguments.seed)
    known = [*all_splits(read_csv(arguments.table).tracks, arguments.seed), FINAL]
    if unknown := set(arguments.parts or ()).difference(known):
        raise RunError(f"no part is called {', '.join(unknown)}: there are {', '.join(known)}")
    material, work = gather(arguments, recipe), work_folder(arguments.work, recipe)
    if arguments.parts:
        train_parts(arguments.parts, material, work)
        return
    model = ship(material, work, arguments.output)
    print(f"saved {model.model_id} to {model.folder}")


if __name__ == "__main__":
    main()
