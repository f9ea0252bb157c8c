"""Find the tags of a collection that are probably wrong.

Every track is predicted by models that have not seen its artist, so that a wrong tag cannot vouch
for itself: by heads that are cross-fitted over the collection's artists (`LightTrainer`), by the
base model, and by the tags of the artist's other tracks. Which predictions count as confident is
estimated for each genre by itself, since a model is surer of some genres than of others: that is
confident learning (Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in
Dataset Labels", Journal of Artificial Intelligence Research 70, 2021).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from agf_core.bundle import format as bundle_format
from agf_core.calibration import apply_temperature
from agf_core.data.genre_names import fold_genre_name, namesakes
from agf_core.data.sampling import at_most, learnable_genres
from agf_core.data.splits import artist_folds
from agf_core.data.tracks import Track, genre_targets
from agf_core.finetune.held_out import map_to_genres
from agf_core.finetune.light import LightConfig, LightData, LightTrainer, fit_temperature
from agf_core.metrics import SMALLEST_PROBABILITY

CONFIG = LightConfig(strengths=(1000.0, 100.0, 10.0))  # few, for speed
FEWEST_ARTISTS = 5  # with tags, for cross-fitting
FEWEST_OF_ARTIST = 2  # tracks, to check an artist as a whole
MOST_OF_AN_ALBUM, MOST_IN_ALL = 4, 10_000  # tracks that a head is trained on
EQUAL_SHARES = 100  # tagged tracks with which a head counts as much as the base model
PRIOR_TRACKS = 5.0  # of a class, in its threshold
ROUNDING = 1e-6  # by which a probability may miss its threshold


@dataclass(frozen=True, eq=False)
class LabelIssues:
    """Labels that are probably wrong.

    Attributes
    ----------
    margins : np.ndarray [shape=(n_tracks,)]
        Probability of the label less that of the best other class, from -1 to 1.
    best_other : np.ndarray [shape=(n_tracks,), dtype=int]
        The class that is most probable among those that the track does not have.
    wrong : np.ndarray [dtype=int]
        Indices of the tracks whose label is probably wrong, the worst first.
    """

    margins: np.ndarray
    best_other: np.ndarray
    wrong: np.ndarray


@dataclass(frozen=True, eq=False)
class ArtistIssues:
    """Artists whose common label is probably wrong.

    Attributes
    ----------
    artists : list of str
        All with enough tracks, most of which have one label.
    labels : np.ndarray [shape=(n_artists,), dtype=int]
        The label that most tracks of each have.
    probabilities : np.ndarray [shape=(n_artists, n_classes)]
        Means over their tracks.
    issues : LabelIssues
        Of the artists.
    """

    artists: list[str]
    labels: np.ndarray
    probabilities: np.ndarray
    issues: LabelIssues


@dataclass(frozen=True, eq=False)
class SoundPredictions:
    """Predictions for a collection's tracks, from their sound.

    Attributes
    ----------
    genres : tuple of str
        Those of the tracks that can be trained on, or that the base model knows.
    probabilities : np.ndarray [shape=(n_tracks, n_genres)]
    n_trained : int
        Tracks that the cross-fitted heads were trained on, all folds together; 0 where the
        collection is too small: then the base model predicts alone.
    """

    genres: tuple[str, ...]
    probabilities: np.ndarray
    n_trained: int


def class_thresholds(
    probabilities: np.ndarray, labels: np.ndarray, prior_tracks: float = PRIOR_TRACKS
) -> np.ndarray:
    """Return the mean probability of each class among the tracks that have its label.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_tracks, n_classes)]
    labels : np.ndarray [shape=(n_tracks,), dtype=int]
    prior_tracks : float
        Tracks that the mean probability of all labels counts as: few tracks of a class, which may
        be wrong ones, determine it badly.

    Returns
    -------
    np.ndarray [shape=(n_classes,)]
    """
    n_classes = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    count = np.bincount(labels, minlength=n_classes) + prior_tracks
    total = np.bincount(labels, weights=own, minlength=n_classes) + prior_tracks * own.mean()
    result: np.ndarray = np.where(count > 0, total / np.where(count > 0, count, 1), own.mean())
    return result


def find_label_issues(
    probabilities: np.ndarray,
    labels: np.ndarray,
    further: np.ndarray | None = None,
    prior_tracks: float = PRIOR_TRACKS,
) -> LabelIssues:
    """Find the labels that are probably wrong, by confident learning.

    As many labels are probably wrong as tracks are confidently predicted as another class; they are
    those with the lowest margins.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_tracks, n_classes)]
        Of models that were not trained on the track.
    labels : np.ndarray [shape=(n_tracks,), dtype=int]
    further : np.ndarray [shape=(n_tracks, n_classes), dtype=bool], optional
        Other classes that a track has as well: a track that is predicted as one is not wrong.
    prior_tracks : float
        See `class_thresholds`.
    """
    rows = np.arange(len(labels))
    if not len(rows):
        return LabelIssues(np.zeros(0), rows, rows)
    sure = probabilities >= class_thresholds(probabilities, labels, prior_tracks) - ROUNDING
    guess = np.where(sure, probabilities, -1).argmax(axis=1)
    predicted = probabilities.argmax(axis=1)
    has = np.zeros(probabilities.shape, bool) if further is None else further.copy()
    has[rows, labels] = True
    own = probabilities[rows, labels]
    others = np.where(has, -1.0, probabilities)
    margins = own - others.max(axis=1)
    agrees = has[rows, predicted]
    n_wrong = int((sure.any(axis=1) & ~has[rows, guess] & ~agrees).sum())
    order = np.argsort(np.where(agrees, np.inf, margins), kind="stable")
    return LabelIssues(margins, others.argmax(axis=1), order[:n_wrong])


def find_artist_issues(
    probabilities: np.ndarray, labels: np.ndarray, artists: Sequence[str]
) -> ArtistIssues:
    """Find the artists whose common label is probably wrong, by the mean over their tracks.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_tracks, n_classes)]
        By the sound alone: all of an artist's tracks may be wrong.
    labels : np.ndarray [shape=(n_tracks,), dtype=int]
    artists : sequence of str
        Those with a single track, or without a label that most of their tracks have, are left out.
    """
    tracks: dict[str, list[int]] = defaultdict(list)
    for i, artist in enumerate(artists):
        tracks[artist].append(i)
    those, common = [], []
    for artist, its in tracks.items():
        counts = np.bincount(labels[its])
        if len(its) >= FEWEST_OF_ARTIST and 2 * counts.max() > len(its):
            those.append(artist)
            common.append(int(counts.argmax()))
    shape = (len(those), probabilities.shape[1])
    means = np.array([probabilities[tracks[artist]].mean(axis=0) for artist in those])
    issues = find_label_issues(means.reshape(shape), np.array(common, int))
    return ArtistIssues(those, np.array(common, int), means, issues)


def predict_by_sound(
    base: bundle_format.Bundle,
    tracks: Sequence[Track],
    embeddings: np.ndarray,
    log_probabilities: np.ndarray,
    *,
    min_tracks: int,
    trusted: np.ndarray | None = None,
    counterparts: Mapping[str, str] | None = None,
) -> SoundPredictions:
    """Predict every track by heads that have not seen its artist, and by the base model.

    Parameters
    ----------
    base : bundle.Bundle
    tracks : sequence of Track
        Those without a genre count for their artists alone.
    embeddings : np.ndarray [shape=(n_tracks, n_embedding), dtype=float16]
    log_probabilities : np.ndarray [shape=(n_tracks, n_base)]
        Of the base model.
    min_tracks : int
        Of a genre, below which it cannot be trained on.
    trusted : np.ndarray [shape=(n_tracks,), dtype=bool], optional
        Tracks whose genre is trained on; all by default.
    counterparts : mapping, optional
        What a label of the base model is called in this collection, where the names differ.
    """
    use = [i for i, t in enumerate(tracks) if t.genre and (trusted is None or trusted[i])]
    learnable, _ = learnable_genres([tracks[i] for i in use], min_tracks)
    chosen = [replace(tracks[i], track_id=str(i)) for i in use if tracks[i].genre in learnable]
    trained = at_most(chosen, MOST_OF_AN_ALBUM, MOST_IN_ALL)
    if len(learnable) < 2 or len({track.artist for track in trained}) < FEWEST_ARTISTS:
        trained, learnable = [], ()
    labels = [(counterparts or {}).get(label, label) for label in base.metadata.labels]
    genres = _classes(tracks, learnable, labels)
    order = [int(track.track_id) for track in trained]
    order += sorted(set(range(len(tracks))).difference(order))
    ordered = [*trained, *(replace(tracks[i], genre="") for i in order[len(trained) :])]
    logs = log_probabilities[order]
    folds = _folds(ordered, len(trained))
    mixed = _of_base(np.exp(logs.astype(np.float64)), trained, folds, labels, genres)
    if trained:
        data = LightData(ordered, learnable, embeddings[order], logs)
        of_heads = _of_heads(LightTrainer(base, data, CONFIG, counterparts=counterparts), folds)
        # A head knows nothing of genres that it could not be trained on.
        rare = np.array([tracks[i].genre not in ("", *learnable) for i in order])
        share = np.where(rare, 0.0, len(trained) / (len(trained) + EQUAL_SHARES))[:, None]
        mixed *= 1 - share
        mixed[:, [genres.index(genre) for genre in learnable]] += share * of_heads
    probabilities = np.empty_like(mixed)
    probabilities[order] = mixed
    return SoundPredictions(genres, probabilities, len(trained))


def _classes(
    tracks: Sequence[Track], learnable: Sequence[str], labels: Sequence[str]
) -> tuple[str, ...]:
    """Return the genres of tracks that can be trained on, or that the base model knows.

    Where these are fewer than two, they are all that the base model knows.
    """
    present = {fold_genre_name(track.genre) for track in tracks}
    known = [label for label in labels if fold_genre_name(label) in present]
    for extra in (known, labels):
        classes = {fold_genre_name(genre): genre for genre in [*extra, *learnable]}
        if len(classes) > 1:
            break
    return tuple(classes.values())


def _folds(tracks: Sequence[Track], n_trained: int) -> np.ndarray:
    """Return the fold of the artist of each track; -1 of those that are not trained on."""
    folds = artist_folds(tracks[:n_trained], CONFIG.folds)
    of_artist = {track.artist: fold for track, fold in zip(tracks, folds.tolist(), strict=False)}
    return np.array([of_artist.get(track.artist, -1) for track in tracks], int)


def _of_base(
    known: np.ndarray,
    trained: Sequence[Track],
    folds: np.ndarray,
    labels: Sequence[str],
    genres: tuple[str, ...],
) -> np.ndarray:
    """Translate what the base model predicts into genres, (n_tracks, n_genres).

    How labels without a namesake are translated is estimated without the track's fold.
    """
    if not trained:
        columns = namesakes(labels, genres)
        own = np.maximum(
            known[:, [column for column in columns if column is not None]], SMALLEST_PROBABILITY
        )
        result: np.ndarray = own / own.sum(axis=1, keepdims=True)
        return result
    n_trained = len(trained)
    targets, result = genre_targets(trained, genres), np.empty((len(known), len(genres)))
    for fold in np.unique(folds):
        test, train = folds == fold, folds[:n_trained] != fold
        result[test] = map_to_genres(
            known[test], known[:n_trained][train], targets[train], labels, genres
        )
    return result


def _of_heads(trainer: LightTrainer, folds: np.ndarray) -> np.ndarray:
    """Predict every track by a head that was trained without its fold, (n_tracks, n_genres)."""
    held_out = trainer.hold_out()
    n_tagged = trainer.data.n_tagged
    result = np.empty((len(folds), len(trainer.data.genres)))
    result[held_out.tracks] = held_out.fine_tuned
    temperature = fit_temperature(held_out.raw, held_out.truth)
    for fold in np.unique(folds[n_tagged:]):
        others = np.flatnonzero(folds[n_tagged:] == fold)
        raw = trainer.predict_others(others, without_fold=fold)
        result[n_tagged + others] = apply_temperature(raw, temperature)
    return result
