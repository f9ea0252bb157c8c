"""Compare names of genres by their spelling, not by their encoding."""

import re
import unicodedata
from collections.abc import Sequence


def composed(name: str) -> str:
    """Return a name in Unicode's composed form (NFC), in which equal names are equal texts."""
    return unicodedata.normalize("NFC", name)


def fold_genre_name(name: str) -> str:
    """Return the key of a genre, the same for its name in any case and any Unicode form."""
    return composed(composed(name.strip()).casefold())


def fold_spelling(name: str) -> str:
    """Return the key of a genre, the same for all spellings of its name.

    Case, width, accents, spaces and punctuation do not count, nor does how "and" is written:
    "Hip Hop" is "hip-hop", "Drum & Bass" is "Drum'n'Bass", and "RnB" is "R&B".
    """
    whole = fold_genre_name(name)
    plain = unicodedata.normalize("NFKD", whole).casefold()
    plain = re.sub(r"(?<!\w)and(?!\w)|[&+]", "n", plain)
    # Accents on Latin and Greek letters do not count; marks of other scripts distinguish words.
    plain = re.sub("(?<=[a-z\u0370-\u03ff])[\u0300-\u036f]+", "", plain)
    letters = "".join(c for c in plain if unicodedata.category(c)[0] in "LNM")
    return letters or whole


def namesakes(known: Sequence[str], genres: Sequence[str]) -> list[int | None]:
    """Return where each of the genres stands among the known ones (`fold_genre_name`)."""
    place = {fold_genre_name(name): i for i, name in enumerate(known)}
    return [place.get(fold_genre_name(genre)) for genre in genres]
