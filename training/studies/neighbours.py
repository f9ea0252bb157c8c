r"""Similar music: how many of a track's ten nearest neighbours have its genre, or its artist.

    python -m training.studies.neighbours --table collection.csv \
        --features "this model=ours.npz" --features "musicnn=musicnn.npz" --page PAGE.md

Each source of the table is a library that is searched by itself, by cosine. An ``.npz`` file has
``track_ids`` and ``features``, a row for each; tracks that one of the files lacks are left out.
Use features of a model that was not trained on the source. Every file is searched three times: with
its features as they are; whitened within artists, with a whitening that is fitted on the artists of
the other four of five folds; and whitened as `beet agfsimilar` does it, within all artists of the
library, the track's own among them.

Scores, over tracks, with intervals from resampled artists:

- genre: the share of ten neighbours with the track's genre, among all tracks that have one;
- genre, other artists: the same, without the tracks of its artist;
- artist: the share of its artist's other tracks, of ten at most, that are among as many neighbours.

Chance is what neighbours drawn at random would have.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from agf_core.data.splits import artist_folds
from agf_core.data.tracks import Track
from agf_core.inference.neighbours import Neighbours
from agf_core.inference.whitening import SEARCH_SHRINKAGE, Whitening
from agf_core.metrics import artist_resamples
from training.cli import one_line_errors
from training.datasets.collection import read_csv
from training.errors import CollectionError
from training.markdown import write
from training.statistics import RESAMPLES, Scored

COUNT = 10  # neighbours
FOLDS = 5
SCORES = ("genre", "genre, other artists", "artist")
CHANCE = "chance"
WAYS = AS_THEY_ARE, UNSEEN, KNOWN = "", ", whitened by other artists", ", whitened by the library"
MARKER = "<!-- Below: training.studies.neighbours -->"


def read_features(path: Path, tracks: Sequence[Track]) -> dict[str, np.ndarray]:
    """Return the features of tracks, by their ids, of those that a file has."""
    with np.load(path) as file:
        rows = dict(zip(file["track_ids"].tolist(), file["features"], strict=True))
    known = {t.track_id: rows[t.track_id] for t in tracks if t.track_id in rows}
    if not known:
        raise CollectionError(f"{path} has no features of these tracks")
    return known


def similarities(features: np.ndarray, tracks: Sequence[Track], way: str) -> np.ndarray:
    """Return the cosine of every two tracks, (n_tracks, n_tracks); of a track and itself -inf.

    Parameters
    ----------
    way : str
        One of `WAYS`.
    """
    artists = [track.artist for track in tracks]
    folds = artist_folds(tracks, FOLDS) if way == UNSEEN else np.zeros(len(tracks), int)
    result = np.zeros((len(tracks), len(tracks)), np.float32)
    for fold in np.unique(folds):
        vectors = features
        if way != AS_THEY_ARE:
            known = [i for i in range(len(tracks)) if way == KNOWN or folds[i] != fold]
            whitening = Whitening.fit(
                features[known], [artists[i] for i in known], SEARCH_SHRINKAGE
            )
            vectors = whitening.apply(features)
        directions = Neighbours(vectors).vectors
        result[folds == fold] = directions[folds == fold] @ directions.T
    np.fill_diagonal(result, -np.inf)
    return result


def scores_of(nearness: np.ndarray, tracks: Sequence[Track]) -> np.ndarray:
    """Return the `SCORES` of every track, (n_tracks, 3); nan where a track has none."""
    artists = np.array([track.artist for track in tracks])
    genres = np.array([track.genre for track in tracks])
    result = np.full((len(tracks), len(SCORES)), np.nan)
    for i, row in enumerate(nearness):
        others = (artists == artists[i]) & (artists != "")
        tagged = np.flatnonzero(genres != "")
        result[i, 0] = _share(row, tagged, genres == genres[i])
        result[i, 1] = _share(row, tagged[~others[tagged]], genres == genres[i])
        others[i] = False
        wanted = min(others.sum(), COUNT)
        if wanted:
            order = np.argsort(-row, kind="stable")[:wanted]
            result[i, 2] = others[order].mean()
    return result


def _share(row: np.ndarray, candidates: np.ndarray, right: np.ndarray) -> float:
    best = candidates[np.argsort(-row[candidates], kind="stable")[:COUNT]]
    return float(right[best].mean())


def chance_of(tracks: Sequence[Track]) -> np.ndarray:
    """Return the `SCORES` of every track that random neighbours would have, (n_tracks, 3)."""
    artists = np.array([track.artist for track in tracks])
    genres = np.array([track.genre for track in tracks])
    result = np.full((len(tracks), len(SCORES)), np.nan)
    for i, track in enumerate(tracks):
        own, tagged = artists == track.artist, genres != ""
        same = genres == track.genre
        result[i, 0] = (same.sum() - 1) / (tagged.sum() - 1)
        result[i, 1] = (same & ~own).sum() / (tagged & ~own).sum()
        if track.artist and own.sum() > 1:
            result[i, 2] = (own.sum() - 1) / (len(tracks) - 1)
    return result


def measure(
    tracks: Sequence[Track], features: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, Scored]:
    """Return the scores of chance and of all features in one library, with the same resamples."""
    by_track = {CHANCE: chance_of(tracks)}
    for name, rows in features.items():
        matrix = np.stack([rows[track.track_id] for track in tracks]).astype(np.float32)
        for way in WAYS:
            by_track[name + way] = scores_of(similarities(matrix, tracks, way), tracks)
    artists = np.array([track.artist for track in tracks])
    drawn = list(artist_resamples(artists, RESAMPLES, seed=0))
    return {
        name: Scored(
            np.nanmean(one, axis=0), np.stack([np.nanmean(one[rows], axis=0) for rows in drawn])
        )
        for name, one in by_track.items()
    }


def libraries_of(
    tracks: Sequence[Track], features: Mapping[str, Mapping[str, np.ndarray]]
) -> Iterator[tuple[str, list[Track]]]:
    """Yield each source with its tracks that have a genre and all features."""
    usable = [
        track
        for track in tracks
        if track.genre and all(track.track_id in rows for rows in features.values())
    ]
    for source in sorted({track.source for track in usable}):
        yield source, [track for track in usable if track.source == source]


def page_of(measured: Mapping[str, Mapping[str, Scored]], sizes: Mapping[str, str]) -> list[str]:
    """Return the tables: the mean over the libraries, then each of them."""
    names = list(next(iter(measured.values())))
    mean = {name: Scored.mean(one[name] for one in measured.values()) for name in names}
    parts = [f"## Mean of {len(measured)} libraries\n", _table(mean)]
    for library, scored in measured.items():
        parts += [f"## {library}\n", f"{sizes[library]}\n", _table(scored)]
    return parts


def _table(scored: Mapping[str, Scored]) -> str:
    lines = ["| features | " + " | ".join(SCORES) + " |", "|---|" + "---|" * len(SCORES)]
    lines += [
        f"| {name} | " + " | ".join(str(one[k]) for k in range(len(SCORES))) + " |"
        for name, one in scored.items()
    ]
    return "\n".join(lines) + "\n"


@one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--features", action="append", required=True, metavar="NAME=FILE")
    parser.add_argument("--page", type=Path, required=True, help="where the tables are put")
    arguments = parser.parse_args()
    tracks = read_csv(arguments.table).tracks
    features = {
        name: read_features(Path(path), tracks)
        for name, _, path in (text.partition("=") for text in arguments.features)
    }
    measured, sizes = {}, {}
    for library, its in libraries_of(tracks, features):
        n_artists = len({track.artist for track in its})
        sizes[library] = f"{len(its)} tracks with a genre, by {n_artists} artists."
        measured[library] = measure(its, features)
        print(library, sizes[library], sep=": ", flush=True)
    write(arguments.page, "# Similar music, measured\n", MARKER, page_of(measured, sizes))


if __name__ == "__main__":
    main()
