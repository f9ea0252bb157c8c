"""Inspect artist groups: a figure and a table per source, for a person to read.

    python -m training.studies.inspect_groups --table collection.csv --work work \
        --output groups

makes groups of all artists of the table and writes ``README.md`` and a PNG per source. What stands
in ``README.md`` above its marker line is kept: the place for a person's notes.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agf_core.constants import SAMPLE_RATE
from agf_core.data.tracks import Track
from agf_core.features.cache import FeatureCache
from agf_core.groups.codebook import Observations
from agf_core.groups.lda import ArtistGroups
from agf_core.metrics import count_artists
from training import cli, markdown
from training.datasets.collection import read_csv
from training.datasets.folders import genres_of
from training.features import DESCRIPTORS, describe

SEVERAL = "no one genre"
MARKER = "<!-- Below this line: written by `python -m training.studies.inspect_groups`. -->"
ARTISTS_LISTED = 5  # artists listed for each group
UNUSED_SHARE = 0.05  # times a group's even share of the artists
SHUFFLES = 20


@dataclass(frozen=True)
class View:
    """Groups of one source, with the genres and corpora of the artists in them.

    Attributes
    ----------
    source : str
    artists : list of str
        In alphabetical order, those with a description.
    shares : np.ndarray [shape=(n_artists, n_groups)]
        Rows sum to 1. Groups stand in the order of their main genre, then of their use.
    genres : tuple of str
        The last is `SEVERAL`.
    genre_of : np.ndarray [shape=(n_artists, n_genres)]
        Shares of the genres in each artist's tracks.
    corpus_of : np.ndarray [shape=(n_artists, n_corpora)]
        The same of where the tracks come from.
    """

    source: str
    artists: list[str]
    shares: np.ndarray
    genres: tuple[str, ...]
    genre_of: np.ndarray
    corpus_of: np.ndarray

    @property
    def genre_shares(self) -> np.ndarray:
        """Of each group the share that each genre has in it, (n_groups, n_genres)."""
        mixed = self.shares.T @ self.genre_of
        return mixed / mixed.sum(axis=1, keepdims=True)

    @property
    def use(self) -> np.ndarray:
        """Share of all artists in each group, (n_groups,)."""
        return self.shares.mean(axis=0)


def perplexity(shares: np.ndarray) -> np.ndarray:
    """Return how many equal shares are as uneven as these, along the last axis."""
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.exp(-(shares * logs).sum(axis=-1))


def information(shares: np.ndarray, classes: np.ndarray) -> tuple[float, float]:
    """Return the mutual information of an artist's groups and class; rows of zeros have none.

    Returns
    -------
    information, by_chance : float
        Mutual information as a share of the entropy of the classes, and what remains of it when
        groups are dealt out to other artists.
    """
    rng = np.random.default_rng(0)
    known = classes.any(axis=1)
    shares, classes = shares[known], classes[known]
    classes = classes / classes.sum(axis=1, keepdims=True)

    def mutual(shares: np.ndarray) -> float:
        joint = shares.T @ classes / len(shares)  # (n_groups, n_classes)
        groups, kinds, both = (
            np.log(perplexity(p)) for p in (joint.sum(axis=1), joint.sum(axis=0), joint.ravel())
        )
        return float((groups + kinds - both) / kinds)

    chance = np.mean([mutual(rng.permutation(shares)) for _ in range(SHUFFLES)])
    return mutual(shares), float(chance)


def look(source: str, tracks: Sequence[Track], observations: Observations, seed: int) -> View:
    """Make groups of all artists, with the artists' genres and corpora."""
    keys = [track.artist for track in tracks]
    groups = ArtistGroups.fit(source, observations, keys, seed=seed)
    artists, shares = groups.transform(observations, keys)
    known = ~np.isnan(shares).any(axis=1)
    artists, shares = [a for a, k in zip(artists, known, strict=True) if k], shares[known]
    genres = (*genres_of(tracks), SEVERAL)
    corpora = sorted({track.source for track in tracks})
    genre_of = np.zeros((len(artists), len(genres)))
    corpus_of = np.zeros((len(artists), len(corpora)))
    row = {artist: i for i, artist in enumerate(artists)}
    for track in tracks:
        if track.artist in row:
            genre_of[row[track.artist], genres.index(track.genre or SEVERAL)] += 1
            corpus_of[row[track.artist], corpora.index(track.source)] += 1
    genre_of /= genre_of.sum(axis=1, keepdims=True)
    corpus_of /= corpus_of.sum(axis=1, keepdims=True)
    order = np.lexsort([-shares.mean(axis=0), (shares.T @ genre_of).argmax(axis=1)])
    return View(source, artists, shares[:, order], genres, genre_of, corpus_of)


HEAD = (
    *("source", "made of", "artists", "groups", "groups in use", "groups per artist"),
    *("of the genre (by chance)", "of the corpus (by chance)"),
)


def summary(view: View) -> list[str]:
    """Return a source's row of the table that compares them."""
    known, chance = information(view.shares, view.genre_of[:, :-1])
    row = [
        *(view.source, DESCRIPTORS[view.source], f"{len(view.artists)}", f"{view.shares.shape[1]}"),
        *(f"{perplexity(view.use):.1f}", f"{perplexity(view.shares).mean():.1f}"),
        f"{known:.0%} ({chance:.0%})",
    ]
    if view.corpus_of.shape[1] < 2:
        return [*row, ""]
    known, chance = information(view.shares, view.corpus_of)
    return [*row, f"{known:.0%} ({chance:.0%})"]


def typical(view: View, group: int, n: int = ARTISTS_LISTED) -> list[str]:
    """Return the artists with the largest share of a group; none if hardly used."""
    if view.use[group] < UNUSED_SHARE / len(view.use):
        return ["(unused)"]
    return [view.artists[i] for i in np.argsort(-view.shares[:, group], kind="stable")[:n]]


def table(view: View) -> str:
    """Markdown: each group's use, most typical artists and main genres."""
    made_of = DESCRIPTORS[view.source]
    picture = f"![Genres in each group made of {made_of}]({view.source}.png)\n"
    rows = []
    for group, (use, genres) in enumerate(zip(view.use, view.genre_shares, strict=True)):
        largest = np.argsort(-genres, kind="stable")[:3]
        mixture = ", ".join(f"{view.genres[g]} {genres[g]:.0%}" for g in largest)
        names = ", ".join(typical(view, group)).replace("|", "/")
        rows.append([f"{group + 1}", f"{use:.1%}", names, mixture])
    head = ("group", "of all artists", "most typical artists", "main genres")
    return "\n".join([f"## {view.source}: {made_of}\n", picture, markdown.table(head, rows)])


def draw(view: View, path: Path) -> None:
    """Figure: the share of each genre in each group, the group's use, and its typical artists."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    n_groups, n_genres = view.genre_shares.shape
    rows = range(n_groups)
    figure, (left, middle, right) = plt.subplots(
        ncols=3,
        figsize=(12, 2.2 + 0.2 * n_groups),
        width_ratios=[n_genres, 2.5, 9],
        layout="constrained",
        sharey=True,
    )
    image = left.imshow(view.genre_shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    left.set_xticks(range(n_genres), view.genres, rotation=60, ha="right", rotation_mode="anchor")
    left.set_yticks(rows, [str(group + 1) for group in rows], fontsize=8)
    left.set_ylabel("group")
    left.set_title("share of each genre in the group", fontsize=10)
    figure.colorbar(image, ax=left, location="left", shrink=0.5)
    middle.barh(rows, 100 * view.use, color="0.6")
    middle.axvline(100 / n_groups, color="0.2", linewidth=0.8, linestyle=":")
    middle.set_title("% of all artists", fontsize=10)
    middle.set_xlabel("dotted:\nall alike")
    middle.spines[["top", "right"]].set_visible(False)
    right.set_title("most typical artists", fontsize=10)
    right.axis("off")
    for group in rows:
        names = ", ".join(name[:24] for name in typical(view, group, 3))
        right.text(0, group, names, va="center", fontsize=8, parse_math=False)
    figure.suptitle(f"{view.source}: {n_groups} groups made of {DESCRIPTORS[view.source]}")
    figure.savefig(path, dpi=70)
    plt.close(figure)


def write(views: Sequence[View], output: Path, made: str) -> None:
    """Write figures and ``README.md``, keeping what a person wrote above the marker."""
    output.mkdir(parents=True, exist_ok=True)
    parts = [
        f"{made}\n",
        markdown.table(HEAD, map(summary, views)),
        "*Groups in use* and *groups per artist* are perplexities: of the mean shares, and the\n"
        "mean of each artist's. *Of the genre* is the mutual information of groups and genre (or\n"
        "the corpus a clip is from) as a share of the latter's entropy; *by chance*, with the\n"
        "artists shuffled. Artists without a main genre are left out there.\n",
    ]
    for view in views:
        draw(view, output / f"{view.source}.png")
        parts.append(table(view))
    markdown.write(output / "README.md", "# Artist groups\n\n", MARKER, parts)


@cli.one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    cli.add_collection(parser)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--sources", default="mdes", help="letters of the sources")
    parser.add_argument("--fmax", type=float, default=SAMPLE_RATE / 2, help="of MFCCs, hertz")
    parser.add_argument("--processes", type=cli.positive, help="at a time; by default one per core")
    parser.add_argument("--seed", type=cli.seed_number, default=0)
    arguments = parser.parse_args()
    if unknown := set(arguments.sources) - set(DESCRIPTORS):
        parser.error(f"unknown sources: {', '.join(sorted(unknown))}")
    tracks = read_csv(arguments.table).tracks
    cache = FeatureCache(arguments.work / "features")
    descriptors = describe(
        tracks, arguments.sources, cache, fmax=arguments.fmax, processes=arguments.processes
    )
    views = []
    for source, observations in descriptors.items():
        views.append(look(source, tracks, observations, arguments.seed))
        print(*summary(views[-1]), sep=" | ", flush=True)
    made = (
        f"{len(tracks)} clips by {count_artists(track.artist for track in tracks)} artists; "
        f"MFCCs up to {arguments.fmax:g} Hz; seed {arguments.seed}."
    )
    write(views, arguments.output, made)


if __name__ == "__main__":
    main()
