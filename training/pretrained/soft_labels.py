"""Soft labels: genre probabilities of tracks, predicted from the teachers' features."""

from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from training.pretrained.linear_head import LinearHead
from training.pretrained.wccn import within_artists
from training.teachers.features import TEACHERS

PARTS = 5  # of the artists, each predicted by a classifier that was trained on the others


def predict_soft_labels(
    features: np.ndarray,
    genres: Sequence[int],
    n_genres: int,
    artists: Sequence[str],
    *,
    class_balance: float = 0.0,
    wccn: float = 0.0,
) -> np.ndarray:
    """Predict the genre of every track, labelled or not, by classifiers of other artists' tracks.

    Parameters
    ----------
    features : np.ndarray [shape=(n_tracks, n_features)]
        See `training.teachers.features.mean_over_tracks`; of training tracks only.
    genres : sequence of int
        Index of each track's genre, -1 where it has none.
    artists : sequence of str
    class_balance, wccn
        See `training.pretrained.linear_head.LinearHead.fit`; the spread within artists is that of
        the labelled tracks.

    Returns
    -------
    np.ndarray [shape=(n_tracks, n_genres), dtype=float32]
        Rows sum to 1.
    """
    from sklearn.model_selection import GroupKFold

    truth = np.array(genres)
    labelled = np.flatnonzero(truth >= 0)
    groups = np.array(artists)
    predicted = np.zeros((len(features), n_genres), np.float32)

    def predict(chosen: np.ndarray, train: np.ndarray) -> None:
        rows = features[train]
        head = fit_on_teachers(
            rows,
            truth[train],
            n_genres,
            class_balance=class_balance,
            wccn=wccn,
            spread=within_artists(rows, groups[train]),
        )
        possible = np.unique(truth[train])
        predicted[chosen] = 0
        logits = head.logits(features[chosen])[:, possible]
        predicted[np.ix_(chosen, possible)] = softmax(logits, axis=1)

    predict(np.arange(len(features)), labelled)
    parts = GroupKFold(min(PARTS, len(set(groups[labelled]))))
    for train, held_out in parts.split(labelled, groups=groups[labelled]):
        same_artists = np.isin(groups, groups[labelled[held_out]])
        predict(np.flatnonzero(same_artists), labelled[train])
    return predicted


def fit_on_teachers(
    rows: np.ndarray,
    genres: Sequence[int],
    n_genres: int,
    *,
    class_balance: float = 0.0,
    wccn: float = 0.0,
    spread: np.ndarray | None = None,
) -> LinearHead:
    """Fit a logistic regression on each teacher's features; their logits are averaged.

    Parameters
    ----------
    rows : np.ndarray [shape=(n_tracks, n_features)]
        See `training.teachers.features.mean_over_tracks`.
    genres : sequence of int
        Index of each track's genre.
    class_balance, wccn, spread
        See `training.pretrained.linear_head.LinearHead.fit`.
    """
    heads, begin = [], 0
    for teacher in TEACHERS:
        columns = slice(begin, begin := begin + teacher.n_features)
        heads.append(
            LinearHead.fit(
                rows[:, columns],
                genres,
                n_genres,
                teacher.regularisation,
                class_balance=class_balance,
                wccn=wccn,
                spread=None if spread is None else spread[columns, columns],
            )
        )
    weights = np.concatenate([head.weights for head in heads], axis=1) / len(heads)
    return LinearHead(weights, np.mean([head.bias for head in heads], axis=0))
