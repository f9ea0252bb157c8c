r"""Accuracy of fine-tuned models: trained on some artists of a collection, tested on others.

    python -m training.studies.finetuning library --table collection.csv --work work \
        --library RohitJacob/MusicAnalysis --model MODEL --tracks 100 300 400 --configs quick whole

takes the clips of one source as a library, and starts from a model that was not trained on them.
MODEL is its folder: `training.pretrained.release --model-of` saves one.

    python -m training.studies.finetuning untagged --table collection.csv --work work \
        --library RohitJacob/MusicAnalysis --model MODEL --shares 0.1 0.25 0.5 --groups md \
        --output docs/results/fine-tuning

tests one fold of that library after the other, while only a share of the other artists is tagged,
without artist groups, with them, and with groups of shuffled artists, and draws what the untagged
artists add. Stopped, it goes on.
"""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from agf_core import metrics
from agf_core.bundle import format as bundle_format
from agf_core.data.sampling import learnable_genres
from agf_core.data.tracks import Track
from agf_core.errors import CorpusError
from agf_core.evaluation import FINE_TUNED, Comparison, compare, score_sheet
from agf_core.features.cache import FeatureCache
from agf_core.finetune.config import FineTuneConfig, TrainingData
from agf_core.finetune.finetuner import FineTuner
from agf_core.finetune.frozen_features import frozen_features, segments_of
from agf_core.finetune.held_out import HeldOut
from agf_core.groups.codebook import Observations
from agf_core.metrics import Score
from agf_core.train.dataset import FeatureDataset
from agf_core.train.export import network_from_bundle
from agf_core.train.networks import GenreNet
from training.cli import add_collection, one_line_errors, positive, seed_number
from training.datasets.collection import read_csv
from training.datasets.folders import genres_of
from training.features import describe, spectrograms
from training.splits import truth_of

CONFIGS = {"quick": FineTuneConfig(networks=None), "whole": FineTuneConfig()}
MIN_TRACKS = 10  # of a genre, as in `beet agftrain`


@dataclass(frozen=True)
class Spectra:
    """Spectrograms of clips, as `frozen_features` reads them."""

    keys: Sequence[str]
    spectra: Sequence[np.ndarray]
    cache: FeatureCache

    def __getitem__(self, index: int) -> np.ndarray:
        return self.spectra[index]


def add_base_model(parser: argparse.ArgumentParser) -> None:
    """Add what `open_library` needs."""
    add_collection(parser)
    parser.add_argument("--library", required=True, help="the source that is the library")
    parser.add_argument("--model", type=Path, required=True, help="to start from")


def open_library(
    arguments: argparse.Namespace, cache: FeatureCache
) -> tuple[list[Track], list[np.ndarray], bundle_format.Bundle]:
    """Return the library's clips, their spectrograms, and the base model.

    Raises
    ------
    CorpusError
        When there is no such library, or the model was trained on it.
    BundleError
        When the model cannot be read.
    """
    model = bundle_format.load(arguments.model)
    if arguments.library in model.metadata.trained_on.get("sources", ()):
        raise CorpusError(f"{arguments.model} was trained on {arguments.library}; take another")
    clips = read_csv(arguments.table).tracks
    own = [clip for clip in clips if clip.genre and clip.source == arguments.library]
    if not own:
        raise CorpusError(f"{arguments.table} has no clips of {arguments.library} with a genre")
    tracks, spectra = spectrograms(own, model.metadata.input, cache)
    return tracks, spectra, model


def features_of(
    model: bundle_format.Bundle,
    network: GenreNet,
    tracks: Sequence[Track],
    spectra: Sequence[np.ndarray],
    cache: FeatureCache,
) -> list[np.ndarray]:
    """Return the transfer features of each clip by the base model, (n_windows, n_features)."""
    excerpts = Spectra([track.track_id for track in tracks], spectra, cache)
    features = frozen_features(model, network, excerpts)  # type: ignore[arg-type]
    return [features.windows(i).numpy() for i in range(len(features))]


def show(title: str, tracks: Sequence[Track], genres: Sequence[str], held_out: HeldOut) -> None:
    """Print the scores of held-out tracks."""
    artists = np.array([tracks[i].artist for i in held_out.tracks])
    predictions = {
        "most common": held_out.common,
        "base": held_out.base,
        FINE_TUNED: held_out.fine_tuned,
    }
    sheet = score_sheet(genres, held_out.truth, artists, predictions, FINE_TUNED)
    print(f"{title}: {sheet['tracks']} tracks, {sheet['artists']} artists, {len(genres)} genres")
    for name, scores in sheet["overall"].items():
        values = (f"{s} {v:.3f} [{a:.3f}, {b:.3f}]" for s, (v, a, b) in scores.items())
        print(f"  {name}: {', '.join(values)}")
    found: Comparison = compare(held_out.fine_tuned, held_out.base, held_out.truth, artists)
    print(
        f"  gain in accuracy {found.difference}, in {found.better_in:.0%} of resamples; "
        f"epochs {held_out.epochs}",
        flush=True,
    )


def some_of(tracks: Sequence[Track], at_least: int, seed: int) -> list[int]:
    """Return the clips of as many artists, drawn at random, as make up that many clips."""
    artists = sorted({track.artist for track in tracks})
    chosen: list[int] = []
    for artist in np.random.default_rng(seed).permutation(artists):
        if len(chosen) < at_least:
            chosen += [i for i, track in enumerate(tracks) if track.artist == artist]
    return chosen


def tagged_in_part(
    tracks: Sequence[Track], fold: int, share: float, seed: int
) -> tuple[list[int], int]:
    """Put the tracks of a fold, and of a share of the other artists, before those of the rest.

    Returns
    -------
    order : list of int
    n_tagged : int
        How many come before the rest: their genres are known.
    """
    others = sorted({track.artist for track in tracks if track.fold != fold})
    drawn = np.random.default_rng(seed).permutation(others)
    tagged = set(drawn[: max(2, round(share * len(others)))])
    known = [track.fold == fold or track.artist in tagged for track in tracks]
    return sorted(range(len(tracks)), key=lambda i: not known[i]), sum(known)


def with_shuffled_artists(tracks: Sequence[Track], fold: int, seed: int) -> list[Track]:
    """Return the tracks with their artists shuffled, but for those of a fold."""
    others = [i for i, track in enumerate(tracks) if track.fold != fold]
    result = list(tracks)
    for i, other in zip(others, np.random.default_rng(seed).permutation(others), strict=True):
        result[i] = replace(tracks[i], artist=tracks[other].artist)
    return result


def predict_fold(
    tracks: Sequence[Track],
    spectra: Sequence[np.ndarray],
    rows: Sequence[np.ndarray],
    observations: Mapping[str, Observations],
    model: bundle_format.Bundle,
    fold: int,
    share: float,
    seed: int,
    *,
    shuffled: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Predict a fold by a model fine-tuned on the others, of whose artists a share is tagged.

    Parameters
    ----------
    rows : sequence of np.ndarray
        See `features_of`.
    observations : mapping
        What groups are made of, by task; of tagged and untagged artists.
    shuffled : bool
        Make the groups of shuffled artists, as a control.

    Returns
    -------
    test : np.ndarray [dtype=int]
        Indices of the fold's tracks.
    probabilities : np.ndarray [shape=(n_test, n_genres)]
    """
    order, n_tagged = tagged_in_part(tracks, fold, share, seed)
    here = [tracks[i] for i in order]
    data = TrainingData(
        here,
        genres_of(tracks),
        FeatureDataset([rows[i] for i in order[:n_tagged]]),
        segments_of(model, [spectra[i] for i in order]),
        with_shuffled_artists(here, fold, seed) if shuffled else here,
        {task: [found[i] for i in order] for task, found in observations.items()},  # type: ignore
    )
    test = np.array([track.fold == fold for track in here])
    finetuner = FineTuner(model, network_from_bundle(model), data, CONFIGS["whole"])
    held_out = finetuner.predict_held_out(np.flatnonzero(test), np.flatnonzero(~test))
    return np.array(order)[held_out.tracks], held_out.fine_tuned


def untagged(
    tracks: Sequence[Track],
    spectra: Sequence[np.ndarray],
    model: bundle_format.Bundle,
    shares: Sequence[float],
    groups: str,
    folds: Sequence[int],
    seed: int,
    cache: FeatureCache,
    work: Path,
    output: Path,
) -> None:
    """Measure what untagged artists add by their groups; draw a figure of it."""
    rows = features_of(model, network_from_bundle(model), tracks, spectra, cache)
    accuracy: dict[str, list[Score]] = {}
    predicted: dict[tuple[str, float], np.ndarray] = {}
    described = describe(tracks, groups, cache, fmax=model.metadata.input.fmax)
    control = f"{groups}, shuffled artists"
    for name, observations in (("none", {}), (groups, described), (control, described)):
        for share in shares:
            parts = []
            for fold in folds:
                kept = work / f"untagged-{model.model_id}-{seed}" / f"{share:g}-{name}-{fold}.npz"
                if not kept.exists():
                    kept.parent.mkdir(exist_ok=True)
                    test, probabilities = predict_fold(
                        tracks,
                        spectra,
                        rows,
                        observations,
                        model,
                        fold,
                        share,
                        seed,
                        shuffled=name == control,
                    )
                    np.savez(kept, test=test, probabilities=probabilities)
                stored = np.load(kept)
                parts.append((stored["test"], stored["probabilities"]))
            tested = np.concatenate([test for test, _ in parts])
            truth = truth_of(tracks, tested, genres_of(tracks))
            artists = np.array([tracks[i].artist for i in tested])
            predicted[name, share] = np.concatenate([probabilities for _, probabilities in parts])
            scores = metrics.evaluate(predicted[name, share], truth, artists)
            accuracy.setdefault(name, []).append(scores["accuracy"])
            print(
                f"{share:.0%} of artists tagged, groups {name}: {len(tested)} tracks, "
                f"{metrics.count_artists(artists)} artists; "
                + ", ".join(f"{score} {value}" for score, value in scores.items()),
                flush=True,
            )
    for share in shares:
        for name in (groups, control):
            gain = compare(predicted[name, share], predicted["none", share], truth, artists)
            print(f"{share:.0%}: gain in accuracy by groups {name} {gain.difference}")
    output.mkdir(parents=True, exist_ok=True)
    draw(shares, accuracy, output / "untagged.png")


def draw(shares: Sequence[float], accuracy: Mapping[str, Sequence[Score]], path: Path) -> None:
    """Figure: accuracy with its interval, by the share of artists that are tagged."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    at = np.arange(len(shares))
    shifts = np.linspace(-0.05, 0.05, len(accuracy))
    for shift, (name, scores) in zip(shifts, accuracy.items(), strict=True):
        middle = np.array([score.value for score in scores])
        reach = [middle - [s.low for s in scores], [s.high for s in scores] - middle]
        axes.errorbar(
            at + shift, middle, yerr=reach, marker="o", capsize=3, label=f"groups: {name}"
        )
    axes.set_xticks(at, [f"{share:.0%}" for share in shares])
    axes.set_xlabel("artists that are tagged")
    axes.set_ylabel("accuracy on unseen artists")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend()
    figure.savefig(path, dpi=80)


@one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["library", "untagged"])
    add_base_model(parser)
    parser.add_argument("--configs", choices=CONFIGS, nargs="+", default=["quick"])
    parser.add_argument("--tracks", type=positive, nargs="+", default=[100, 300, 1_000])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.25, 0.5])
    parser.add_argument("--groups", default="md", help="letters: m, d and e")
    parser.add_argument("--folds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--output", type=Path, help="untagged: folder of the figure")
    parser.add_argument("--seed", type=seed_number, default=0)
    arguments = parser.parse_args()
    cache = FeatureCache(arguments.work / "features")
    tracks, spectra, model = open_library(arguments, cache)
    if arguments.what == "untagged":
        untagged(
            tracks,
            spectra,
            model,
            arguments.shares,
            arguments.groups,
            arguments.folds,
            arguments.seed,
            cache,
            arguments.work,
            arguments.output,
        )
        return
    network = network_from_bundle(model)
    for size in arguments.tracks:
        chosen = some_of(tracks, size, arguments.seed)
        library = [tracks[i] for i in chosen]
        genres, _ = learnable_genres(library, MIN_TRACKS)
        chosen = [i for i in chosen if tracks[i].genre in genres]
        library, own = [tracks[i] for i in chosen], [spectra[i] for i in chosen]
        rows = features_of(model, network, library, own, cache)
        for name in arguments.configs:
            config = CONFIGS[name]
            segments = None if config.networks is None else segments_of(model, own)
            data = TrainingData(library, genres, FeatureDataset(rows), segments)
            held_out = FineTuner(model, network, data, config).hold_out()
            counts = ", ".join(f"{g} {n}" for g, n in Counter(t.genre for t in library).items())
            show(f"library of {arguments.library} ({counts}), {name}", library, genres, held_out)


if __name__ == "__main__":
    main()
