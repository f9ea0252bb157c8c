r"""Similar music: how many of a track's ten nearest neighbours have its genre, or its artist.

    python -m training.studies.neighbours --table collection.csv --unlabelled music --work work \
        --page docs/results/similar.md

searches each library of `training.studies.left_out` by itself, by cosine, with several features of
the windows in the folder of work of `training.pretrained.release`: those of a model that has seen
none of the library, of the shipped model, of musicnn, and the mean and spread of the spectrogram.
Each library is searched three times: with features as they are; whitened within artists, with a
whitening that is fitted on the artists of the other four of five folds; and whitened as `beet
agfsimilar` does it, within all artists of the library, the track's own among them.

Scores, over tracks, with intervals from resampled artists:

- genre: the share of ten neighbours with the track's genre, among all tracks that have one;
- genre, other artists: the same, without the tracks of its artist;
- artist: the share of its artist's other tracks, of ten at most, that are among as many neighbours.

Chance is what neighbours drawn at random would have.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from agf_core.bundle import format as bundle_format
from agf_core.data.splits import artist_folds
from agf_core.data.tracks import Track
from agf_core.inference.neighbours import Neighbours
from agf_core.inference.whitening import SEARCH_SHRINKAGE, Whitening
from agf_core.metrics import artist_resamples, count_artists
from training.cli import one_line_errors
from training.markdown import write
from training.pretrained.data import add_data, gather_from
from training.statistics import RESAMPLES, Scored
from training.studies.left_out import Library, features_by, libraries_of
from training.teachers.features import MUSICNN
from training.teachers.windows import Windows

COUNT = 10  # neighbours
FOLDS = 5
SCORES = ("genre", "genre, other artists", "artist")
CHANCE = "chance"
WAYS = AS_THEY_ARE, UNSEEN, KNOWN = "", ", whitened by other artists", ", whitened by the library"
MARKER = "<!-- Below: training.studies.neighbours -->"


def features_of(library: Library, shipped: bundle_format.Bundle) -> dict[str, np.ndarray]:
    """Return the features that are compared, each (n_tracks, n_features), by their names."""
    return {
        "our model, collection left out": library.embeddings,
        "our model as it ships": features_by(shipped, library.windows)[0],
        "musicnn": np.stack([mean_of_musicnn(one) for one in library.windows]),
        "log-mel, mean and spread": np.stack([mean_and_spread(one) for one in library.windows]),
    }


def mean_of_musicnn(windows: Windows) -> np.ndarray:
    """Return musicnn's layer before the last, (200,), the mean over a track's windows."""
    hidden: np.ndarray = windows.musicnn[:, : MUSICNN.n_hidden].mean(axis=0)
    return hidden


def mean_and_spread(windows: Windows) -> np.ndarray:
    """Return mean and standard deviation of each mel band over a track's frames, (2 * n_mels,)."""
    frames = windows.log_mel.astype(np.float32).reshape(-1, windows.log_mel.shape[2])
    return np.concatenate([frames.mean(axis=0), frames.std(axis=0)])


def similarities(
    features: np.ndarray, tracks: Sequence[Track], way: str, shrinkage: float
) -> np.ndarray:
    """Return the cosine of every two tracks, (n_tracks, n_tracks); of a track and itself -inf.

    Parameters
    ----------
    way : str
        One of `WAYS`.
    shrinkage : float
        Of the whitening.
    """
    artists = [track.artist for track in tracks]
    folds = artist_folds(tracks, FOLDS) if way == UNSEEN else np.zeros(len(tracks), int)
    result = np.zeros((len(tracks), len(tracks)), np.float32)
    for fold in np.unique(folds):
        vectors = features
        if way != AS_THEY_ARE:
            known = [i for i in range(len(tracks)) if way == KNOWN or folds[i] != fold]
            whitening = Whitening.fit(features[known], [artists[i] for i in known], shrinkage)
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
    tracks: Sequence[Track],
    features: Mapping[str, np.ndarray],
    shrinkage: float = SEARCH_SHRINKAGE,
) -> dict[str, Scored]:
    """Return the scores of chance and of all features in one library, with the same resamples."""
    by_track = {CHANCE: chance_of(tracks)}
    for name, rows in features.items():
        for way in WAYS:
            nearness = similarities(rows.astype(np.float32), tracks, way, shrinkage)
            by_track[name + way] = scores_of(nearness, tracks)
    artists = np.array([track.artist for track in tracks])
    drawn = list(artist_resamples(artists, RESAMPLES, seed=0))
    return {
        name: Scored(
            np.nanmean(one, axis=0), np.stack([np.nanmean(one[rows], axis=0) for rows in drawn])
        )
        for name, one in by_track.items()
    }


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
    add_data(parser)
    parser.add_argument(
        "--shrinkage", type=float, default=SEARCH_SHRINKAGE, help="of the whitening"
    )
    parser.add_argument("--page", type=Path, required=True, help="where the tables are put")
    arguments = parser.parse_args()
    shipped = bundle_format.load()
    measured, sizes = {}, {}
    for whole in libraries_of(gather_from(arguments, arguments.seed)):
        library = whole.part(whole.name, whole.tagged)
        n_artists = count_artists(track.artist for track in library.tracks)
        sizes[library.name] = f"{len(library.tracks)} tracks with a genre, by {n_artists} artists."
        features = features_of(library, shipped)
        measured[library.name] = measure(library.tracks, features, arguments.shrinkage)
        print(library.name, sizes[library.name], sep=": ", flush=True)
    write(arguments.page, "# Similar music, measured\n", MARKER, page_of(measured, sizes))


if __name__ == "__main__":
    main()
