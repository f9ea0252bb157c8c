"""What classifiers upon the teachers' features think of tracks: soft targets, beside labels."""

from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from training.pretrained.linear_head import DirectPath
from training.pretrained.wccn import within_artists
from training.teachers.features import TEACHERS

PARTS = 5  # classifiers, each of which leaves some artists to be judged


def opinions(
    features: np.ndarray,
    genres: Sequence[int],
    n_genres: int,
    artists: Sequence[str],
    *,
    balanced: float = 0.0,
    whitened: float = 0.0,
) -> np.ndarray:
    """Return what is thought of every track, whatever its label says.

    Each is judged by a classifier that has learnt from other artists alone, of five.

    Parameters
    ----------
    features : np.ndarray [shape=(n_tracks, n_features)]
        See `training.teachers.features.over_tracks`; of training tracks only.
    genres : sequence of int
        Index of each track's genre, -1 where it has none.
    artists : sequence of str
    balanced, whitened
        See `training.pretrained.linear_head.DirectPath.learn`; the spread within artists is that
        of the tracks whose genre is known.

    Returns
    -------
    np.ndarray [shape=(n_tracks, n_genres), dtype=float32]
    """
    from sklearn.model_selection import GroupKFold

    truth = np.array(genres)
    known = truth >= 0
    groups = np.array(artists)
    said = np.zeros((len(features), n_genres), np.float32)

    def judge(asked: np.ndarray, training_prior: np.ndarray) -> None:
        rows = features[training_prior]
        path = upon_teachers(
            rows,
            truth[training_prior],
            n_genres,
            balanced=balanced,
            whitened=whitened,
            spread=within_artists(rows, groups[training_prior]),
        )
        possible = np.unique(truth[training_prior])
        said[asked] = 0
        said[np.ix_(asked, possible)] = softmax(path.logits(features[asked])[:, possible], axis=1)

    judge(np.arange(len(features)), np.flatnonzero(known))
    places = np.flatnonzero(known)
    parts = GroupKFold(min(PARTS, len(set(groups[known]))))
    for training_prior, asked in parts.split(places, groups=groups[known]):
        theirs = np.isin(groups, groups[places[asked]])
        judge(np.flatnonzero(theirs), places[training_prior])
    return said


def upon_teachers(
    rows: np.ndarray,
    genres: Sequence[int],
    n_genres: int,
    *,
    balanced: float = 0.0,
    whitened: float = 0.0,
    spread: np.ndarray | None = None,
) -> DirectPath:
    """Fit a logistic regression upon each teacher's features; their logits are averaged.

    Parameters
    ----------
    rows : np.ndarray [shape=(n_tracks, n_features)]
        See `training.teachers.features.over_tracks`.
    genres : sequence of int
        Index of each track's genre.
    balanced, whitened, spread
        See `training.pretrained.linear_head.DirectPath.learn`.
    """
    paths, begin = [], 0
    for teacher in TEACHERS:
        mine = slice(begin, begin := begin + teacher.n_features)
        path = DirectPath.learn(
            rows[:, mine],
            genres,
            n_genres,
            teacher.regularisation,
            balanced=balanced,
            whitened=whitened,
            spread=None if spread is None else spread[mine, mine],
        )
        paths.append(path)
    weights = np.concatenate([path.weights for path in paths], axis=1) / len(paths)
    return DirectPath(weights, np.mean([path.bias for path in paths], axis=0))
