"""What light training gains, on libraries that the base model has not seen.

    python -m training.studies.light_training --table collection.csv --unlabelled music --work work

takes the libraries of `training.studies.left_out`, each with the model of a student that has seen
none of it as the base model. Each of five folds of artists is predicted by a light model, trained
on a share of the other folds' artists; all other tracks are there without a genre, as in a library
that is partly tagged. Genres with ten tracks by two artists count. Prints the first table of
``docs/results/fine-tuning.md``.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from agf_core.calibration import apply_temperature
from agf_core.data.sampling import learnable_genres
from agf_core.data.splits import artist_folds
from agf_core.finetune.light import LightConfig, LightData, LightTrainer, fit_temperature
from agf_core.metrics import Score, count_artists
from training import markdown
from training.cli import one_line_errors
from training.pretrained.data import add_data, gather_from
from training.statistics import Scored, score
from training.studies.left_out import Library, libraries_of

MIN_TRACKS = 10  # of a genre, as in `beet agftrain`
SHARES = (0.1, 0.25, 0.5, 1.0)  # of the artists of the other folds
SEEDS, FOLDS = 3, 5
FEWEST_ARTISTS = 5
SCORES = ("accuracy", "log_loss")
UNSEEN_GENRE = 1e-4  # its probability by a model that no track of it was tagged for
BASE, LIGHT, NOT_WHITENED = "base model", "light", "without whitening"
CONFIGS = {LIGHT: LightConfig(), NOT_WHITENED: LightConfig(fewest_pairs=10**9)}
HEAD = (
    *("library", "artists tagged", "base model: accuracy / log loss", "light"),
    *("accuracy gained", "log loss more", "accuracy more without whitening", "log loss more"),
)


def with_learnable_genres(library: Library) -> tuple[Library, tuple[str, ...]]:
    """Return the library without the genres that are too rare to be trained, and the others."""
    genres, _ = learnable_genres(library.tracks, MIN_TRACKS)
    tracks = [
        track if track.genre in genres else replace(track, genre="") for track in library.tracks
    ]
    return replace(library, tracks=tracks), genres


def predict_by_base(library: Library, genres: Sequence[str]) -> np.ndarray:
    """Return the base model's probabilities of some of its genres, (n_tracks, n_genres)."""
    columns = [library.base.metadata.labels.index(genre) for genre in genres]
    chosen = np.exp(library.log_probabilities[:, columns])
    result: np.ndarray = chosen / chosen.sum(axis=1, keepdims=True)
    return result


def predict_folds(
    library: Library, genres: Sequence[str], share: float, seed: int, config: LightConfig
) -> np.ndarray:
    """Predict each fold by a light model of the others, (n_tracks, n_genres); else NaN."""
    tracks, folds = library.tracks, artist_folds(library.tracks, FOLDS)
    result = np.full((len(tracks), len(genres)), np.nan)
    for fold in range(FOLDS):
        others = sorted(
            {t.artist for t, its in zip(tracks, folds, strict=True) if its not in (-1, fold)}
        )
        drawn = np.random.default_rng((seed, fold)).permutation(others)
        tagged = set(drawn[: max(FEWEST_ARTISTS, round(share * len(others)))].tolist())
        first = [i for i, track in enumerate(tracks) if track.genre and track.artist in tagged]
        order = first + sorted(set(range(len(tracks))).difference(first))
        known = tuple(sorted({tracks[i].genre for i in first}))
        data = LightData(
            [tracks[i] for i in first]
            + [replace(tracks[i], genre="") for i in order[len(first) :]],
            known,
            library.embeddings[order],
            library.log_probabilities[order],
        )
        trainer = LightTrainer(library.base, data, config)
        held_out = trainer.hold_out()
        raw = trainer.predict_others()
        p = np.full((len(raw), len(genres)), UNSEEN_GENRE)
        p[:, [genres.index(genre) for genre in known]] = apply_temperature(
            raw, fit_temperature(held_out.raw, held_out.truth)
        )
        rest = np.array(order[len(first) :])
        test = folds[rest] == fold
        result[rest[test]] = p[test] / p[test].sum(axis=1, keepdims=True)
    return result


def measure(library: Library) -> tuple[str, dict[float, dict[str, Scored]]]:
    """Return what a library consists of, and by share of tagged artists the scores of each case."""
    library, genres = with_learnable_genres(library)
    rows = library.tagged
    artists = np.array([library.tracks[i].artist for i in rows])
    truth = np.array([genres.index(library.tracks[i].genre) for i in rows])
    base = np.stack([predict_by_base(library, genres)[rows]] * SEEDS)
    found = {}
    for share in SHARES:
        predicted = {
            name: np.stack(
                [predict_folds(library, genres, share, seed, config)[rows] for seed in range(SEEDS)]
            )
            for name, config in CONFIGS.items()
        }
        found[share] = score({BASE: base, **predicted}, truth, artists, SCORES)
    facts = f"{len(rows)} tracks, {count_artists(artists)} artists, {len(genres)} genres"
    return f"{library.name}: {facts}", found


def cells_of(scores: dict[str, Scored]) -> list[str]:
    """Return the scores of a library and share as cells of a table."""
    base, light, other = (scores[name] for name in (BASE, LIGHT, NOT_WHITENED))
    values = [f"{one.values[0]:.3f} / {one.values[1]:.3f}" for one in (base, light)]
    gained, without = light - base, other - light
    return [*values, *(signed(one[k]) for one in (gained, without) for k in range(len(SCORES)))]


def signed(score: Score) -> str:
    """Return a difference with its interval."""
    return f"{score.value:+.3f} [{score.low:+.3f}, {score.high:+.3f}]"


@one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_data(parser)
    arguments = parser.parse_args()
    rows = []
    for library in libraries_of(gather_from(arguments, arguments.seed)):
        title, found = measure(library)
        for share, scores in found.items():
            rows.append([title, f"{share:.0%}", *cells_of(scores)])
            title = library.name
    print(markdown.table(HEAD, rows))


if __name__ == "__main__":
    main()
