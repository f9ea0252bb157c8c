"""Fold names of artists, so that every spelling of an artist has one key."""
# ruff: noqa: RUF001 (letters that look alike are the point)

import re
import unicodedata
from functools import lru_cache

LONGEST_NAME = 1_000  # characters that count
ARTICLES = "the|a|an|die|der|das|los|las|les|la|le|el|il"
NO_ARTIST = re.compile(
    r"various|va|v a|unknown|(various|unknown|no) artists?|artistes divers|divers artistes|"
    r"(verschiedene|diverse) interpreten|varios artistas|artisti vari|разные исполнители|"
    r"неизвестный исполнитель|ヴァリアス アーティスツ?ト?|群星|未知艺术家"
)
GUEST_CREDIT = re.compile(
    r"[\s(\[{]+(feat|ft|featuring)(\.\s?|\s)(?!and\b|(feat|ft|featuring)\b)(?=[\w\"'$!*@])", re.I
)
PLAIN_LETTERS = str.maketrans(
    dict(zip("øđðłıæœþё", ["o", "d", "d", "l", "i", "ae", "oe", "th", "е"], strict=True))
)


def fold_artist_name(name: str) -> str:
    """Return the key of an artist, the same for all spellings of its name.

    Case, width, accents, punctuation, a leading "The" and "&" for "and" do not count; a "featured"
    guest is cut off. "Beatles, The" is "The Beatles". Signs alone are a name ("!!!").

    Returns
    -------
    str
        Empty where the name is no artist ("Various Artists", "").
    """
    return _fold(name[:LONGEST_NAME])


@lru_cache(maxsize=4096)  # a library names each artist many times
def _fold(name: str) -> str:
    name = " ".join(unicodedata.normalize("NFKC", name).split())
    if guest := GUEST_CREDIT.search(name, 1):
        name = name[: guest.start()]
    whole = re.sub(rf"^(.+), ({ARTICLES})$", r"\2 \1", name.casefold())
    letters: list[str] = []
    for character in unicodedata.normalize("NFKD", whole):
        # Accents on Latin and Greek letters do not count; marks of other scripts distinguish words.
        if not (unicodedata.combining(character) and letters and letters[-1] < "\u0400"):
            letters.append(character)
    folded = unicodedata.normalize("NFC", "".join(letters)).translate(PLAIN_LETTERS)
    folded = re.sub(r"(?<=\w)\$(?=\w)", "s", folded)  # Ke$ha
    folded = re.sub(r"(?<=\w)!(?=\w)", "i", folded)  # P!nk
    folded = re.sub(r"(?<=\w) ?[&+] (?=\w)", " and ", folded)
    folded = re.sub(r"['’‘`´.]", "", folded)  # Destiny's Child, R.E.M.
    words = "".join(c if unicodedata.category(c)[0] in "LNM" else " " for c in folded).split()
    key = " ".join(words) or whole
    if NO_ARTIST.fullmatch(key):
        return ""
    short = key.removeprefix("the ")
    return key if short == "the" or NO_ARTIST.fullmatch(short) else short
