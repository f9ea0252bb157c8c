"""Genres that do not go together in one library, whatever the music sounds like."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agf_core.data.genre_names import composed, fold_spelling
from beetsplug.agfgenre.vocabulary import unique

if TYPE_CHECKING:
    from collections.abc import Hashable

    from beetsplug.agfgenre.audit.rows import Row

FEWEST, MOST_SHARE = 3, 2 / 3  # tracks of a group, and the share that its common genre must have


@dataclass(frozen=True)
class Outliers:
    """An album or an artist most of whose tracks have one genre, and the tracks that have others.

    Attributes
    ----------
    name : str
        Of the album with its artist, or of the artist.
    genre : str
        The common one.
    count : int
        Tracks that have it.
    others : tuple of Row
        Tracks that do not.
    in_one_album : bool
        Whether all of these tracks are of one album.
    """

    name: str
    genre: str
    count: int
    others: tuple[Row, ...]
    in_one_album: bool


@dataclass(frozen=True)
class Consistency:
    """What does not go together.

    Attributes
    ----------
    albums, artists : list of Outliers
        The clearest first.
    spellings : list of tuple of (str, int)
        Several spellings of one genre with the number of their tracks, the most common first.
    once : list of str
        Genres that one track of the library has.
    """

    albums: list[Outliers]
    artists: list[Outliers]
    spellings: list[tuple[tuple[str, int], ...]]
    once: list[str]


def check(rows: Sequence[Row], matched: Collection[int]) -> Consistency:
    """Compare the genres of a library's tracks.

    Parameters
    ----------
    rows : sequence of Row
        Of the whole library.
    matched : collection of int
        Ids of the tracks that are of interest.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        for genre in unique(row.genres):
            counts[fold_spelling(genre)][composed(genre.strip())] += 1
    here = {fold_spelling(genre) for row in rows if row.id in matched for genre in row.genres}
    groups = [counts[key] for key in counts if key in here]
    spellings = [tuple(names.most_common()) for names in groups if len(names) > 1]
    return Consistency(
        albums=_outliers(
            rows,
            matched,
            lambda row: row.album,
            _album_name,
        ),
        artists=[
            one
            for one in _outliers(
                rows,
                matched,
                lambda row: row.artist_name and row.artist,
                lambda row: row.artist_name,
            )
            if not one.in_one_album
        ],
        spellings=sorted(spellings, key=lambda names: -sum(count for _, count in names)),
        once=sorted(next(iter(names)) for names in groups if names.total() == 1),
    )


def _album_name(row: Row) -> str:
    album = row.album_name.strip() or f"album_id:{row.album}"
    return " - ".join(filter(None, (row.artist_name.strip(), album)))


def _outliers(
    rows: Iterable[Row],
    matched: Collection[int],
    key: Callable[[Row], Hashable],
    name: Callable[[Row], str],
) -> list[Outliers]:
    """Return the groups of tracks that nearly all have one genre; kept genres are no outliers."""
    groups: dict[Hashable, list[Row]] = defaultdict(list)
    for row in rows:
        if row.main and key(row):
            groups[key(row)].append(row)
    found = []
    for group in groups.values():
        genre, count = Counter(row.main for row in group).most_common(1)[0]
        others = [row for row in group if genre not in row.mains and not row.kept]
        few = len(group) < FEWEST or count < MOST_SHARE * len(group)
        if not few and any(row.id in matched for row in others):
            albums = {row.album or -row.id for row in group}
            found.append(Outliers(name(group[0]), genre, count, tuple(others), len(albums) == 1))
    return sorted(found, key=lambda one: (-one.count / len(one.others), one.name))
