"""What the class prior of a library is worth, by leaving one collection out.

    python -m training.studies.library_prior --table collection.csv --unlabelled music --work work

takes each collection as a library. It is predicted by a network and a head that have seen none of
it, as `training.pretrained.release` trains and scores them; the command goes on from that one's
folder of work. Then the predictions are adjusted to priors that were estimated in several ways,
without tags and with tags of some artists, and scored on tracks whose tags were not used. Prints
the tables of ``docs/results/class-prior.md``.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from agf_core import label_shift, metrics
from agf_core.data.tracks import genre_targets
from agf_core.label_shift import PRIOR_TRACKS, adjust_prior, training_prior
from agf_core.metrics import Score
from training.cli import one_line_errors
from training.pretrained.data import ReleaseData, add_data, gather_from
from training.pretrained.evaluate import (
    HEADLINE,
    calibrate_by_collection,
    leave_out,
    truth_of,
)
from training.pretrained.genre_head import track_weights
from training.pretrained.release import CONFIDENCE, left_out_logits

SHARES = (0.0, 0.25, 0.5, 0.75)  # of the training prior in an estimate
TAGGED = (0.1, 0.25, 0.5)  # shares of the artists
SEEDS = 5
SMALL = ((5, False), (12, False), (12, True), (30, False))  # tracks, and whether of one genre
DRAWS = 30  # of small libraries from a collection
RESAMPLES = 1_000
SMALLEST = 1e-8  # probability in a log loss
STEPS = 1_000  # of expectation maximisation, at most
STEADY = 1e-6


@dataclass(frozen=True, eq=False)
class Library:
    """A collection, and predictions by a model that has seen none of it.

    Attributes
    ----------
    name : str
    probabilities : np.ndarray [shape=(n_tracks, n_genres)]
    truth : np.ndarray [shape=(n_tracks,), dtype=int]
        -1 where unknown.
    artists : np.ndarray [shape=(n_tracks,), dtype=int]
        Their numbers; every track of nobody has one of its own.
    trained : np.ndarray [shape=(n_genres,)]
        The prior of that model.
    """

    name: str
    probabilities: np.ndarray
    truth: np.ndarray
    artists: np.ndarray
    trained: np.ndarray


def outcomes(library: Library, probabilities: np.ndarray, tagged: np.ndarray) -> np.ndarray:
    """Score predictions of the tracks without a tag.

    Parameters
    ----------
    library : Library
    probabilities : np.ndarray [shape=(n_tracks, n_genres)]
    tagged : np.ndarray [shape=(n_tracks,), dtype=bool]

    Returns
    -------
    np.ndarray [shape=(n_scored, 5)]
        Number of the artist, whether right, loss, whether written, whether right and written.
    """
    scored = (library.truth >= 0) & ~tagged
    p, truth = probabilities[scored], library.truth[scored]
    right = p.argmax(axis=1) == truth
    loss = -np.log(np.maximum(p[np.arange(len(truth)), truth], SMALLEST))
    written = p.max(axis=1) >= CONFIDENCE
    return np.stack([library.artists[scored], right, loss, written, right & written], axis=1)


Estimator = Callable[[Library, np.ndarray], np.ndarray]  # a prior, given which tracks are tagged


def shipped(library: Library, _: np.ndarray) -> np.ndarray:
    """Return the prior of the model."""
    return library.trained


def balanced(library: Library, _: np.ndarray) -> np.ndarray:
    """Return the prior under which all genres are equally common."""
    return np.full(len(library.trained), 1 / len(library.trained))


def converged(library: Library, _: np.ndarray) -> np.ndarray:
    """Estimate by expectation maximisation until the shares are steady, without tags."""
    shares = library.trained
    for _step in range(STEPS):
        adjusted = adjust_prior(library.probabilities, library.trained, shares)
        tracks = adjusted.sum(axis=0) + PRIOR_TRACKS * library.trained
        before, shares = shares, tracks / tracks.sum()
        if np.abs(shares - before).max() < STEADY:
            break
    return shares


def estimated(training_share: float) -> Estimator:
    """Return the estimator that the plugin uses, with a share of the training prior."""

    def estimator(library: Library, tagged: np.ndarray) -> np.ndarray:
        n = len(library.trained)
        return label_shift.estimate(
            library.trained,
            library.probabilities[~tagged],
            np.bincount(library.truth[tagged], minlength=n).astype(float),
            int((~tagged).sum()),
            training_share,
        )

    return estimator


def only_tags(library: Library, tagged: np.ndarray) -> np.ndarray:
    """Estimate from the tagged tracks alone, not from predictions of others."""
    tracks = np.bincount(library.truth[tagged], minlength=len(library.trained))
    shares = tracks + PRIOR_TRACKS * library.trained
    result: np.ndarray = shares / shares.sum()
    return result


def nobody(library: Library) -> list[np.ndarray]:
    """Tag no track."""
    return [np.zeros(len(library.truth), bool)]


def artists_tagged(share: float) -> Callable[[Library], list[np.ndarray]]:
    """Return what tags the tracks of a share of the artists, drawn by chance with each seed."""

    def draw(library: Library) -> list[np.ndarray]:
        artists, found = np.unique(library.artists), []
        for seed in range(SEEDS):
            chosen = artists[np.random.default_rng(seed).random(len(artists)) < share]
            found.append(np.isin(library.artists, chosen) & (library.truth >= 0))
        return found

    return draw


def one_genre_tagged(library: Library) -> list[np.ndarray]:
    """Tag all tracks of the most common genre, and none of any other: the worst case."""
    known = library.truth >= 0
    return [library.truth == np.bincount(library.truth[known]).argmax()]


def run(
    libraries: Sequence[Library],
    estimator: Estimator,
    tag: Callable[[Library], list[np.ndarray]] = nobody,
) -> dict[str, np.ndarray]:
    """Score every library, by name; see `outcomes`; without what has nothing to score."""
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for library in libraries:
        for tagged in tag(library):
            prior = estimator(library, tagged)
            adjusted = adjust_prior(library.probabilities, library.trained, prior)
            found[library.name].append(outcomes(library, adjusted, tagged))
    together = {name: np.concatenate(rows) for name, rows in found.items()}
    return {name: rows for name, rows in together.items() if len(rows)}


def small_libraries(library: Library, n: int, of_one_genre: bool) -> list[Library]:
    """Draw small libraries from the labelled tracks of a collection."""
    known, found = np.flatnonzero(library.truth >= 0), []
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        genre = library.truth[rng.choice(known)]
        of = known[library.truth[known] == genre] if of_one_genre else known
        mine = rng.permutation(of)[:n]
        found.append(
            replace(
                library,
                probabilities=library.probabilities[mine],
                truth=library.truth[mine],
                artists=library.artists[mine],
            )
        )
    return found


def nested(by_share: Mapping[float, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Score each library under the share that has the least mean log loss on the others."""
    names = list(next(iter(by_share.values())))
    losses = np.array([[one[name][:, 2].mean() for name in names] for one in by_share.values()])
    shares, found = list(by_share), {}
    for i, name in enumerate(names):
        best = int(np.delete(losses, i, axis=1).mean(axis=1).argmin())
        found[name] = by_share[shares[best]][name]
    return found


def means(outcomes: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Return accuracy, log loss, share written and share right of it, means over collections."""
    rows = []
    for name in names:
        _, right, loss, written, both = outcomes[name].mean(axis=0)
        rows.append((right, loss, written, both / written if written else np.nan))
    result: np.ndarray = np.nanmean(rows, axis=0)
    return result


def difference(
    new: Mapping[str, np.ndarray], old: Mapping[str, np.ndarray], names: Sequence[str]
) -> list[Score]:
    """Return how accuracy and log loss differ, means over collections, paired over artists.

    Both have the same tracks. A resample draws artists within each collection.
    """
    values, drawn = [], []
    for i, name in enumerate(names):
        artists = np.unique(new[name][:, 0], return_inverse=True)[1]
        gains = (new[name] - old[name])[:, 1:3]
        sums = np.zeros((artists.max() + 1, 3))
        np.add.at(sums, artists, np.column_stack([gains, np.ones(len(gains))]))
        counts = np.random.default_rng(i).multinomial(
            len(sums), np.full(len(sums), 1 / len(sums)), RESAMPLES
        )
        totals = counts @ sums
        values.append(gains.mean(axis=0))
        drawn.append(totals[:, :2] / totals[:, 2:])
    value, resampled = np.mean(values, axis=0), np.mean(drawn, axis=0)
    return [Score.of(float(value[k]), resampled[:, k]) for k in range(2)]


def row(
    title: str, new: Mapping[str, np.ndarray], old: Mapping[str, np.ndarray], headline: set[str]
) -> str:
    """Return a row of a table: scores, and differences from the shipped prior."""
    cells, names = [title], list(new)
    for chosen in ([name for name in names if name in headline], names):
        accuracy, loss, written, right = means(new, chosen)
        cells.append(f"{accuracy:.3f} / {loss:.2f}")
        cells += [
            f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]" for d in difference(new, old, chosen)
        ]
    cells.append(f"{written:.2f} @ {right:.3f}")
    better = sum(new[name][:, 2].mean() < old[name][:, 2].mean() for name in names)
    cells.append(f"{better} of {len(names)}")
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| prior | people's own folders: accuracy / log loss | accuracy more | log loss more "
    "| all collections: accuracy / log loss | accuracy more | log loss more "
    "| written @ right | log loss less in |\n" + "|---" * 9 + "|"
)


def tables(libraries: Sequence[Library], headline: set[str]) -> list[str]:
    """Return the lines of all tables."""
    lines = ["Without tags", "", HEAD]
    base = run(libraries, shipped)
    by_share = {share: run(libraries, estimated(share)) for share in SHARES}
    rows = {
        "of the model's training": base,
        "balanced": run(libraries, balanced),
        "expectation maximisation": run(libraries, converged),
        **{f"mean prediction, {share:.0%} training prior": by_share[share] for share in SHARES},
        "that with a share chosen on the other collections": nested(by_share),
    }
    lines += [row(title, found, base, headline) for title, found in rows.items()]
    cases = {f"{share:.0%} of the artists tagged": artists_tagged(share) for share in TAGGED}
    for title, tag in (cases | {"Only the most common genre tagged": one_genre_tagged}).items():
        base = run(libraries, shipped, tag)
        by_share = {share: run(libraries, estimated(share), tag) for share in SHARES}
        rows = {
            "of the model's training": base,
            "tags alone": run(libraries, only_tags, tag),
            **{
                f"tags and mean prediction, {share:.0%} training prior": by_share[share]
                for share in SHARES
            },
            "that with a share chosen on the other collections": nested(by_share),
        }
        lines += ["", title, "", HEAD]
        lines += [row(name, found, base, headline) for name, found in rows.items()]
    lines += ["", "Small libraries", "", HEAD]
    for n, of_one_genre in SMALL:
        drawn = [s for one in libraries for s in small_libraries(one, n, of_one_genre)]
        base, new = run(drawn, shipped), run(drawn, estimated(label_shift.TRAINING_SHARE))
        title = f"{n} tracks" + " of one genre" * of_one_genre
        lines += [row(f"{title}, of the model's training", base, base, headline)]
        lines += [row(f"{title}, mean prediction", new, base, headline)]
    return lines


def libraries_of(data: ReleaseData) -> list[Library]:
    """Return each scored collection with predictions by what has seen none of it."""
    tracks, genres = data.tracks, data.ontology.genres
    logits, collections = left_out_logits(data)
    probabilities, _ = calibrate_by_collection(logits, tracks, genres, collections, CONFIDENCE)
    targets, truth = genre_targets(tracks, genres, weighted=True), truth_of(tracks, genres)
    sources = np.array([track.source for track in tracks])
    artists = metrics.artist_numbers(np.array([track.artist for track in tracks]))
    found = []
    for name in collections:
        train = leave_out(tracks, name, targets)
        counts = track_weights([tracks[i] for i in train], targets[train])
        mine = sources == name
        found.append(
            Library(
                name,
                probabilities[mine],
                truth[mine],
                artists[mine],
                training_prior(targets[train] * (counts / counts.mean())[:, None]),
            )
        )
    return found


@one_line_errors()
def print_tables(
    description: str, tables: Callable[[Sequence[Library], set[str]], list[str]]
) -> None:
    """Run the command of a study: print its tables of all libraries."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    add_data(parser)
    arguments = parser.parse_args()
    libraries = libraries_of(gather_from(arguments, arguments.seed))
    print("\n".join(tables(libraries, set(HEADLINE))))


if __name__ == "__main__":
    print_tables(__doc__, tables)
