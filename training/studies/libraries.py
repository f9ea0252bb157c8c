"""`beet agftrain` tried on real libraries: the artists of four folds teach, the fifth is tagged.

    python -m training.studies.libraries --table collection.csv --work work \
        --library RohitJacob/MusicAnalysis --model MODEL

makes, for each fold, a library of that repository's clips with their genres, less those of the
fold, and begins with a model that has met none of them (see `training.studies.finetuning`). In it
`beet agftrain` learns and `beet agfgenre` tags; then the fold is tagged by the model to begin with,
and what the two have said is compared.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agf_core import metrics
from agf_core.bundle import format as bundle_format
from agf_core.data.tracks import Track
from agf_core.evaluation import compare
from agf_core.features.cache import FeatureCache
from agf_core.finetune.finetuner import FineTuner, TrainingData
from agf_core.train.dataset import FeatureDataset
from agf_core.train.export import network_from_bundle
from training.cli import one_line_errors
from training.datasets.folders import genres_of
from training.studies.finetuning import PLANS, add_arguments, begin, features_of
from training.studies.trial import build_library, run_beet
from training.targets import truth_of

BETTER, NOT_BETTER = 0, 3  # exit statuses of `beet agftrain`


def try_fold(
    tracks: Sequence[Track],
    fold: int,
    model: bundle_format.Bundle,
    home: Path,
    cache: Path,
    options: Sequence[str],
) -> tuple[dict[str, str], dict[str, str], bool]:
    """Let a library without a fold's genres teach, and tag the fold.

    Parameters
    ----------
    cache : Path
        Of the plugin, shared by all libraries, so that it listens to every clip once.
    options : sequence of str
        Of ``beet agftrain``.

    Returns
    -------
    before, after : dict of str
        The most probable genre of the fold's clips by the model to begin with and by the one that
        listens after learning, by track.
    learnt : bool
        Whether that is another one.
    """
    tagged = {track.track_id for track in tracks if track.fold != fold}
    environment = build_library(tracks, home, "{title_case: no}", tagged=tagged)
    environment["XDG_CACHE_HOME"] = str(cache)
    (home / "begin.yaml").write_text(f"agfgenre: {{model: {model.folder.resolve()}}}\n")
    begin_with = ("-c", str(home / "begin.yaml"))

    command = [sys.executable, "-m", "beets", *begin_with, "agftrain", *options]
    status = subprocess.run(command, env=environment, check=False).returncode
    if status not in (BETTER, NOT_BETTER):
        raise SystemExit(f"beet agftrain ended with {status} on fold {fold}")

    def heard() -> dict[str, str]:
        listing = run_beet(environment, "ls", "-f", "$title\t$agf_genres", "agf_genres::.")
        rows = (line.split("\t") for line in listing.splitlines())
        return {title: genres.split("; ")[0] for title, genres in rows}

    if status == NOT_BETTER:
        run_beet(environment, *begin_with, "agfgenre", "-qW")
        return heard(), heard(), False
    run_beet(environment, "agfgenre", "-qW")
    after = heard()
    run_beet(environment, *begin_with, "agfgenre", "-qfW", "agf_genres::.")
    return heard(), after, True


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_arguments(parser)
    parser.add_argument("--folds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--whole", action="store_true", help="learn the networks, too")
    with one_line_errors():
        carry_out(parser.parse_args())


def carry_out(arguments: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    cache = FeatureCache(arguments.work / "features")
    tracks, spectra, model = begin(arguments, cache)
    network, genres = network_from_bundle(model), genres_of(tracks)
    rows = features_of(model, network, tracks, spectra, cache)
    material = TrainingData(tracks, genres, FeatureDataset(rows))
    learner = FineTuner(model, network, material, PLANS["quick"])
    place = {genre: i for i, genre in enumerate(genres)}
    judged: list[int] = []
    said: dict[str, list[np.ndarray]] = {"before": [], "before, mapped": [], "after": []}
    kept = 0
    for fold in arguments.folds:
        asked = [i for i, track in enumerate(tracks) if track.fold == fold]
        with tempfile.TemporaryDirectory() as home:
            before, after, learnt = try_fold(
                tracks,
                fold,
                model,
                Path(home),
                arguments.work / "beets-cache",
                [] if arguments.whole else ["--quick"],
            )
        kept += learnt
        judged += asked
        for name, tags in (("before", before), ("after", after)):
            titles = [tracks[i].track_id for i in asked]
            # One more column is for genres that the library does not have.
            columns = [place.get(tags.get(title, ""), len(genres)) for title in titles]
            said[name].append(np.eye(len(genres) + 1)[columns])
        others = np.array([i for i, track in enumerate(tracks) if track.fold != fold])
        said["before, mapped"].append(learner.before(others, np.array(asked)))
    truth = truth_of(tracks, np.array(judged), genres)
    artists = np.array([tracks[i].artist for i in judged])
    together = {name: np.concatenate(parts) for name, parts in said.items()}
    print(f"{len(judged)} clips by {len(set(artists))} artists, {len(arguments.folds)} libraries")
    print(f"a new model was kept in {kept}")
    for name, p in together.items():
        print(f"{name}: {metrics.evaluate(p, truth, artists)['accuracy']} right")
    for name in list(together)[:-1]:
        found = compare(together["after"], together[name], truth, artists)
        print(f"after against {name}: {found.difference}, in {found.better_in:.0%} of resamples")


if __name__ == "__main__":
    main()
