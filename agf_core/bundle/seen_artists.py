"""Which artists a model was trained on, without their names: salted hashes in ``trained_on``."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from agf_core.data.artist_names import fold_artist_name

ARTIST_HASHES = "artist_hashes"  # in `Metadata.trained_on`
HASH_DIGITS = 16  # of a hash that are kept


def hash_artists(artists: Iterable[str], salt: str = "") -> dict[str, Any]:
    """Return hashes of artists as JSON can hold them.

    Parameters
    ----------
    artists : iterable of str
        Names or keys (`fold_artist_name`); an empty one is nobody.
    salt : str
        By default one that follows from the artists, so that the same model is made again.

    Returns
    -------
    dict
        ``salt`` and ``artists``: the sorted hashes.
    """
    names = sorted(set(artists) - {""})
    salt = salt or _hash("", "\n".join(names))
    return {"salt": salt, "artists": sorted({_hash(salt, name) for name in names})}


def seen_artists(trained_on: Mapping[str, Any], artists: Iterable[str]) -> set[str]:
    """Return those of some artists that a model was trained on, as far as its metadata has them.

    Parameters
    ----------
    trained_on : mapping
        Of the model's metadata, which may hold anything.
    artists : iterable of str
    """
    hashes = trained_on.get(ARTIST_HASHES)
    if not isinstance(hashes, Mapping) or not isinstance(hashes.get("artists"), list):
        return set()
    salt, seen = str(hashes.get("salt")), set(map(str, hashes["artists"]))
    return {artist for artist in artists if _hash(salt, artist) in seen}


def _hash(salt: str, artist: str) -> str:
    key = fold_artist_name(artist) or artist
    return hashlib.sha256(f"{salt}\0{key}".encode()).hexdigest()[:HASH_DIGITS]
