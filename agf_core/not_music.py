"""Whether a model found music in a track at all.

The pretrained network scales its genre logits by AudioSet's class Music, so that all genres are
about as probable for speech, noise and tones. They get the highest entropy: .98 of the largest
possible one or more, where the most of 2,078 tracks of music was .90.
"""

import numpy as np

FLATTEST_MUSIC = 0.93  # entropy, as a share of the largest possible one
FEWEST_GENRES = 10  # of a model, for that share to tell anything
SMALLEST_PROBABILITY = 1e-12


def is_not_music(probabilities: np.ndarray) -> np.ndarray:
    """Return whether no music was found, (...,), dtype=bool.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(..., n_genres)]
        By a model alone, calibrated; with fewer than ten genres only equal ones count.
    """
    n_genres = probabilities.shape[-1]
    if n_genres < FEWEST_GENRES:
        equal: np.ndarray = np.ptp(probabilities, axis=-1) < 1e-6
        return equal
    logs = np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))
    result: np.ndarray = -(probabilities * logs).sum(axis=-1) > FLATTEST_MUSIC * np.log(n_genres)
    return result
