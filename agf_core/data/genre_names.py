"""Compare names of genres by their spelling, not by their encoding."""

import unicodedata


def composed(name: str) -> str:
    """Return a name in Unicode's composed form (NFC), in which equal names are equal texts."""
    return unicodedata.normalize("NFC", name)


def fold_genre_name(name: str) -> str:
    """Return the key of a genre, the same for its name in any case and any Unicode form."""
    return composed(composed(name.strip()).casefold())
