"""What light training and context gain, on libraries that the base model has not seen.

    python -m training.studies.light_training --table collection.csv --unlabelled music --work work

takes the libraries of `training.studies.left_out`, each with the model of a student that has seen
none of it as the base model. Each of five folds of artists is predicted by a light model, trained
on a share of the other folds' artists; all other tracks are there without a genre, as in a library
that is partly tagged. Genres with ten tracks by two artists count. Both models are also combined
with the artist's other tracks: with their predictions, and with the genres of half of them as well.
Prints the first three tables of ``docs/results/fine-tuning.md``.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from agf_core.calibration import apply_temperature
from agf_core.data.sampling import learnable_genres
from agf_core.data.splits import artist_folds
from agf_core.data.tracks import Track
from agf_core.finetune.light import LightConfig, LightData, LightTrainer, fit_temperature
from agf_core.inference.artist_context import USUAL_POOLING, ArtistContext, fit_pooling
from agf_core.metrics import Score, artist_numbers, count_artists
from training import markdown
from training.cli import one_line_errors
from training.pretrained.data import add_data, gather_from
from training.statistics import Scored, score
from training.studies.left_out import Library, libraries_of
from training.studies.library_context import combined, tags_of
from training.studies.library_prior import Library as Predicted

MIN_TRACKS = 10  # of a genre, as in `beet agftrain`
SHARES = (0.1, 0.25, 0.5, 1.0)  # of the artists of the other folds
SEEDS, FOLDS = 3, 5
FEWEST_ARTISTS = 5
SCORES = ("accuracy", "log_loss")
UNSEEN_GENRE = 1e-4  # its probability by a model that no track of it was tagged for
BASE, LIGHT, NOT_WHITENED = "base model", "light", "without whitening"
CONFIGS = {LIGHT: LightConfig(), NOT_WHITENED: LightConfig(fewest_pairs=10**9)}
ALONE, PREDICTIONS, HALF_TAGGED = "alone", "other predictions", "half tagged"
Case = tuple[str, str]  # a model, and a part of the context
HEAD = (
    *("library", "artists tagged", "base model: accuracy / log loss", "light"),
    *("accuracy gained", "log loss more", "accuracy more without whitening", "log loss more"),
)
WITH = "with other predictions", "half tagged"
CONTEXT_HEAD = (
    *("library", "artists tagged"),
    *("base model: accuracy / log loss", *(f"base model, {part}" for part in WITH)),
    *("light", *(f"light, {part}" for part in WITH)),
)
GAINS_HEAD = (
    *("library", "artists tagged"),
    *(
        f"{model}, {part}: {score} more"
        for model in ("base model", "light")
        for part in WITH
        for score in ("accuracy", "log loss")
    ),
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


def base_prior(library: Library, genres: Sequence[str]) -> np.ndarray:
    """Return the prior of the base model among some of its genres, (n_genres,)."""
    metadata = library.base.metadata
    if metadata.prior is None:
        raise ValueError(f"the prior of {metadata.name} is not known")
    chosen: np.ndarray = metadata.prior[[metadata.labels.index(genre) for genre in genres]]
    return chosen / chosen.sum()


def folds_of(
    tracks: Sequence[Track], share: float, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield for each fold which tracks are tagged, and which are of the fold, (n_tracks,) each.

    Tagged are the tracks of a share of the other folds' artists.
    """
    folds = artist_folds(tracks, FOLDS)
    artists = np.array([track.artist for track in tracks])
    has_genre = np.array([bool(track.genre) for track in tracks])
    for fold in range(FOLDS):
        others = np.unique(artists[(folds != -1) & (folds != fold)])
        drawn = np.random.default_rng((seed, fold)).permutation(others)
        chosen = drawn[: max(FEWEST_ARTISTS, round(share * len(others)))]
        yield has_genre & np.isin(artists, chosen), folds == fold


def predict_lightly(
    library: Library, tagged: np.ndarray, config: LightConfig
) -> tuple[tuple[str, ...], Predicted]:
    """Train on the tagged tracks, and predict the others.

    Returns
    -------
    genres : tuple of str
        Of the tagged tracks.
    predicted : Predicted
        The probabilities of tagged tracks are NaN.
    """
    tracks, first, rest = library.tracks, np.flatnonzero(tagged), np.flatnonzero(~tagged)
    order = np.concatenate([first, rest])
    known = tuple(sorted({tracks[i].genre for i in first}))
    data = LightData(
        [tracks[i] for i in first] + [replace(tracks[i], genre="") for i in rest],
        known,
        library.embeddings[order],
        library.log_probabilities[order],
    )
    trainer = LightTrainer(library.base, data, config)
    held_out = trainer.hold_out()
    p = np.full((len(tracks), len(known)), np.nan)
    temperature = fit_temperature(held_out.raw, held_out.truth)
    p[rest] = apply_temperature(trainer.predict_others(), temperature)
    return known, predicted_of(library, known, p, trainer.prior)


def predicted_of(
    library: Library, genres: Sequence[str], probabilities: np.ndarray, prior: np.ndarray
) -> Predicted:
    """Return predictions of a library's tracks with what is known of these."""
    truth = [genres.index(t.genre) if t.genre in genres else -1 for t in library.tracks]
    artists = artist_numbers(np.array([track.artist for track in library.tracks]))
    return Predicted(library.name, probabilities, np.array(truth), artists, prior)


def half_of_each_artist(predicted: Predicted, seed: int) -> np.ndarray:
    """Draw half of each artist's tracks that have a genre, one more of an odd number."""
    rows = np.flatnonzero(predicted.truth >= 0)
    drawn = np.random.default_rng(seed).permutation(rows)
    by_artist = drawn[np.argsort(predicted.artists[drawn], kind="stable")]
    artists = predicted.artists[by_artist]
    place = np.arange(len(rows)) - np.searchsorted(artists, artists)
    result = np.zeros(len(predicted.truth), bool)
    result[by_artist[place % 2 == 0]] = True
    return result


def in_context(
    predicted: Predicted, tagged: np.ndarray, fold: np.ndarray, seed: int, *, fitted: bool
) -> dict[str, np.ndarray]:
    """Return predictions of a fold's tracks, by the sound and with each part of the context.

    Parameters
    ----------
    predicted : Predicted
    tagged, fold : np.ndarray [shape=(n_tracks,), dtype=bool]
        See `folds_of`.
    seed : int
    fitted : bool
        Whether the weight of predictions is fitted on tagged tracks, as it is for a model that was
        not trained on them; the usual one otherwise.
    """

    def combine(known: np.ndarray, *, genres: bool) -> np.ndarray:
        p, tags = predicted.probabilities, tags_of(predicted, known)
        pooling = fit_pooling(p[known], tags) if fitted else USUAL_POOLING
        context = ArtistContext.of(tags, p.shape[1], predicted.trained, pooling)
        return combined(predicted, known, p, context, predictions=True, genres=genres)

    first = half_of_each_artist(predicted, seed)
    second = (predicted.truth >= 0) & ~first
    half_tagged = combine(tagged | (fold & second), genres=True)
    half_tagged[second] = combine(tagged | (fold & first), genres=True)[second]
    return {
        ALONE: predicted.probabilities,
        PREDICTIONS: combine(tagged, genres=False),
        HALF_TAGGED: half_tagged,
    }


def predict(
    library: Library, genres: Sequence[str], share: float, seed: int
) -> dict[Case, np.ndarray]:
    """Predict every track that has a genre in every case, (n_tracks, n_genres)."""
    found: dict[Case, np.ndarray] = defaultdict(
        lambda: np.full((len(library.tracks), len(genres)), UNSEEN_GENRE)
    )
    base = predicted_of(
        library, genres, predict_by_base(library, genres), base_prior(library, genres)
    )
    for tagged, fold in folds_of(library.tracks, share, seed):
        by_model = {BASE: (tuple(genres), in_context(base, tagged, fold, seed, fitted=True))}
        for name, config in CONFIGS.items():
            known, predicted = predict_lightly(library, tagged, config)
            by_model[name] = known, in_context(predicted, tagged, fold, seed, fitted=False)
        for name, (known, parts) in by_model.items():
            columns = np.array([genres.index(genre) for genre in known])
            for part, p in parts.items():
                found[name, part][np.ix_(fold, columns)] = p[fold]
    return {case: p / p.sum(axis=1, keepdims=True) for case, p in found.items()}


def measure(library: Library) -> tuple[str, dict[float, dict[Case, Scored]]]:
    """Return what a library consists of, and by share of tagged artists the scores of each case."""
    library, genres = with_learnable_genres(library)
    rows = library.tagged
    artists = np.array([library.tracks[i].artist for i in rows])
    truth = np.array([genres.index(library.tracks[i].genre) for i in rows])
    found = {}
    for share in SHARES:
        seeds = [predict(library, genres, share, seed) for seed in range(SEEDS)]
        predicted = {case: np.stack([one[case][rows] for one in seeds]) for case in seeds[0]}
        found[share] = score(predicted, truth, artists, SCORES)
    counts = np.bincount(artist_numbers(artists))
    facts = f"{len(rows)} tracks, {count_artists(artists)} artists, {len(genres)} genres"
    several = counts[counts > 1].sum() / len(rows)
    return f"{library.name}: {facts}, {several:.0%} by artists with others", found


def light_cells(scores: Mapping[Case, Scored]) -> list[str]:
    """Return what light training gains as cells of a table."""
    base, light, other = (scores[name, ALONE] for name in (BASE, LIGHT, NOT_WHITENED))
    gained, without = light - base, other - light
    return [
        *(both(one) for one in (base, light)),
        *(signed(one[k]) for one in (gained, without) for k in range(len(SCORES))),
    ]


def context_cells(scores: Mapping[Case, Scored]) -> list[str]:
    """Return the scores of both models with each part of the context as cells of a table."""
    parts = (ALONE, PREDICTIONS, HALF_TAGGED)
    return [both(scores[name, part]) for name in (BASE, LIGHT) for part in parts]


def gains_cells(scores: Mapping[Case, Scored]) -> list[str]:
    """Return what each part of the context adds to both models as cells of a table."""
    return [
        signed((scores[name, part] - scores[name, ALONE])[k])
        for name in (BASE, LIGHT)
        for part in (PREDICTIONS, HALF_TAGGED)
        for k in range(len(SCORES))
    ]


def both(scored: Scored) -> str:
    """Return accuracy and log loss."""
    return f"{scored.values[0]:.3f} / {scored.values[1]:.3f}"


def signed(score: Score) -> str:
    """Return a difference with its interval."""
    return f"{score.value:+.3f} [{score.low:+.3f}, {score.high:+.3f}]"


@one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_data(parser)
    arguments = parser.parse_args()
    tables = {HEAD: light_cells, CONTEXT_HEAD: context_cells, GAINS_HEAD: gains_cells}
    rows: dict[tuple[str, ...], list[list[str]]] = {head: [] for head in tables}
    for library in libraries_of(gather_from(arguments, arguments.seed)):
        title, found = measure(library)
        for share, scores in found.items():
            for head, cells in tables.items():
                rows[head].append([title, f"{share:.0%}", *cells(scores)])
            title = library.name
    print("\n\n".join(markdown.table(*one) for one in rows.items()))


if __name__ == "__main__":
    main()
