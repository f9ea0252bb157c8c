"""Leave one collection out: how good a model is on unseen music.

A collection leaks where it comes from, by bandwidth, loudness and choice of artists, and a model
fits to that; cross-validation inside one collection therefore promises too much. So each collection
is predicted by a network and a head that were trained on none of its tracks and artists, and the
mean over collections is what decides.

    python -m training.pretrained.evaluate --table collection.csv --work work --bundle MODEL

scores what needs no training: a finished model, and the teachers' own classes by the ontology.
`training.pretrained.release` scores what ships, by the same table.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from tqdm import tqdm

from agf_core import calibration, metrics
from agf_core.bundle import format as bundle_format
from agf_core.data.tracks import Track, genre_targets
from agf_core.evaluation import by_confidence
from agf_core.features.cache import FeatureCache
from agf_core.inference.tagger import GenreTagger
from training.cli import add_collection, one_line_errors
from training.datasets.collection import read_csv
from training.pretrained.genre_head import evidence, fit_head, track_weights
from training.pretrained.ontology import TEACHERS, Ontology, read_ontology
from training.teachers.windows import excerpt_of

FEWEST_LABELLED = 15  # labelled tracks of a collection that is scored
TARGET_RIGHT = 0.85
TEMPERATURES = np.geomspace(0.5, 4.0, 61)  # to choose from


HEADLINE = (
    "Jan-Spalding/music",
    "Emiltayeb/Telem-music",
    "Thumbsy/ThumbsySimfiles",
    "emerixx/music_player_cli",
    "karamlyy/karamlyy_music_player",
    "nikolassc/Guess-the-song-Android-App",
)
"""The larger collections of songs.csv, over whose mean the model is chosen."""


def truth_of(tracks: Sequence[Track], genres: Sequence[str]) -> np.ndarray:
    """Return the index of each track's genre, -1 where it has none of `genres`."""
    place = {genre: i for i, genre in enumerate(genres)}
    return np.array([place.get(track.genre, -1) for track in tracks])


def scored_collections(tracks: Sequence[Track], genres: Sequence[str]) -> list[str]:
    """Return the collections with enough labelled tracks, largest first."""
    known = set(genres)
    counts = Counter(track.source for track in tracks if track.genre in known)
    return [name for name, n in counts.most_common() if n >= FEWEST_LABELLED]


def leave_out(tracks: Sequence[Track], collection: str, targets: np.ndarray) -> np.ndarray:
    """Return which tracks to fit on, for a test on a collection.

    Parameters
    ----------
    targets : np.ndarray [shape=(n_tracks, n_genres)]
        NaN where a track has no genre.

    Returns
    -------
    np.ndarray [dtype=int]
        Labelled tracks of the other collections, by none of this one's artists.
    """
    artists = {track.artist for track in tracks if track.source == collection} - {""}
    return np.array(
        [
            i
            for i, track in enumerate(tracks)
            if track.source != collection
            and track.artist not in artists
            and np.isfinite(targets[i]).all()
        ]
    )


def leave_one_collection_out(
    tracks: Sequence[Track],
    genres: Sequence[str],
    evidence_for: Callable[[str], np.ndarray],
    collections: Sequence[str],
) -> np.ndarray:
    """Predict each collection by a head fitted on the others.

    Parameters
    ----------
    evidence_for : callable
        Returns the evidence of all tracks, (n_tracks, n_teachers, n_genres), by a network that was
        not trained on a collection.

    Returns
    -------
    np.ndarray [shape=(n_tracks, n_genres)]
        Logits; NaN for tracks of no such collection.
    """
    targets = genre_targets(tracks, genres, weighted=True)
    logits = np.full((len(tracks), len(genres)), np.nan)
    for collection in collections:
        rows, train = evidence_for(collection), leave_out(tracks, collection, targets)
        counts = track_weights([tracks[i] for i in train], targets[train])
        numbers = fit_head(rows[train], targets[train], counts)
        test = [i for i, track in enumerate(tracks) if track.source == collection]
        logits[test] = numbers.logits(rows[test])
    return logits


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities of logits, (n, n_genres)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return result


def calibrate_by_collection(
    logits: np.ndarray,
    tracks: Sequence[Track],
    genres: Sequence[str],
    collections: Sequence[str],
    confidence: float,
) -> tuple[np.ndarray, float]:
    """Fit a temperature for each collection on the others, and one on all of them.

    It is that of the least log loss, every collection counting alike, or a higher one: the least at
    which `TARGET_RIGHT` of what is written is right, averaged over the collections but for the
    quarter with the lowest share and the quarter with the highest.

    Parameters
    ----------
    logits : np.ndarray [shape=(n_tracks, n_genres)]
        NaN for tracks that take no part.
    confidence : float
        From which on a genre is written.

    Returns
    -------
    probabilities : np.ndarray [shape=(n_tracks, n_genres)]
    temperature : float
        That of all, which ships.
    """
    truth = np.where(np.isfinite(logits[:, 0]), truth_of(tracks, genres), -1)
    source = np.array([track.source for track in tracks])
    losses, rights = {}, {}  # per collection, by temperature
    for collection in collections:
        known = (truth >= 0) & (source == collection)
        raw, wanted = softmax(logits[known]), truth[known]
        softer = [calibration.apply_temperature(raw, t) for t in TEMPERATURES]
        losses[collection] = [metrics.log_loss(p, wanted) for p in softer]
        rights[collection] = [share_right(p, wanted, confidence) for p in softer]

    def best(names: Sequence[str]) -> float:
        least = int(np.mean([losses[name] for name in names], axis=0).argmin())
        shares = np.array([rights[name] for name in names])
        enough = [
            i for i in range(least, len(TEMPERATURES)) if typical(shares[:, i]) >= TARGET_RIGHT
        ]
        return float(TEMPERATURES[enough[0] if enough else least])

    probabilities = np.full(logits.shape, np.nan)
    for collection in collections:
        temperature = best([name for name in collections if name != collection])
        mine = source == collection
        probabilities[mine] = calibration.apply_temperature(softmax(logits[mine]), temperature)
    return probabilities, best(collections)


def typical(shares: np.ndarray) -> float:
    """Return the mean of the middle half, of those that are finite; NaN where none is."""
    finite = shares[np.isfinite(shares)]
    return float(stats.trim_mean(finite, 0.25)) if len(finite) else float("nan")


def share_right(p: np.ndarray, truth: np.ndarray, confidence: float) -> float:
    """Return how much of what is predicted with some confidence is right; NaN where nothing is."""
    written = p.max(axis=1) >= confidence
    if not written.any():
        return float("nan")
    return float((p.argmax(axis=1) == truth)[written].mean())


def score_collections(
    probabilities: np.ndarray,
    tracks: Sequence[Track],
    genres: Sequence[str],
    collections: Sequence[str],
    confidence: float,
) -> dict[str, dict[str, Any]]:
    """Score each collection, as a model's description holds it.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_tracks, n_genres)]
    confidence : float
        From which on a genre is written.
    """
    truth, found = truth_of(tracks, genres), {}
    for collection in collections:
        rows = np.array(
            [
                i
                for i, track in enumerate(tracks)
                if track.source == collection and truth[i] >= 0 and np.isfinite(probabilities[i, 0])
            ]
        )
        p, wanted = probabilities[rows], truth[rows]
        right = share_right(p, wanted, confidence)
        scores = metrics.evaluate(p, wanted, np.array([tracks[i].artist for i in rows]))
        found[collection] = {
            "tracks": len(rows),
            "artists": metrics.count_artists(tracks[i].artist for i in rows),
            **{
                name: [round(x, 4) for x in (score.value, score.low, score.high)]
                for name, score in scores.items()
                if name in ("accuracy", "log_loss")
            },
            "written": round(float((p.max(axis=1) >= confidence).mean()), 4),
            "right": None if np.isnan(right) else round(right, 4),
        }
    return found


def score_pooled(
    probabilities: np.ndarray,
    tracks: Sequence[Track],
    genres: Sequence[str],
    collections: Sequence[str],
) -> dict[str, Any]:
    """Score all tracks of some collections together, as ``beet agfmodels`` shows it."""
    truth, chosen = truth_of(tracks, genres), set(collections)
    rows = np.array([i for i, t in enumerate(tracks) if t.source in chosen and truth[i] >= 0])
    p, wanted = probabilities[rows], truth[rows]
    artists = np.array([tracks[i].artist for i in rows])
    return {
        "tracks": len(rows),
        "artists": metrics.count_artists(artists),
        "folds": len(collections),
        "overall": {
            name: [round(x, 4) for x in (score.value, score.low, score.high)]
            for name, score in metrics.evaluate(p, wanted, artists).items()
        },
        "most_common_genre_accuracy": round(float(np.bincount(wanted).max() / len(wanted)), 4),
        "by_confidence": by_confidence(p, wanted),
    }


def mean_over(scores: Mapping[str, Mapping[str, Any]], collections: Sequence[str]) -> list[float]:
    """Return the mean accuracy and log loss over collections."""
    return [
        round(float(np.mean([scores[name][which][0] for name in collections])), 4)
        for which in ("accuracy", "log_loss")
    ]


def score_genres(
    probabilities: np.ndarray, tracks: Sequence[Track], genres: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Score each genre over all tracks that were predicted."""
    truth = truth_of(tracks, genres)
    known = (truth >= 0) & np.isfinite(probabilities[:, 0])
    best, wanted = probabilities[known].argmax(axis=1), truth[known]
    return {
        genre: {
            "tracks": int((wanted == g).sum()),
            "predicted": int((best == g).sum()),
            "precision": round(float((wanted[best == g] == g).mean()), 3)
            if (best == g).any()
            else None,
            "recall": round(float((best[wanted == g] == g).mean()), 3)
            if (wanted == g).any()
            else None,
        }
        for g, genre in enumerate(genres)
    }


def by_hand(outputs: Sequence[np.ndarray], ontology: Ontology) -> dict[str, np.ndarray]:
    """Return genres by the teachers' classes and the ontology alone, nothing fitted.

    Returns
    -------
    dict of np.ndarray [shape=(n_tracks, n_genres)]
        Probabilities by either teacher and by their mean.
    """
    table = ontology.table.reshape(len(ontology.table), len(TEACHERS), -1) > 0
    mean = np.stack([(1 / (1 + np.exp(-rows))).mean(axis=0) for rows in outputs])
    found = {}
    for t, teacher in enumerate(TEACHERS):
        most = np.where(table[None, :, t], mean[:, :, None], 0.0).max(axis=1)
        floored = np.maximum(most, 0.01)
        found[teacher] = floored / floored.sum(axis=1, keepdims=True)
    return found | {"mean of both": np.mean(list(found.values()), axis=0)}


def by_bundle(tracks: Sequence[Track], model: bundle_format.Bundle) -> np.ndarray:
    """Return what a finished model predicts, (n_tracks, n_genres).

    NaN where a file cannot be analysed, which is listed.
    """
    results = GenreTagger(model).predict_files([track.path for track in tracks])
    probabilities = np.full((len(tracks), len(model.metadata.labels)), np.nan)
    for i, one in enumerate(tqdm(results, total=len(tracks), desc="tracks", unit="track")):
        if one.prediction is None:
            tqdm.write(f"left out of {model.model_id}: {one.error}")
        else:
            probabilities[i] = one.prediction.probabilities
    return probabilities


def line(title: str, scores: Mapping[str, Mapping[str, Any]], headline: Sequence[str]) -> str:
    """Return a row of a Markdown table: the mean over the headline's collections, and over all."""
    cells = [
        "{:.3f} / {:.2f}".format(*mean_over(scores, names)) for names in (headline, list(scores))
    ]
    return f"| {title} | {' | '.join(cells)} |"


@one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_collection(parser)
    parser.add_argument("--bundle", type=Path, help="a finished model to score, too")
    parser.add_argument("--confidence", type=float, default=0.6)
    arguments = parser.parse_args()
    _print(arguments)


def _print(arguments: argparse.Namespace) -> None:
    ontology = read_ontology()
    known = set(ontology.genres)
    tracks = [t for t in read_csv(arguments.table).tracks if t.genre in known or t.genre_weights]
    cache = FeatureCache(arguments.work / "features")
    outputs = [excerpt_of(track, cache).classes for track in tracks]
    collections = scored_collections(tracks, ontology.genres)
    rows = by_hand(outputs, ontology)
    found = evidence(outputs, ontology)
    logits = leave_one_collection_out(tracks, ontology.genres, lambda _: found, collections)
    rows["teachers, head fitted"] = softmax(logits)
    if arguments.bundle:
        model = bundle_format.load(arguments.bundle)
        rows[model.model_id] = by_bundle(tracks, model)
    headline = [name for name in HEADLINE if name in collections]
    print("| by | collections of songs.csv | all |\n|---|---|---|")
    for title, probabilities in rows.items():
        scores = score_collections(
            np.maximum(probabilities, metrics.SMALLEST_PROBABILITY),
            tracks,
            ontology.genres,
            collections,
            arguments.confidence,
        )
        print(line(title, scores, headline or collections))


if __name__ == "__main__":
    main()
