r"""The plugin tried on real beets libraries, as its users run it.

    python -m training.studies.library_trials tag --table collection.csv \
        --model work/ours-0/fold-0/model --fold 0 --tracks 200

tags a library of clips of one fold, which have no genres, in one run. Use the model of the same
fold: the artists of these clips are not in its training set.

    python -m training.studies.library_trials train --table collection.csv --work work \
        --library RohitJacob/MusicAnalysis --model MODEL

makes a library of one source's clips for each fold, in which the clips of the fold have no genres,
and starts from a model that was not trained on that source (see `training.studies.finetuning`).
`beet agftrain` is run in it, and `beet agfgenre` tags the fold; then the base model tags it, too,
and the two are compared.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import mediafile
import numpy as np

from agf_core import metrics
from agf_core.bundle import format as bundle_format
from agf_core.data.tracks import Track
from agf_core.evaluation import compare
from agf_core.features.cache import FeatureCache
from agf_core.finetune.config import TrainingData
from agf_core.finetune.finetuner import FineTuner
from agf_core.train.dataset import FeatureDataset
from agf_core.train.export import network_from_bundle
from training.cli import one_line_errors
from training.datasets.collection import read_csv
from training.datasets.folders import genres_of
from training.errors import RunError
from training.studies.finetuning import CONFIGS, add_base_model, features_of, open_library
from training.targets import truth_of

BETTER, NOT_BETTER = 0, 3  # exit statuses of `beet agftrain`


def build_library(
    tracks: Sequence[Track], home: Path, options: str, *, tagged: Collection[str] = ()
) -> dict[str, str]:
    """Copy clips below `home`, import them, and return the environment to run beets in.

    Parameters
    ----------
    options : str
        Of the plugin, as YAML on one line.
    tagged : collection of str
        Track ids of the clips that keep their genres, the main one first.
    """
    music = home / "music"
    music.mkdir()
    for track in tracks:
        copy = music / f"{track.track_id}{track.path.suffix}"
        shutil.copyfile(track.path, copy)
        tags = mediafile.MediaFile(copy)
        tags.genres = (
            list(dict.fromkeys([track.genre, *track.labels])) if track.track_id in tagged else None
        )
        tags.artist, tags.title = track.artist, track.track_id
        tags.save()
    (home / "config.yaml").write_text(
        f"directory: {music}\nlibrary: {home}/library.db\nplugins: agfgenre\n"
        "import: {copy: no, quiet: yes, autotag: no, write: yes}\n"
        f"agfgenre: {options}\n"
    )
    environment = os.environ | {"BEETSDIR": str(home)}
    run_beet(environment, "import", str(music))
    return environment


def run_beet(environment: dict[str, str], *arguments: str) -> str:
    """Run beets and return what it printed."""
    return subprocess.run(
        [sys.executable, "-m", "beets", *arguments],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def predicted_genres(environment: dict[str, str]) -> dict[str, str]:
    """Return the most probable genre of every track that has been analysed, by title."""
    listing = run_beet(environment, "ls", "-f", "$title\t$agf_genres", "agf_genres::.")
    rows = (line.split("\t") for line in listing.splitlines())
    return {title: genres.split("; ")[0] for title, genres in rows}


def try_tagging(arguments: argparse.Namespace) -> None:
    """Tag a library of held-out clips, and print what is right."""
    clips = [t for t in read_csv(arguments.table).tracks if t.fold == arguments.fold]
    # Clips of several main genres fill up the library but have no truth.
    chosen = sorted(clips, key=lambda track: not track.genre)[: arguments.tracks]
    truth = {track.track_id: track.genre for track in chosen if track.genre}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        environment = build_library(chosen, home, f"{{model: {arguments.model.resolve()}}}")
        start = time.perf_counter()
        print(run_beet(environment, "agfgenre", "-q"), end="")
        seconds = time.perf_counter() - start
        predicted = predicted_genres(environment)
        listing = run_beet(environment, "ls", "-f", "$title\t$genres").splitlines()
        in_file = sum(bool(mediafile.MediaFile(p).genres) for p in (home / "music").iterdir())
    known = [title for title in predicted if title in truth]
    right = np.array([predicted[title] == truth[title] for title in known])
    tagged = {title for title, _, genres in (line.partition("\t") for line in listing) if genres}
    written = np.array([title in tagged for title in known])
    artists = len({track.artist for track in chosen})
    print(f"{len(predicted)} clips by {artists} held-out artists, {seconds:.1f} s in all")
    print(f"with one main genre: {len(known)}; the most probable is right: {right.mean():.3f}")
    print(f"of these written: {written.sum()} ({written.mean():.1%}); right: ", end="")
    print(f"{right[written].mean():.3f}" if written.any() else "-")
    print(f"files that now have a genre: {in_file}")


def train_without_fold(
    tracks: Sequence[Track],
    fold: int,
    model: bundle_format.Bundle,
    home: Path,
    cache: Path,
    options: Sequence[str],
) -> tuple[dict[str, str], dict[str, str], bool]:
    """Train on a library in which a fold has no genres, and tag the fold.

    Parameters
    ----------
    cache : Path
        Of the plugin, shared by all libraries, so that every clip is analysed once.
    options : sequence of str
        Of ``beet agftrain``.

    Returns
    -------
    before, after : dict of str
        The most probable genre of the fold's clips, by track: by the base model, and by the model
        that is in use after training.
    better : bool
        Whether that is another one.
    """
    tagged = {track.track_id for track in tracks if track.fold != fold}
    environment = build_library(tracks, home, "{title_case: no}", tagged=tagged)
    environment["XDG_CACHE_HOME"] = str(cache)
    (home / "base.yaml").write_text(f"agfgenre: {{model: {model.folder.resolve()}}}\n")
    with_base = ("-c", str(home / "base.yaml"))

    command = [sys.executable, "-m", "beets", *with_base, "agftrain", *options]
    status = subprocess.run(command, env=environment, check=False).returncode
    if status not in (BETTER, NOT_BETTER):
        raise RunError(f"beet agftrain ended with {status} on fold {fold}")
    if status == NOT_BETTER:
        run_beet(environment, *with_base, "agfgenre", "-qW")
        same = predicted_genres(environment)
        return same, same, False
    run_beet(environment, "agfgenre", "-qW")
    after = predicted_genres(environment)
    run_beet(environment, *with_base, "agfgenre", "-qfW", "agf_genres::.")
    return predicted_genres(environment), after, True


def try_training(arguments: argparse.Namespace) -> None:
    """Train on a library for each fold, and compare the models before and after."""
    cache = FeatureCache(arguments.work / "features")
    tracks, spectra, model = open_library(arguments, cache)
    network, genres = network_from_bundle(model), genres_of(tracks)
    rows = features_of(model, network, tracks, spectra, cache)
    data = TrainingData(tracks, genres, FeatureDataset(rows))
    finetuner = FineTuner(model, network, data, CONFIGS["quick"])
    place = {genre: i for i, genre in enumerate(genres)}
    tested: list[int] = []
    predicted: dict[str, list[np.ndarray]] = {"before": [], "before, mapped": [], "after": []}
    kept = 0
    for fold in arguments.folds:
        test = [i for i, track in enumerate(tracks) if track.fold == fold]
        others = np.array([i for i, track in enumerate(tracks) if track.fold != fold])
        with tempfile.TemporaryDirectory() as home:
            before, after, better = train_without_fold(
                tracks,
                fold,
                model,
                Path(home),
                arguments.work / "beets-cache",
                ["--deep"] if arguments.whole else [],
            )
        kept += better
        tested += test
        for name, found in (("before", before), ("after", after)):
            # One more column is for genres that the library does not have.
            columns = [place.get(found.get(tracks[i].track_id, ""), len(genres)) for i in test]
            predicted[name].append(np.eye(len(genres) + 1)[columns])
        predicted["before, mapped"].append(finetuner.predict_base(others, np.array(test)))
    truth = truth_of(tracks, np.array(tested), genres)
    artists = np.array([tracks[i].artist for i in tested])
    together = {name: np.concatenate(parts) for name, parts in predicted.items()}
    print(f"{len(tested)} clips by {len(set(artists))} artists, {len(arguments.folds)} libraries")
    print(f"the fine-tuned model was kept in {kept}")
    for name, p in together.items():
        print(f"{name}: {metrics.evaluate(p, truth, artists)['accuracy']} right")
    for name in list(together)[:-1]:
        gain = compare(together["after"], together[name], truth, artists)
        print(f"after against {name}: {gain.difference}, in {gain.better_in:.0%} of resamples")


@one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    tag = commands.add_parser("tag", help="tag clips of a fold")
    tag.add_argument("--table", type=Path, required=True)
    tag.add_argument("--model", type=Path, required=True, help="folder of the fold's model")
    tag.add_argument("--fold", type=int, required=True)
    tag.add_argument("--tracks", type=int, default=200)
    tag.set_defaults(command=try_tagging)
    train = commands.add_parser("train", help="train on a library, and tag its other artists")
    add_base_model(train)
    train.add_argument("--folds", type=int, nargs="+", default=list(range(5)))
    train.add_argument("--whole", action="store_true", help="train the networks, too")
    train.set_defaults(command=try_training)
    arguments = parser.parse_args()
    arguments.command(arguments)


if __name__ == "__main__":
    main()
