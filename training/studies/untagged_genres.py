"""What light models make of music of a genre that nothing in the library is tagged with.

    python -m training.studies.untagged_genres --table collection.csv --unlabelled music --work work

takes the libraries of `training.studies.left_out`, each with a base model that has seen none of it,
and takes the tags of one genre after another away. Each of five folds of artists is predicted by a
light model that was trained on the others. Prints how many tracks of the genre without tags get
another one all the same, beside what is written to the other tracks.
"""

import argparse

import numpy as np

from agf_core.metrics import artist_resamples, count_artists
from training import markdown
from training.cli import one_line_errors
from training.pretrained.data import add_data, gather_from
from training.studies.left_out import Library, libraries_of
from training.studies.light_training import (
    CONFIGS,
    LIGHT,
    folds_of,
    predict_lightly,
    with_learnable_genres,
)

CONFIDENCE = 0.6  # the plugin's default
RESAMPLES = 1_000
HEAD = (
    "library",
    "tracks",
    "artists",
    "written",
    "right of these",
    "written with its genre untagged",
)


def measure(library: Library) -> list[np.ndarray]:
    """Predict every tagged track with all genres tagged, and with its own genre untagged.

    Returns
    -------
    list of np.ndarray [shape=(n_tagged,)]
        Artists; whether a genre was written, whether it was right, and whether one was written with
        the track's own genre untagged.
    """
    library, genres = with_learnable_genres(library)
    tracks = library.tracks
    truth = np.array([track.genre for track in tracks])
    written, right, wrongly = np.zeros((3, len(tracks)), bool)
    for tagged, fold in folds_of(tracks, 1.0, seed=0):
        for untagged in ("", *genres):
            known, predicted = predict_lightly(
                library, tagged & (truth != untagged), CONFIGS[LIGHT]
            )
            sure = predicted.probabilities.max(axis=1) >= CONFIDENCE
            if untagged:
                rows = fold & (truth == untagged)
                wrongly[rows] = sure[rows]
            else:
                written[fold] = sure[fold]
                best = np.array(known)[predicted.probabilities[fold].argmax(axis=1)]
                right[fold] = best == truth[fold]
    rows = library.tagged
    artists = np.array([tracks[i].artist for i in rows])
    return [artists, written[rows], right[rows], wrongly[rows]]


def cells(
    artists: np.ndarray, written: np.ndarray, right: np.ndarray, wrongly: np.ndarray
) -> list[str]:
    """Return a row of the table, with intervals by resampling artists."""
    every = np.arange(len(artists))
    draws = [every, *artist_resamples(artists, RESAMPLES, seed=0)]
    shares = np.array(
        [
            (
                written[i].mean(),
                right[i][written[i]].mean() if written[i].any() else np.nan,
                wrongly[i].mean(),
            )
            for i in draws
        ]
    )
    low, high = np.nanpercentile(shares[1:], [2.5, 97.5], axis=0)
    numbers = zip(shares[0], low, high, strict=True)
    counts = [str(len(artists)), str(count_artists(artists))]
    return counts + [f"{value:.2f} [{a:.2f}, {b:.2f}]" for value, a, b in numbers]


@one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_data(parser)
    arguments = parser.parse_args()
    libraries = libraries_of(gather_from(arguments, arguments.seed))
    print(markdown.table(HEAD, [[one.name, *cells(*measure(one))] for one in libraries]))


if __name__ == "__main__":
    main()
