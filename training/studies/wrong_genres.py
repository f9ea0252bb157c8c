r"""How well swapped genres are found: the ranking of ``beet agfaudit``, against simpler ones.

    python -m training.studies.wrong_genres --table collection.csv --unlabelled music --work work \
        --page docs/results/wrong-genres.md

takes the libraries of `training.studies.left_out`, each with features by a model that has seen none
of its tracks and artists, from the folder of work of `training.pretrained.release`. Then it swaps
genres, and writes which rankings find them. What stands in the page above its marker line is kept.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from agf_core import metrics
from agf_core.finetune.label_issues import find_artist_issues, find_label_issues, predict_by_sound
from agf_core.inference.artist_context import adjust_without_itself
from training import markdown
from training.cli import one_line_errors, positive
from training.pretrained.data import add_data, gather_from
from training.pretrained.evaluate import HEADLINE
from training.studies.left_out import Library, libraries_of

MARKER = "<!-- Below this line: written by `python -m training.studies.wrong_genres`. -->"
MIN_TRACKS = 10  # of a genre, as in `beet agfaudit`
RATES, SEEDS = (0.05, 0.1, 0.2), 3
KINDS = ("random", "neighbour", "artist")
FIRST, MORE, LOOKED_AT = 10, 50, 0.2
RESAMPLES = 500
ARTISTS = (
    "By the mean over their tracks' sound, as the audit lists them. Artists with two tracks or "
    "more; means over seeds."
)
AUDIT, SHIPPED, CHANCE = "audit", "shipped", "chance"
RANKINGS = {
    AUDIT: "the audit: cross-fitted heads and shipped model, artist's other tracks; margin",
    "no artist": "the same without the artist's other tracks (`--by-sound`)",
    "artist only": "the artist's other tracks alone; margin",
    "shipped, artist": "shipped model and the artist's other tracks; margin",
    "probability": "as the audit, by the probability of the tag instead of the margin",
    SHIPPED: "probability of the tag by the shipped model alone",
    CHANCE: "random order, as expected",
}


def swapped(library: Library, kind: str, rate: float, seed: int) -> list[str]:
    """Return the genres of all tracks, a share of them wrong.

    Parameters
    ----------
    kind : str
        Of `KINDS`: any other genre; the one that the model confuses most with the right one; or any
        other for all tracks of an artist.
    rate : float
        Share of the tagged tracks.
    """
    rng = np.random.default_rng((seed, round(100 * rate), KINDS.index(kind)))
    genres = [track.genre for track in library.tracks]
    labels = library.base.metadata.labels
    present = sorted({genre for genre in genres if genre})
    names = present if len(present) > 1 else labels
    wanted = max(1, round(rate * len(library.tagged)))
    chosen = rng.permutation(library.tagged)[:wanted]
    if kind == "artist":
        chosen = _tracks_of_artists(library, wanted, rng)
    probabilities = np.exp(library.log_probabilities)
    result = list(genres)
    of_artist: dict[tuple[str | int, str], str] = {}
    for i in chosen.tolist():
        others = [name for name in names if name != genres[i]]
        if kind == "neighbour":
            mean = probabilities[[genre == genres[i] for genre in genres]].mean(axis=0)
            result[i] = max(others, key=lambda name: mean[labels.index(name)])
        else:
            key = (library.tracks[i].artist if kind == "artist" else i, genres[i])
            result[i] = of_artist.setdefault(key, str(rng.choice(others)))
    return result


def _tracks_of_artists(library: Library, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Return all tagged tracks of random artists, together about as many as wanted."""
    of_artist = defaultdict(list)
    for i in library.tagged.tolist():
        of_artist[library.tracks[i].artist].append(i)
    chosen: list[int] = []
    for artist in rng.permutation(sorted(of_artist)).tolist():
        if len(chosen) + len(of_artist[artist]) <= wanted:
            chosen += of_artist[artist]
    return np.array(chosen, int)


def rank(library: Library, genres: Sequence[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the scores of the tagged tracks by each ranking, the worst lowest, and which of them.

    Returns
    -------
    scores : dict of np.ndarray [shape=(n_tagged,)]
    found : np.ndarray [shape=(n_tagged,), dtype=bool]
        Those that the audit takes for wrong.
    """
    tracks = [replace(t, genre=genre) for t, genre in zip(library.tracks, genres, strict=True)]
    features = library.embeddings, library.log_probabilities
    checked = predict_by_sound(library.base, tracks, *features, min_tracks=MIN_TRACKS)
    alone = predict_by_sound(library.base, tracks, *features, min_tracks=len(tracks) + 1)
    rows = library.tagged
    own = [(tracks[i].artist, i, checked.genres.index(tracks[i].genre)) for i in rows]
    own_alone = np.array([alone.genres.index(tracks[i].genre) for i in rows])
    labels = np.array([genre for _, _, genre in own])
    sound, shipped = checked.probabilities[rows], alone.probabilities[rows]
    adjusted, _ = adjust_without_itself(sound, own)
    even, _ = adjust_without_itself(np.full_like(sound, 1 / sound.shape[1]), own)
    columns = [alone.genres.index(genre) for genre in checked.genres]
    both, _ = adjust_without_itself(shipped[:, columns], own)
    issues = find_label_issues(adjusted, labels)
    found = np.zeros(len(rows), bool)
    found[issues.wrong] = True
    pick = np.arange(len(rows))
    return {
        AUDIT: issues.margins,
        "no artist": find_label_issues(sound, labels).margins,
        "artist only": find_label_issues(even, labels).margins,
        "shipped, artist": find_label_issues(both, labels).margins,
        "probability": adjusted[pick, labels],
        SHIPPED: shipped[pick, own_alone],
    }, found


def score(scores: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Return the precision among the first 10 and 50, and the recall at 20 % looked at."""
    order = wrong[np.argsort(scores, kind="stable")]
    share = order[: max(1, round(LOOKED_AT * len(order)))].sum() / max(1, order.sum())
    return np.array([order[:FIRST].mean(), order[:MORE].mean(), share])


@dataclass
class Trial:
    """Scores of rankings in one library with one kind and rate of wrong genres, over seeds.

    Attributes
    ----------
    scores : dict
        By ranking and resample of artists, the first of which is all of them,
        np.ndarray [shape=(n_resamples + 1, 3)].
    found, right : float
        Share of the tracks that the audit takes for wrong, and how many of these were swapped.
    """

    scores: dict[str, np.ndarray]
    found: float
    right: float


def run_trial(library: Library, kind: str, rate: float, resamples: int) -> Trial:
    """Swap genres, rank the tracks, and score the rankings; means over seeds."""
    rows = library.tagged
    artists = np.array([library.tracks[i].artist for i in rows])
    drawn = [np.arange(len(rows)), *metrics.artist_resamples(artists, resamples, seed=0)]
    total: dict[str, np.ndarray] = defaultdict(lambda: np.zeros((len(drawn), 3)))
    n_found = n_right = 0
    for seed in range(SEEDS):
        genres = swapped(library, kind, rate, seed)
        wrong = np.array([genres[i] != library.tracks[i].genre for i in rows])
        scores, found = rank(library, genres)
        for name, values in scores.items():
            total[name] += [score(values[d], wrong[d]) for d in drawn]
        share = [wrong[d].mean() for d in drawn]
        total[CHANCE] += np.stack([share, share, np.full(len(drawn), LOOKED_AT)], axis=1)
        n_found += int(found.sum())
        n_right += int(wrong[found].sum())
    means = {name: sums / SEEDS for name, sums in total.items()}
    return Trial(means, n_found / (SEEDS * len(rows)), n_right / max(1, n_found))


def interval(drawn: np.ndarray, column: int, sign: str = "") -> str:
    """Return a score and its 95 % interval as a cell of a table."""
    low, high = np.percentile(drawn[1:, column], [2.5, 97.5])
    return f"{drawn[0, column]:{sign}.2f} [{low:{sign}.2f}, {high:{sign}.2f}]"


Trials = Mapping[tuple[str, str, float], Trial]


def tables(libraries: Sequence[Library], trials: Trials) -> list[str]:
    """Return the page's tables as lines of Markdown."""
    head = "first 10 right | first 50 right | found in the first 20 %"
    lines = ["## By library", "", f"| library | swapped | ranking | {head} |", "|---" * 6 + "|"]
    for library in libraries:
        for kind in KINDS:
            some = [trials[library.name, kind, rate].scores for rate in RATES]
            mean = {n: np.mean([one[n] for one in some], axis=0) for n in RANKINGS}
            mean["audit - shipped"] = mean[AUDIT] - mean[SHIPPED]
            for name in (AUDIT, SHIPPED, "audit - shipped", CHANCE):
                sign = "+" if name == "audit - shipped" else ""
                cells = [
                    f"{mean[name][0, k]:.2f}" if name == CHANCE else interval(mean[name], k, sign)
                    for k in range(3)
                ]
                lines.append(f"| {library.name} | {kind} | {name} | {' | '.join(cells)} |")
    names = [library.name for library in libraries]
    lines += ["", "## By share of wrong genres", "", "Means over the libraries.", ""]
    columns = "audit: taken for wrong | of these, swapped"
    lines += [f"| swapped | share | ranking | {head} | {columns} |", "|---" * 8 + "|"]
    for kind in KINDS:
        for rate in RATES:
            for name in (AUDIT, SHIPPED, CHANCE):
                here = [trials[library, kind, rate] for library in names]
                cells = [f"{x:.2f}" for x in np.mean([t.scores[name][0] for t in here], axis=0)]
                facts = [np.mean([t.found for t in here]), np.mean([t.right for t in here])]
                cells += [f"{x:.0%}" for x in facts] if name == AUDIT else ["", ""]
                lines.append(f"| {kind} | {rate:.0%} | {name} | {' | '.join(cells)} |")
    lines += ["", "## Rankings", "", "Means over the libraries and shares.", ""]
    lines += [f"| ranking | swapped | {head} |", "|---" * 5 + "|"]
    for name, meaning in RANKINGS.items():
        for kind in KINDS:
            every = [trials[library, kind, r].scores[name][0] for library in names for r in RATES]
            cells = [f"{x:.2f}" for x in np.mean(every, axis=0)]
            lines.append(f"| {meaning} | {kind} | {' | '.join(cells)} |")
    return lines


def small_tables(libraries: Sequence[Library], trials: Trials) -> list[str]:
    """Return a table of small libraries: the tracks with the lowest scores, as many as swapped."""
    lines = ["", "## Small libraries", "", "Found in the first 20 %, means over shares.", ""]
    lines += ["| library | tagged | artists | audit: " + " | audit: ".join(KINDS)]
    lines[-1] += " | shipped: " + " | shipped: ".join(KINDS) + " |"
    lines += ["|---" * 9 + "|"]
    for library in libraries:
        n_artists = metrics.count_artists(library.tracks[i].artist for i in library.tagged)
        cells = [
            np.mean([trials[library.name, kind, rate].scores[name][0, 2] for rate in RATES])
            for name in (AUDIT, SHIPPED)
            for kind in KINDS
        ]
        row = [library.name, str(len(library.tagged)), str(n_artists)]
        lines.append(f"| {' | '.join([*row, *(f'{cell:.2f}' for cell in cells)])} |")
    return lines


def artist_tables(libraries: Sequence[Library]) -> list[str]:
    """Return a table of how well artists who are wrong throughout are found, as the audit does."""
    lines = ["", "## Artists who are wrong throughout", "", ARTISTS, ""]
    lines += ["| library | share | artists | wrong | taken for wrong | right | found |"]
    lines += ["|---" * 7 + "|"]
    for library in libraries:
        for rate in (0.0, *RATES):
            n, wrong, taken, right = np.mean(
                [_artists_found(library, rate, seed) for seed in range(SEEDS)], axis=0
            )
            cells = [f"{rate:.0%}", f"{n:.0f}", f"{wrong:.1f}", f"{taken:.1f}"]
            cells += [
                f"{right / taken:.0%}" if taken else "",
                f"{right / wrong:.0%}" if wrong else "",
            ]
            lines.append(f"| {library.name} | {' | '.join(cells)} |")
    return lines


def _artists_found(library: Library, rate: float, seed: int) -> tuple[int, int, int, int]:
    """Return how many artists there are, are wrong, are taken for wrong, and are both."""
    right = [track.genre for track in library.tracks]
    genres = swapped(library, "artist", rate, seed) if rate else right
    tracks = [replace(t, genre=genre) for t, genre in zip(library.tracks, genres, strict=True)]
    checked = predict_by_sound(
        library.base,
        tracks,
        library.embeddings,
        library.log_probabilities,
        min_tracks=MIN_TRACKS,
    )
    rows = library.tagged
    labels = np.array([checked.genres.index(genres[i]) for i in rows])
    artists = [tracks[i].artist for i in rows]
    found = find_artist_issues(checked.probabilities[rows], labels, artists)
    wrong = {tracks[i].artist for i in rows if genres[i] != right[i]}
    taken = {found.artists[i] for i in found.issues.wrong}
    there = wrong.intersection(found.artists)
    return len(found.artists), len(there), len(taken), len(taken & there)


def page_of(libraries: Sequence[Library], resamples: int) -> str:
    """Swap genres in libraries, and return how well rankings find them, as Markdown."""
    sources = [(one, name) for one in libraries for name in HEADLINE]
    small = [one.collection(name) for one, name in sources]
    small = sorted((one for one in small if one.tracks), key=lambda one: -len(one.tagged))
    trials = {
        (library.name, kind, rate): run_trial(library, kind, rate, n)
        for those, n in ((libraries, resamples), (small, 0))
        for library in those
        for kind in KINDS
        for rate in RATES
    }
    facts = [
        f"- {library.name}: {len(library.tagged)} tagged tracks of {len(library.tracks)} by "
        f"{metrics.count_artists(library.tracks[i].artist for i in library.tagged)} artists, "
        f"{len({library.tracks[i].genre for i in library.tagged})} genres"
        for library in libraries
    ]
    lines = [
        f"{SEEDS} seeds, averaged; 95 % intervals from {resamples} resamples of artists.",
        "",
        *facts,
        "",
        *tables(libraries, trials),
        *artist_tables(libraries),
        *(small_tables(small, trials) if small else []),
    ]
    return "\n".join(lines) + "\n"


@one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_data(parser)
    parser.add_argument("--resamples", type=positive, default=RESAMPLES, help="of artists")
    parser.add_argument("--page", type=Path, required=True, help="Markdown page to write to")
    arguments = parser.parse_args()
    libraries = libraries_of(gather_from(arguments, arguments.seed))
    made = page_of(libraries, arguments.resamples)
    markdown.write(arguments.page, "# Wrong genres found\n\n", MARKER, [made])


if __name__ == "__main__":
    main()
