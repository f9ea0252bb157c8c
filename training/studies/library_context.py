"""How much an artist's other tracks improve predictions, by leaving one collection out.

    python -m training.studies.library_context --table collection.csv --unlabelled music --work work

takes each collection as a library, as `training.studies.library_prior` does, tags a share of its
tracks by chance, and scores the others: by sound alone, with predictions of the artist's other
tracks, with the genres that these were given, and with both. Prints the tables of
``docs/results/artist-context.md``.
"""

from collections.abc import Sequence

import numpy as np

from agf_core.inference.artist_context import USUAL_POOLING, ArtistContext, fit_pooling
from agf_core.label_shift import TRAINING_SHARE, adjust_prior
from training.markdown import table
from training.pretrained.ontology import read_ontology
from training.pretrained.release import CONFIDENCE
from training.studies.library_prior import (
    HEAD,
    SEEDS,
    Library,
    estimated,
    means,
    outcomes,
    print_tables,
    row,
)

TAGGED = (0.0, 0.1, 0.25, 0.5)  # shares of the tracks


def tags_of(library: Library, tagged: np.ndarray) -> list[tuple[str, int, int]]:
    """Return the tagged tracks; no collection has albums, so each is an album of its own."""
    tracks = np.flatnonzero(tagged).tolist()
    return [(str(library.artists[i]), i, int(library.truth[i])) for i in tracks]


def combined(
    library: Library,
    tagged: np.ndarray,
    p: np.ndarray,
    context: ArtistContext,
    *,
    predictions: bool,
    genres: bool,
) -> np.ndarray:
    """Return predictions of the tracks without a tag with parts of their artists' context.

    Parameters
    ----------
    p : np.ndarray [shape=(n_tracks, n_genres)]
        By sound alone, for the prior of the library.
    """
    result = p.copy()
    for i in np.flatnonzero(~tagged):
        others = np.flatnonzero((library.artists == library.artists[i]) & ~tagged)
        if predictions:
            result[i] = context.pool(p[i], [p[j] for j in others if j != i])
        counts = context.counts.get(str(library.artists[i]))
        if genres and counts is not None:
            result[i] = context.adjust(result[i], counts)
    return result


def in_context(
    library: Library, tagged: np.ndarray, *, predictions: bool, genres: bool, fitted: bool
) -> np.ndarray:
    """Return predictions for the prior of a library, with parts of the context; see `scored`."""
    prior = estimated(TRAINING_SHARE)(library, tagged)
    p = adjust_prior(library.probabilities, library.trained, prior)
    known = tags_of(library, tagged)
    pooling = fit_pooling(p[tagged], known) if fitted else USUAL_POOLING
    context = ArtistContext.of(known, p.shape[1], prior, pooling)
    return combined(library, tagged, p, context, predictions=predictions, genres=genres)


def scored(
    libraries: Sequence[Library], share: float, *, predictions: bool, genres: bool, fitted: bool
) -> dict[str, np.ndarray]:
    """Score every library with some of its tracks tagged; see `outcomes`.

    Parameters
    ----------
    fitted : bool
        Whether the pooling is fitted on the tagged tracks; the usual one otherwise.
    """
    found = {}
    for library in libraries:
        rows = []
        for seed in range(SEEDS if share else 1):
            chosen = np.random.default_rng(seed).random(len(library.truth)) < share
            tagged = chosen & (library.truth >= 0)
            p = in_context(library, tagged, predictions=predictions, genres=genres, fitted=fitted)
            rows.append(outcomes(library, p, tagged))
        found[library.name] = np.concatenate(rows)
    return found


CASES = {
    "by sound alone": {"predictions": False, "genres": False, "fitted": False},
    "with the artist's other predictions": {"predictions": True, "genres": False, "fitted": False},
    "with the artist's other genres": {"predictions": False, "genres": True, "fitted": False},
    "with both": {"predictions": True, "genres": True, "fitted": False},
    "with both, pooling fitted": {"predictions": True, "genres": True, "fitted": True},
}


def without_tags(library: Library) -> np.ndarray:
    """Return the plugin's predictions where no track has a genre, (n_tracks, n_genres)."""
    tagged = np.zeros(len(library.truth), bool)
    return in_context(library, tagged, predictions=True, genres=False, fitted=False)


def every_collection(libraries: Sequence[Library]) -> str:
    """Return a table of each collection as a library without tags: the model alone, and all."""
    rows = []
    for library in libraries:
        cells = [library.name, str((library.truth >= 0).sum())]
        for p in (library.probabilities, without_tags(library)):
            found = {library.name: outcomes(library, p, np.zeros(len(p), bool))}
            right, _, written, of_these = means(found, [library.name])
            cells += [f"{right:.3f}", f"{written:.0%} @ {of_these:.0%}"]
        rows.append(cells)
    head = ("collection", "tracks", "model alone", "written @ right", "default", "written @ right")
    return table(head, rows)


def every_genre(libraries: Sequence[Library], genres: Sequence[str]) -> str:
    """Return a table of how often each genre is predicted, written and right, without tags."""
    truth = np.concatenate([library.truth for library in libraries])
    p = np.concatenate([without_tags(library) for library in libraries])[truth >= 0]
    truth, predicted, written = truth[truth >= 0], p.argmax(axis=1), p.max(axis=1) >= CONFIDENCE
    rows = []
    for number, genre in enumerate(genres):
        cells = [genre, str((truth == number).sum())]
        for mine in (predicted == number, (predicted == number) & written):
            right = f"{(truth[mine] == number).mean():.2f}" if mine.any() else "-"
            cells += [str(mine.sum()), right]
        rows.append(cells)
    return table(
        ("genre", "tracks", "predicted", "of these right", "written", "of these right"), rows
    )


def tables(libraries: Sequence[Library], headline: set[str]) -> list[str]:
    """Return the lines of all tables."""
    lines = [
        "Every collection without tags",
        "",
        every_collection(libraries),
        "Every genre without tags",
        "",
        every_genre(libraries, read_ontology().genres),
    ]
    for share in TAGGED:
        lines += ["", f"{share:.0%} of the tracks tagged", "", HEAD.replace("prior", "prediction")]
        cases = CASES if share else dict(list(CASES.items())[:2])
        found = {name: scored(libraries, share, **case) for name, case in cases.items()}
        base = found["by sound alone"]
        lines += [row(name, one, base, headline) for name, one in found.items()]
    return lines


if __name__ == "__main__":
    print_tables(__doc__, tables)
