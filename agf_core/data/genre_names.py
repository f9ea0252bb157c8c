"""Names of genres, compared by what they spell and not by how they are encoded."""

import unicodedata


def composed(name: str) -> str:
    """Return a name in Unicode's composed form (NFC), in which equal names are equal texts."""
    return unicodedata.normalize("NFC", name)


def fold_genre_name(name: str) -> str:
    """Key of a genre: the same for its names in any case and in any Unicode form."""
    return composed(composed(name.strip()).casefold())
