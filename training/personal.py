"""How good a personal model is: some artists of a library teach, others are asked about.

    python -m training.personal folds --table development.csv --audio corpora --work work \
        --models work/first-0

takes the clips of four folds for a library and the model that has not met the fifth to begin with
(``fold-0/model`` and so on), and asks about the fifth.

    python -m training.personal library --table development.csv --audio corpora --work work \
        --without RohitJacob/MusicAnalysis --tracks 100 300 400 --plans quick whole

makes a model of all other clips to begin with, and takes those of one repository for a library: a
collection that the model knows nothing of. With ``--shares`` only so many of the teaching artists
are tagged; with ``--groups m`` the others are described by artist groups. See docs/personal.md.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from agf_core import bundle, calibration
from agf_core.artist_groups import Observations
from agf_core.cache import FeatureCache
from agf_core.corpus import Track, hold_out_artists
from agf_core.evaluation import PERSONAL, Comparison, compare, score_sheet
from agf_core.examples import Features
from agf_core.export import network_from_bundle
from agf_core.learning import Schedule, extract_features
from agf_core.network import GenreNet
from agf_core.personal import (
    HeldOut,
    Material,
    Personaliser,
    Plan,
    segments_of,
)
from agf_core.selection import learnable_genres
from agf_core.spectrogram import InputSpec
from training.corpora import describe, genres_of, read_table, spectrograms
from training.crossvalidate import truth_of
from training.learn import learn, write_bundle
from training.recipes import Recipe

PLANS = {"quick": Plan(networks=None), "whole": Plan()}
BEGUN_WITH = Recipe(
    "begun with",
    input=InputSpec(fmax=8_000.0),
    networks=Schedule(epochs=80, bfloat16=True, validate_every=40),
    transfer=Schedule(epochs=30, validate_every=30),
)
MIN_TRACKS = 10  # of a genre, as in `beet agftrain`


def model_without(
    tracks: Sequence[Track], spectra: Sequence[np.ndarray], source: str, folder: Path
) -> bundle.Bundle:
    """Make a model of the clips of all repositories but one, or load it if that has been done."""
    if (folder / "model").exists():
        return bundle.load(folder / "model")
    chosen = [i for i, track in enumerate(tracks) if track.source != source]
    tracks, spectra = [tracks[i] for i in chosen], [spectra[i] for i in chosen]
    genres = genres_of(tracks)
    train, kept_back = hold_out_artists(tracks, np.arange(len(tracks)), 0.1, seed=0)
    learnt = learn(
        tracks,
        spectra,
        {},
        genres,
        BEGUN_WITH,
        train=train,
        valid=kept_back,
        predicted=kept_back,
        folder=folder,
    )
    return write_bundle(
        learnt,
        calibration.fit_temperature(
            learnt.probabilities[kept_back], truth_of(tracks, kept_back, genres)
        ),
        folder / "model",
        name="begin",
        genres=genres,
        recipe=BEGUN_WITH,
        tracks=[tracks[i] for i in train],
        scores={},
        card=lambda metadata: f"# {metadata.name}\n\nLearnt without the clips of {source}.\n",
    )


def features_of(
    model: bundle.Bundle,
    network: GenreNet,
    tracks: Sequence[Track],
    spectra: Sequence[np.ndarray],
    cache: FeatureCache,
) -> list[np.ndarray]:
    """Transfer features of clips, whole, by a model as it is."""
    rows = []
    for track, spectrogram in zip(tqdm(tracks, desc="features"), spectra, strict=True):

        def compute(spectrogram: np.ndarray = spectrogram) -> np.ndarray:
            one = extract_features(
                network.networks,  # type: ignore[arg-type]
                segments_of(model, [spectrogram]),
                bfloat16=True,
                progress=False,
            )
            return one.rows.numpy().astype(np.float16)

        rows.append(cache.get(f"features-{model.model_id}", track.track_id, compute))
    return rows


def show(title: str, tracks: Sequence[Track], genres: Sequence[str], held_out: HeldOut) -> None:
    """Print the scores of what was asked about."""
    artists = np.array([tracks[i].artist for i in held_out.tracks])
    predictions = {
        "most common": held_out.common,
        "before": held_out.before,
        PERSONAL: held_out.personal,
    }
    sheet = score_sheet(genres, held_out.truth, artists, predictions, PERSONAL)
    print(f"{title}: {sheet['tracks']} tracks, {sheet['artists']} artists, {len(genres)} genres")
    for name, scores in sheet["overall"].items():
        values = (f"{s} {v:.3f} [{a:.3f}, {b:.3f}]" for s, (v, a, b) in scores.items())
        print(f"  {name}: {', '.join(values)}")
    found: Comparison = compare(held_out.personal, held_out.before, held_out.truth, artists)
    print(
        f"  accuracy gained {found.difference}, in {found.better_in:.0%} of resamples; "
        f"epochs {held_out.epochs}",
        flush=True,
    )


def folds(
    tracks: list[Track],
    spectra: Sequence[np.ndarray],
    models: Path,
    plan: Plan,
    cache: FeatureCache,
    only: Sequence[int],
) -> HeldOut:
    """Ask about fold after fold a personal model of the others."""
    genres = genres_of(tracks)
    fold_of = np.array([track.fold for track in tracks])
    parts = []
    for fold in only:
        model = bundle.load(models / f"fold-{fold}" / "model")
        network = network_from_bundle(model)
        material = Material(
            tracks,
            genres,
            Features(features_of(model, network, tracks, spectra, cache)),
            None if plan.networks is None else segments_of(model, spectra),
        )
        learner = Personaliser(model, network, material, plan)
        parts.append(learner.ask(np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)))
    return HeldOut.of(parts)


def some_of(tracks: Sequence[Track], at_least: int, seed: int) -> list[int]:
    """Return the clips of as many artists, drawn at random, as make up that many clips."""
    artists = sorted({track.artist for track in tracks})
    chosen: list[int] = []
    for artist in np.random.default_rng(seed).permutation(artists):
        if len(chosen) < at_least:
            chosen += [i for i, track in enumerate(tracks) if track.artist == artist]
    return chosen


def tagged_in_part(
    tracks: list[Track],
    spectra: Sequence[np.ndarray],
    observations: Mapping[str, Observations],
    model: bundle.Bundle,
    share: float,
    plan: Plan,
    cache: FeatureCache,
    only: Sequence[int],
    seed: int,
) -> Iterator[tuple[list[Track], HeldOut]]:
    """Ask about fold after fold, with a share of the other folds' artists tagged.

    Yields
    ------
    tracks, held_out
        The indices of the one are of the other.
    """
    network = network_from_bundle(model)
    genres = genres_of(tracks)
    rows = features_of(model, network, tracks, spectra, cache)
    for fold in only:
        others = sorted({track.artist for track in tracks if track.fold != fold})
        rng = np.random.default_rng(seed)
        tagged = set(rng.permutation(others)[: max(2, round(share * len(others)))])
        order = sorted(
            range(len(tracks)),
            key=lambda i: tracks[i].fold != fold and tracks[i].artist not in tagged,
        )
        n_teaching = sum(t.fold == fold or t.artist in tagged for t in tracks)
        here = [tracks[i] for i in order]
        material = Material(
            here,
            genres,
            Features([rows[i] for i in order[:n_teaching]]),
            segments_of(model, [spectra[i] for i in order]),
            here,
            {task: [found[i] for i in order] for task, found in observations.items()},  # type: ignore
        )
        asked = np.array([track.fold == fold for track in here])
        learner = Personaliser(model, network, material, plan)
        yield here, learner.ask(np.flatnonzero(asked), np.flatnonzero(~asked))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["folds", "library"])
    parser.add_argument("--table", type=Path, required=True, help="CSV of the clips")
    parser.add_argument("--audio", type=Path, required=True, help="folder of owner/repository")
    parser.add_argument("--work", type=Path, required=True, help="features and models")
    parser.add_argument("--plans", choices=PLANS, nargs="+", default=["quick"])
    parser.add_argument("--models", type=Path, help="folds: where their models are")
    parser.add_argument("--without", help="library: the repository that is the library")
    parser.add_argument("--tracks", type=int, nargs="+", default=[100, 300, 1_000])
    parser.add_argument("--shares", type=float, nargs="*", help="of artists that are tagged")
    parser.add_argument("--groups", default="", help="letters: m and d")
    parser.add_argument("--folds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    cache = FeatureCache(arguments.work / "features")
    clips = [clip for clip in read_table(arguments.table, arguments.audio) if clip.genre]
    tracks, spectra = spectrograms(clips, BEGUN_WITH.input, cache)
    if arguments.what == "folds":
        for name in arguments.plans:
            held_out = folds(tracks, spectra, arguments.models, PLANS[name], cache, arguments.folds)
            show(f"folds {arguments.folds}, {name}", tracks, genres_of(tracks), held_out)
        return
    source = arguments.without
    model = model_without(tracks, spectra, source, arguments.work / f"without-{Path(source).name}")
    mine = [i for i, track in enumerate(tracks) if track.source == source]
    tracks, spectra = [tracks[i] for i in mine], [spectra[i] for i in mine]
    if arguments.shares:
        for groups in ("", arguments.groups):
            observations = describe(tracks, groups, cache, fmax=BEGUN_WITH.input.fmax)
            for share in arguments.shares:
                parts: list[HeldOut] = []
                asked_tracks: list[Track] = []
                for here, held_out in tagged_in_part(
                    tracks,
                    spectra,
                    observations,
                    model,
                    share,
                    PLANS["whole"],
                    cache,
                    arguments.folds,
                    arguments.seed,
                ):
                    shifted = held_out.tracks + len(asked_tracks)
                    asked_tracks += here
                    parts.append(replace(held_out, tracks=shifted))
                title = f"{share:.0%} of artists tagged, groups {groups or 'none'}"
                show(title, asked_tracks, genres_of(tracks), HeldOut.of(parts))
        return
    for size in arguments.tracks:
        chosen = some_of(tracks, size, arguments.seed)
        library = [tracks[i] for i in chosen]
        genres, _ = learnable_genres(library, MIN_TRACKS)
        chosen = [i for i in chosen if tracks[i].genre in genres]
        library, heard = [tracks[i] for i in chosen], [spectra[i] for i in chosen]
        network = network_from_bundle(model)
        rows = features_of(model, network, library, heard, cache)
        for name in arguments.plans:
            plan = PLANS[name]
            segments = None if plan.networks is None else segments_of(model, heard)
            material = Material(library, genres, Features(rows), segments)
            held_out = Personaliser(model, network, material, plan).hold_out()
            counts = ", ".join(f"{g} {n}" for g, n in Counter(t.genre for t in library).items())
            show(f"library of {source} ({counts}), {name}", library, genres, held_out)


if __name__ == "__main__":
    main()
