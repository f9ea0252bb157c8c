"""How well features predict moods: the quadrants of arousal and valence of the clips of MULT_TP2.

    python -m training.studies.mood --table collection.csv --unlabelled music --work work

takes the quadrants that the publishers assigned, which are the names of the clips' folders, Q1 to
Q4. A logistic regression on the embedding of a model that has not seen the clips, and one on
musicnn's layer before the last, predict them by five folds of artists. Prints the table of
``docs/results/similar.md``: the share that is right, with intervals from resampled artists.
"""

import argparse
from collections.abc import Sequence

import numpy as np

from agf_core.data.splits import artist_folds
from agf_core.data.tracks import Track
from agf_core.errors import CorpusError
from agf_core.metrics import artist_resamples, count_artists
from training import markdown
from training.cli import one_line_errors
from training.pretrained.data import add_data, gather_from
from training.statistics import RESAMPLES, Scored
from training.studies.left_out import libraries_of
from training.studies.neighbours import mean_of_musicnn

QUADRANTS = ("Q1", "Q2", "Q3", "Q4")
AROUSED, PLEASANT = ("Q1", "Q2"), ("Q1", "Q4")
SCORES = ("quadrant", "arousal", "valence")
FOLDS = 5
STRENGTH = 0.01  # inverse of the regularisation of standardised features


def predict_quadrants(
    features: np.ndarray, quadrants: np.ndarray, tracks: Sequence[Track]
) -> np.ndarray:
    """Predict the quadrant of every track by regression on the artists of the other folds."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds, predicted = artist_folds(tracks, FOLDS), quadrants.copy()
    for fold in np.unique(folds):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=1_000))
        model.fit(features[folds != fold], quadrants[folds != fold])
        predicted[folds == fold] = model.predict(features[folds == fold])
    return predicted


def score_quadrants(
    predicted: np.ndarray, quadrants: np.ndarray, tracks: Sequence[Track]
) -> Scored:
    """Return the shares of right quadrants, and of right halves of arousal and of valence."""
    right = np.stack(
        [
            predicted == quadrants,
            np.isin(predicted, AROUSED) == np.isin(quadrants, AROUSED),
            np.isin(predicted, PLEASANT) == np.isin(quadrants, PLEASANT),
        ],
        axis=1,
    )
    artists = np.array([track.artist for track in tracks])
    drawn = [right[rows].mean(axis=0) for rows in artist_resamples(artists, RESAMPLES, seed=0)]
    return Scored(right.mean(axis=0), np.stack(drawn))


@one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_data(parser)
    arguments = parser.parse_args()
    (library,) = libraries_of(gather_from(arguments, arguments.seed), ["MULT_TP2"])
    quadrants = np.array([track.path.parent.name for track in library.tracks])
    if odd := set(quadrants) - set(QUADRANTS):
        raise CorpusError(f"clips of MULT_TP2 are in the folder {min(odd)}, not in Q1 to Q4")
    features = {
        "our model, collection left out": library.embeddings.astype(np.float32),
        "musicnn": np.stack([mean_of_musicnn(one) for one in library.windows]),
    }
    rows = []
    for name, values in features.items():
        predicted = predict_quadrants(values, quadrants, library.tracks)
        scored = score_quadrants(predicted, quadrants, library.tracks)
        rows.append([name, *(str(scored[k]) for k in range(len(SCORES)))])
    n_artists = count_artists(track.artist for track in library.tracks)
    print(f"{len(library.tracks)} clips by {n_artists} artists\n")
    print(markdown.table(["features", *SCORES], rows))


if __name__ == "__main__":
    main()
