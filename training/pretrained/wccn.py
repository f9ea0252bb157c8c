"""Features that vary among the tracks of an artist as much in one direction as in another.

Within-class covariance normalisation (Hatch, Kajarekar and Stolcke, 2006), which tells speakers
apart whatever they say; here artists are the classes. What differs between tracks by the same
artist says little of a genre, and a regression upon such features leans on it the less.
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
        How much of what is whitened is that covariance; the rest is a variance that is its mean in
        every direction. From 0, where nothing changes but the size, to 1.
    """
    variances, directions = np.linalg.eigh(covariance)
    level = max(float(variances.mean()), 1e-12)
    scales = 1 / np.sqrt(share * variances.clip(min=1e-6 * level) + (1 - share) * level)
    found: np.ndarray = (directions * scales) @ directions.T
    return found
