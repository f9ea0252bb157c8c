"""Compare a fine-tuned model with its base model on unseen artists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agf_core import metrics
from agf_core.metrics import Score

FINE_TUNED = "this model"  # its name in a report
RESAMPLES = 1_000
CONFIDENCES = np.arange(20) / 20  # the steps of `by_confidence`
SURE_ENOUGH = 0.9  # share of resamples in which a better model must win


@dataclass(frozen=True)
class Comparison:
    """Difference in accuracy between two models on the same tracks.

    Attributes
    ----------
    tracks, artists : int
    difference : Score
        In accuracy; above 0 where the first model is better.
    better_in : float
        Share of resamples of artists in which the first model is more accurate.
    """

    tracks: int
    artists: int
    difference: Score
    better_in: float

    @property
    def better(self) -> bool:
        """Whether the first model is better, in at least nine of ten resamples."""
        return self.difference.value > 0 and self.better_in >= SURE_ENOUGH


def compare(
    first: np.ndarray, second: np.ndarray, truth: np.ndarray, artists: np.ndarray
) -> Comparison:
    """Compare two models track by track; resamples are of whole artists.

    Parameters
    ----------
    first, second : np.ndarray [shape=(n_tracks, n_genres)]
        Probabilities.
    truth : np.ndarray [shape=(n_tracks,), dtype=int]
    artists : np.ndarray [shape=(n_tracks,)]
        Any values that identify artists.
    """
    right = [(p.argmax(axis=1) == truth).astype(float) for p in (first, second)]
    gain = right[0] - right[1]
    drawn = np.array(
        [gain[tracks].mean() for tracks in metrics.artist_resamples(artists, RESAMPLES, seed=0)]
    )
    difference = Score.of(float(gain.mean()), drawn)
    return Comparison(
        len(truth), metrics.count_artists(artists), difference, float((drawn > 0).mean())
    )


def score_sheet(
    genres: Sequence[str],
    truth: np.ndarray,
    artists: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    chosen: str,
) -> dict[str, Any]:
    """Return all scores as JSON can hold them.

    Parameters
    ----------
    predictions : mapping of np.ndarray [shape=(n_tracks, n_genres)]
        Probabilities, by the name of the model in the report.
    chosen : str
        The model whose scores per genre and confusion matrix are returned.

    Returns
    -------
    dict
        ``tracks``, ``artists``; ``overall``: per model and score its value and interval;
        ``by_confidence``: see `by_confidence`;
        ``genres``: precision (None where never predicted), recall, tracks and artists of each;
        ``confusion``: a row for each true genre, in the order of `genres`.
    """
    best = predictions[chosen].argmax(axis=1)
    confusion = np.zeros((len(genres), len(genres)), int)
    np.add.at(confusion, (truth, best), 1)
    predicted, tagged = confusion.sum(axis=0), confusion.sum(axis=1)
    return {
        "tracks": len(truth),
        "artists": metrics.count_artists(artists),
        "overall": {
            name: {
                score: _rounded(value)
                for score, value in metrics.evaluate(p, truth, artists).items()
            }
            for name, p in predictions.items()
        },
        "by_confidence": by_confidence(predictions[chosen], truth),
        "genres": {
            genre: {
                "precision": round(confusion[g, g] / predicted[g], 3) if predicted[g] else None,
                "recall": round(confusion[g, g] / tagged[g], 3) if tagged[g] else None,
                "tracks": int(tagged[g]),
                "artists": metrics.count_artists(artists[truth == g]),
            }
            for g, genre in enumerate(genres)
        },
        "confusion": confusion.tolist(),
    }


def by_confidence(probabilities: np.ndarray, truth: np.ndarray) -> dict[str, dict[str, Any]]:
    """Return the accuracy above each least confidence, as JSON can hold it.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_tracks, n_genres)]
    truth : np.ndarray [shape=(n_tracks,), dtype=int]

    Returns
    -------
    dict
        By the least confidence, such as ``0.60``: the ``share_of_tracks`` with it or more, and the
        share of these that is ``right``, None if there are none.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    rows = {}
    for least in CONFIDENCES:
        sure = confidence >= least
        rows[f"{least:.2f}"] = {
            "share_of_tracks": round(float(sure.mean()), 3),
            "right": round(float(right[sure].mean()), 3) if sure.any() else None,
        }
    return rows


def _rounded(score: Score) -> list[float]:
    return [round(x, 4) for x in (score.value, score.low, score.high)]
