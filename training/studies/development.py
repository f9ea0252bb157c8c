"""The development corpora as a collection like any other, split by their folds.

    python -m training.studies.development --table development.csv --audio corpora \
        --output collection.csv

writes them as a table of `training.datasets.collection`, with a split ``fold0``, ``fold1`` … for
each fold:
its test part is the fold, its validation part what is kept back of the rest for the temperature.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from agf_core.data.tracks import Track
from training.cli import one_line_errors
from training.datasets.collection import PARTS, Collection, write_csv
from training.datasets.folders import read_table
from training.splits import folds, keep_back


def as_collection(tracks: Sequence[Track], name: str) -> Collection:
    """Return the corpora as a collection that is split by its folds."""
    splits = {}
    for fold, whole in folds(tracks).items():
        part = keep_back(whole, tracks, seed=0)
        parts = [""] * len(tracks)
        for which, chosen in zip(PARTS, (part.train, part.kept_back, part.test), strict=True):
            for i in chosen:
                parts[i] = which
        splits[f"fold{fold}"] = tuple(parts)
    return Collection(name, tuple(tracks), splits)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", type=Path, required=True, help="CSV of the clips")
    parser.add_argument("--audio", type=Path, required=True, help="folder of owner/repository")
    parser.add_argument("--output", type=Path, required=True, help="CSV to write")
    arguments = parser.parse_args()
    with one_line_errors():
        tracks = read_table(arguments.table, arguments.audio)
        collection = as_collection(tracks, arguments.table.stem)
        write_csv(collection, arguments.output)
    print(collection.summary())


if __name__ == "__main__":
    main()
