"""Compare names of genres by their spelling, not by their encoding."""

import unicodedata
from collections.abc import Sequence


def composed(name: str) -> str:
    """Return a name in Unicode's composed form (NFC), in which equal names are equal texts."""
    return unicodedata.normalize("NFC", name)


def fold_genre_name(name: str) -> str:
    """Return the key of a genre, the same for its name in any case and any Unicode form."""
    return composed(composed(name.strip()).casefold())


def namesakes(known: Sequence[str], genres: Sequence[str]) -> list[int | None]:
    """Return where each of the genres stands among the known ones (`fold_genre_name`)."""
    place = {fold_genre_name(name): i for i, name in enumerate(known)}
    return [place.get(fold_genre_name(genre)) for genre in genres]
