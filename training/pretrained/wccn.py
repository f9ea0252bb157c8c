"""Whitening of features by their covariance within artists.

Within-class covariance normalisation (Hatch, Kajarekar and Stolcke, 2006), made to recognise
speakers; here artists are the classes. Directions in which the tracks of one artist differ have
little to do with genre, and get less weight in a regression on such features.
"""

from collections.abc import Sequence

import numpy as np


def within_artists(rows: np.ndarray, artists: Sequence[str]) -> np.ndarray:
    """Return the covariance of features about the mean of each artist's tracks.

    Parameters
    ----------
    rows : np.ndarray [shape=(n_tracks, n_features)]
    artists : sequence of str

    Returns
    -------
    np.ndarray [shape=(n_features, n_features)]
        That of all tracks where no artist has two.
    """
    _, of = np.unique(np.array(artists), return_inverse=True)
    counts = np.bincount(of)
    if counts.max() < 2:
        return np.cov(rows, rowvar=False, ddof=0)
    means = np.zeros((len(counts), rows.shape[1]))
    np.add.at(means, of, rows)
    rest = rows - (means / counts[:, None])[of]
    covariance: np.ndarray = rest.T @ rest / (len(rows) - len(counts))
    return covariance


def whitening(covariance: np.ndarray, share: float) -> np.ndarray:
    """Return the symmetric matrix that rows are multiplied by.

    Parameters
    ----------
    covariance : np.ndarray [shape=(n_features, n_features)]
    share : float
        Weight of that covariance in the one that is whitened by; the rest is its mean variance in
        every direction. From 0, where nothing changes but the scale, to 1.
    """
    variances, directions = np.linalg.eigh(covariance)
    level = max(float(variances.mean()), 1e-12)
    scales = 1 / np.sqrt(share * variances.clip(min=1e-6 * level) + (1 - share) * level)
    found: np.ndarray = (directions * scales) @ directions.T
    return found
