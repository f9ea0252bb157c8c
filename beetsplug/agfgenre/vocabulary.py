"""The genre names a user wants to see, in the file formats of beets' lastgenre plugin.

- ``whitelist``: a text file, one genre a line, ``#`` for comments;
- ``canonical``: a YAML tree of genres, general ones above special ones;
- ``aliases``: a YAML mapping from a genre to regular expressions of its other spellings;
- ``title_case``: whether names that come out in lower case get capitals.
- ``placeholders``: a list of names that stand in tags for want of a genre, and count as none.

The first three are ``no`` or empty (not used), ``yes`` (the file that comes with lastgenre) or the
name of a file; ``aliases`` may also be written into the configuration itself, as lastgenre has it.
Names are compared in any case and in any Unicode form; a genre that comes out has the form that the
label, the tree or the alias has.
"""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from beets.ui import UserError

from agf_core.data.genre_names import composed, fold_genre_name, fold_spelling
from beetsplug.agfgenre.config import switch

if TYPE_CHECKING:
    from confuse import ConfigView

BUNDLED = {
    "whitelist": "genres.txt",
    "canonical": "genres-tree.yaml",
    "aliases": "aliases.yaml",
}

KINDS = {
    "whitelist": "a text file",
    "canonical": "a file with a YAML tree",
    "aliases": "a file with a YAML mapping",
    "learn_as": "a file with a YAML mapping",
}

# Categories of Unicode's characters.
INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})
PUNCTUATION = frozenset({"Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Sk", "Sm"})
BYTE_ORDER_MARK = "\ufeff"
MOST_BRANCHES = 100_000  # of a genre tree, lastgenre's has a hundredth of that


@dataclass(frozen=True)
class Vocabulary:
    """Which genres are wanted, and how they are called.

    Attributes
    ----------
    whitelist : frozenset of str
        The keys of the wanted genres (`fold_genre_name`); empty if every genre is wanted.
    branches : tuple of tuple of str, or None
        The canonical tree as paths from the most general genre down; None to leave genres as they
        are.
    aliases : tuple of (pattern, str)
        Spellings, in lower case, and the genre each of them stands for; the first match wins. A
        genre without a name is not wanted.
    title_case : bool
        Whether a genre in lower case gets capitals.
    placeholders : frozenset of str
        The keys of names that are no genres (`placeholder_key`).
    """

    whitelist: frozenset[str] = frozenset()
    branches: tuple[tuple[str, ...], ...] | None = None
    aliases: tuple[tuple[re.Pattern[str], str], ...] = ()
    title_case: bool = True
    placeholders: frozenset[str] = frozenset()

    @classmethod
    def from_config(cls, config: ConfigView) -> Vocabulary:
        """Read the options and the files they name.

        Raises
        ------
        UserError
            If an option or a file cannot be used.
        """
        return cls(
            whitelist=_read_whitelist(config),
            branches=_read_tree(config),
            aliases=_read_aliases(config),
            title_case=switch(config, "title_case"),
            placeholders=_read_placeholders(config),
        )

    def genres_of(self, names: Iterable[str] | None) -> list[str]:
        """Return the names in a tag that are genres: neither blank nor placeholders."""
        return [name for name in names or () if not is_placeholder(name, self.placeholders)]

    def translate(self, label: str) -> list[str]:
        """Return the wanted genres that `label` stands for, the most special first.

        Without a whitelist it is one genre: the root of its branch if there is a canonical tree,
        itself otherwise. With one, it is every genre of the branch that the whitelist has. It is
        none if an alias maps the label to nothing, or to a placeholder.
        """
        name = self._unalias(label)
        names = [name] if self.branches is None else self._ancestry(name)
        names = self.genres_of(names)
        if self.whitelist:
            names = [name for name in names if fold_genre_name(name) in self.whitelist]
        else:
            names = names[-1:]
        return [title(name) for name in names] if self.title_case else names

    def main(self, genre: str) -> str:
        """Return the most general wanted genre that `genre` belongs to; empty if there is none."""
        return next(reversed(self.translate(genre)), "")

    def _unalias(self, label: str) -> str:
        spelling = composed(label).lower()
        for pattern, genre in self.aliases:
            if match := pattern.fullmatch(spelling):
                return match.expand(genre)
        return label

    def _ancestry(self, name: str) -> list[str]:
        return self._ancestries.get(fold_genre_name(name), [name])

    @cached_property
    def _ancestries(self) -> dict[str, list[str]]:
        """Each genre of the tree and those above it, the most special first, by its key."""
        ancestries: dict[str, list[str]] = {}
        for branch in self.branches or ():
            for depth, name in enumerate(branch, start=1):
                ancestries.setdefault(fold_genre_name(name), list(reversed(branch[:depth])))
        return ancestries


@lru_cache(maxsize=4096)  # a library has each name many times
def is_placeholder(name: str, placeholders: frozenset[str]) -> bool:
    """Return whether a name is no genre: blank, a placeholder, or nothing but several of these.

    Parameters
    ----------
    name : str
        In a tag.
    placeholders : frozenset of str
        Keys (`placeholder_key`).
    """
    if (key := placeholder_key(name)) == "" or key in placeholders:
        return True
    words = re.findall(r"[^\W_]+", name)
    return len(words) > 1 and placeholders.issuperset(map(placeholder_key, words))


def placeholder_key(name: str) -> str:
    """Return the key of a placeholder, the same for all spellings (`fold_spelling`).

    Names of punctuation alone have one key, and a name of which nothing is visible has none.
    """
    kinds = {unicodedata.category(character) for character in name} - INVISIBLE
    if all(kind in PUNCTUATION for kind in kinds):
        return "?" if kinds else ""
    return fold_spelling(name)


def title(name: str) -> str:
    """Capitalise a name that is all in lower case: "r&b" to "R&B", "children's" to "Children's".

    A name that has capitals already ("IDM", "Soul-RnB") is spelt as somebody meant it.
    """
    if name != name.lower():
        return name
    # A combining accent (U+0300 to U+036F) is a part of the letter before it.
    return re.sub(r"(?<![\w'\u2019\u0300-\u036f])\w", lambda letter: letter[0].upper(), name)


def unique(names: Iterable[str]) -> list[str]:
    """Return the names in their order, each genre once (`fold_genre_name`)."""
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(fold_genre_name(name), name)
    return list(first.values())


def _read_placeholders(config: ConfigView) -> frozenset[str]:
    names = config["placeholders"].get() or []
    if not isinstance(names, list) or any(
        isinstance(name, bool) or not isinstance(name, str | int) for name in names
    ):
        raise _error("placeholders", f"{names!r} is no list of names", "write ['?', Other, ...]")
    return frozenset(placeholder_key(str(name)) for name in names)


def _read_whitelist(config: ConfigView) -> frozenset[str]:
    path = _file(config, "whitelist")
    if path is None:
        return frozenset()
    lines = map(fold_genre_name, _read("whitelist", path).splitlines())
    genres = frozenset(line for line in lines if line and not line.startswith("#"))
    if not genres:
        raise _error("whitelist", f"{path} names no genre", "write one on each line")
    return genres


def _read_tree(config: ConfigView) -> tuple[tuple[str, ...], ...] | None:
    path = _file(config, "canonical")
    if path is None:
        return None
    tree = _read_yaml("canonical", path)
    if not isinstance(tree, list | dict):
        raise _error(
            "canonical", f"{path} holds no tree", "write it as lastgenre's genres-tree.yaml"
        )
    try:
        branches = tuple(islice(_branches(tree, ()), MOST_BRANCHES + 1))
    except RecursionError:
        raise _endless("canonical", path) from None
    if len(branches) > MOST_BRANCHES:
        raise _error(
            "canonical", f"{path} has more than {MOST_BRANCHES} branches", "name a smaller tree"
        )
    return branches


def _branches(tree: Any, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield every path from the root of a nested YAML tree to one of its leaves."""
    if tree is None or tree == [] or tree == {}:
        yield above
    elif isinstance(tree, Mapping):
        for name, below in tree.items():
            yield from _branches(below, (*above, str(name).lower()))
    elif isinstance(tree, list):
        for below in tree:
            yield from _branches(below, above)
    else:
        yield (*above, str(tree).lower())


def _read_aliases(config: ConfigView) -> tuple[tuple[re.Pattern[str], str], ...]:
    aliases = config["aliases"].get()
    source = "the configuration"
    if not isinstance(aliases, Mapping):
        path = _file(config, "aliases")
        if path is None:
            return ()
        source, aliases = str(path), _read_yaml("aliases", path)
    if not isinstance(aliases, Mapping):
        raise _error("aliases", f"{source} holds no mapping", "write genre: [spelling, ...]")
    return tuple(
        (_pattern(genre, spelling, source), genre)
        for name, spellings in aliases.items()
        for genre in [_name(name)]
        for spelling in _spellings(genre, spellings, source)
    )


def _name(value: Any) -> str:
    """Return the genre that a YAML value stands for; empty if it is none (``~``, ``no``)."""
    return "" if value is None or value is False else str(value).strip()


def _spellings(genre: str, spellings: Any, source: str) -> Sequence[str]:
    if not isinstance(spellings, list) or any(
        isinstance(spelling, list | Mapping) for spelling in spellings
    ):
        raise _error(
            "aliases", f"{genre!r} in {source} has no list", "write genre: [spelling, ...]"
        )
    return [str(spelling) for spelling in spellings]


def _pattern(genre: str, spelling: str, source: str) -> re.Pattern[str]:
    """Compile a spelling, and see that the groups which its genre refers to exist."""
    try:
        pattern = re.compile(composed(spelling), re.IGNORECASE)
        pattern.sub(genre, "")
    except (re.error, IndexError) as error:
        raise _error(
            "aliases", f"{spelling!r} in {source} cannot be used ({error})", "correct it"
        ) from None
    return pattern


def read_learn_as(config: ConfigView) -> dict[str, str]:
    """Read the user's mapping from the keys of genres to the genres that they are trained as.

    An empty one, or a placeholder, means that a genre is not trained on at all.

    Raises
    ------
    UserError
        If the option or the file cannot be used.
    """
    mapping = config["learn_as"].get()
    source = "the configuration"
    if not isinstance(mapping, Mapping):
        path = _file(config, "learn_as")
        if path is None:
            return {}
        source, mapping = str(path), _read_yaml("learn_as", path)
    if not isinstance(mapping, Mapping) or any(
        isinstance(name, list | set | Mapping) for name in mapping.values()
    ):
        raise _error("learn_as", f"{source} holds no mapping", "write genre: main genre")
    placeholders = _read_placeholders(config)
    names = {fold_genre_name(str(genre)): _name(name) for genre, name in mapping.items()}
    return {
        genre: "" if is_placeholder(name, placeholders) else name for genre, name in names.items()
    }


def _file(config: ConfigView, option: str) -> Path | None:
    """Return the file an option names, or None if the option is off."""
    value = config[option].get()
    if value is False or value is None or value == "":
        return None
    if value is True and option in BUNDLED:
        return _bundled(option)
    if not isinstance(value, str):
        raise _error(option, f"{value!r} is neither yes, no nor a file", "give one of them")
    return Path(config[option].as_filename())


def _bundled(option: str) -> Path:
    """Find a file of lastgenre without importing the plugin, which needs more packages."""
    spec = importlib.util.find_spec("beetsplug.lastgenre")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder) / BUNDLED[option]).is_file():
            return path
    raise _error(
        option,
        f"this beets comes without lastgenre's {BUNDLED[option]}",
        "name a file of your own instead of yes, or update beets",
    )


def _read(option: str, path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        problem = error.strerror or error
        remedy = f"name {KINDS[option]}"
        raise _error(option, f"{path} cannot be read ({problem})", remedy) from None
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # as in UTF-16
        raise _error(option, f"{path} is not UTF-8 text", "save it as UTF-8")
    return text.replace(BYTE_ORDER_MARK, "")  # joined files have several


def _read_yaml(option: str, path: Path) -> Any:
    try:
        return yaml.safe_load(_read(option, path))
    except (yaml.YAMLError, ValueError) as error:  # the latter from what looks like a date
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1})" if mark else ""
        raise _error(option, f"{path} is not YAML{place}", "correct it") from None
    except RecursionError:
        raise _endless(option, path) from None


def _endless(option: str, path: Path) -> UserError:
    problem = f"{path} refers to itself, or is nested too deeply"
    return _error(option, problem, "take that part out")


def _error(option: str, problem: str, remedy: str) -> UserError:
    return UserError(f"agfgenre: {option}: {problem}: {remedy}, or set {option}: no")
