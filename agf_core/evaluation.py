"""How good a personal model is on artists it has not met, beside what was there before."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agf_core import metrics
from agf_core.metrics import Score

PERSONAL = "this model"  # what a report calls it
RESAMPLES = 1_000
LARGEST_PICTURE = 5_000  # pixels, in which the names of a hundred genres can still be read
CONFIDENCES = np.arange(20) / 20  # the steps of `by_confidence`
SURE_ENOUGH = 0.9  # share of resamples in which a model must be better to count as better


@dataclass(frozen=True)
class Comparison:
    """How much more often one model is right than another, on the same tracks.

    Attributes
    ----------
    tracks, artists : int
    difference : Score
        In accuracy; above 0 where the first is better.
    better_in : float
        Share of resamples of artists in which the first is right more often.
    """

    tracks: int
    artists: int
    difference: Score
    better_in: float

    @property
    def better(self) -> bool:
        """Whether the first model is the better one, in nine of ten resamples or more."""
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
        Any values that tell artists apart.
    """
    right = [(p.argmax(axis=1) == truth).astype(float) for p in (first, second)]
    gain = right[0] - right[1]
    drawn = np.array(
        [gain[tracks].mean() for tracks in metrics.artist_resamples(artists, RESAMPLES, seed=0)]
    )
    difference = Score.of(float(gain.mean()), drawn)
    return Comparison(len(truth), len(set(artists)), difference, float((drawn > 0).mean()))


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
        Probabilities, by what the report calls them.
    chosen : str
        Whose scores per genre and confusions are wanted.

    Returns
    -------
    dict
        ``tracks``, ``artists``; ``overall``: per model and score its value and interval;
        ``by_confidence``: see `by_confidence`;
        ``genres``: precision (None where it was never said), recall, tracks and artists of each;
        ``confusion``: a row for each true genre, in the order of `genres`.
    """
    best = predictions[chosen].argmax(axis=1)
    confusion = np.zeros((len(genres), len(genres)), int)
    np.add.at(confusion, (truth, best), 1)
    said, there = confusion.sum(axis=0), confusion.sum(axis=1)
    return {
        "tracks": len(truth),
        "artists": len(set(artists)),
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
                "precision": round(confusion[g, g] / said[g], 3) if said[g] else None,
                "recall": round(confusion[g, g] / there[g], 3) if there[g] else None,
                "tracks": int(there[g]),
                "artists": len(set(artists[truth == g])),
            }
            for g, genre in enumerate(genres)
        },
        "confusion": confusion.tolist(),
    }


def by_confidence(probabilities: np.ndarray, truth: np.ndarray) -> dict[str, dict[str, Any]]:
    """Return what leaving unsure tracks alone buys, as JSON can hold it.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_tracks, n_genres)]
    truth : np.ndarray [shape=(n_tracks,), dtype=int]

    Returns
    -------
    dict
        By the least confidence, as ``0.60``: ``share_of_tracks`` that have it, and what share of
        these is ``right``, None if there are none.
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


def draw_confusion(path: Path, genres: Sequence[str], confusion: Sequence[Sequence[int]]) -> None:
    """Draw which genres are taken for which, as a PNG.

    Parameters
    ----------
    confusion : sequence [shape=(n_genres, n_genres)]
        Tracks: a row for each true genre, a column for each that was said.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = np.array(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.5 + 0.45 * len(genres)  # inches
    resolution = min(100, LARGEST_PICTURE / side)
    figure = Figure(figsize=(side, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    # Names are the user's own: a dollar sign in one must not begin a formula.
    names = [genre.replace("$", r"\$") for genre in genres]
    axes.set_xticks(range(len(genres)), names, rotation=90)
    axes.set_yticks(range(len(genres)), names)
    axes.set_xlabel("heard")
    axes.set_ylabel("tagged")
    for row, column in np.argwhere(counts):
        dark = shares[row, column] > 0.5
        text = str(counts[row, column])
        axes.text(column, row, text, ha="center", va="center", color="white" if dark else "black")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # signs that the font lacks are drawn as boxes
        figure.savefig(path, format="png", dpi=resolution)
