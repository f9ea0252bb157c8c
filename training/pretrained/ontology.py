"""Which classes of the teachers are evidence for a genre or a style, read from ``styles.yaml``."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import yaml

from agf_core.bundle.format import SHIPPED, Style
from agf_core.train.class_head import HeadSizes
from training.errors import RunError

STYLES = SHIPPED.parent / "styles.yaml"
CLASSES = Path(__file__).parents[1] / "teachers" / "classes.json"
TEACHERS = ("msd", "as")  # musicnn's tags and mn04_as's classes, as styles.yaml calls them
MUSIC = "as:Music"


@lru_cache(maxsize=1)
def class_names() -> tuple[str, ...]:
    """Return the names of all classes, such as ``as:Reggae``, in the order of the outputs."""
    known = json.loads(CLASSES.read_text(encoding="utf-8"))
    return (
        *(f"msd:{name}" for name in known["msd"]),
        *(f"as:{name}" for name in known["as"].values()),
    )


@lru_cache(maxsize=1)
def audioset_indices() -> tuple[int, ...]:
    """Return which of AudioSet's 527 classes are used: voices, music and noise."""
    return tuple(map(int, json.loads(CLASSES.read_text(encoding="utf-8"))["as"]))


@dataclass(frozen=True)
class Ontology:
    """Genres, styles, and the classes of each.

    Attributes
    ----------
    genres : tuple of str
    styles : tuple of Style
    table : np.ndarray [shape=(n_classes, n_teachers * n_genres), dtype=float32]
        1 where a class is evidence for a genre, in the columns of the teacher that the class is of.
    terms : np.ndarray [shape=(n_styles, n_terms, 2), dtype=int32]
        Classes: a style is as probable as the most probable of its terms, a term as the less
        probable of its two classes. Terms are repeated where a style has fewer than others.
    """

    genres: tuple[str, ...]
    styles: tuple[Style, ...]
    table: np.ndarray
    terms: np.ndarray

    @property
    def evidence_table(self) -> np.ndarray:
        """`table`, where a teacher without a class of some genre borrows the other's.

        Without its classes it would count against such genres (Reggae has no tag among musicnn's),
        and only a bias fitted to many labels could make up for that.
        """
        found = self.table.reshape(len(self.table), len(TEACHERS), -1)
        either = found.max(axis=1, keepdims=True)
        filled: np.ndarray = np.where(found.any(axis=0), found, either)
        return filled.reshape(self.table.shape)

    @property
    def sizes(self) -> HeadSizes:
        """Those of the head that it makes."""
        n_styles, n_terms, _ = self.terms.shape
        return HeadSizes(len(self.table), len(TEACHERS), len(self.genres), n_styles, n_terms)


def read_ontology(path: Path = STYLES) -> Ontology:
    """Read genres and styles.

    Raises
    ------
    RunError
        When the file names a class that no teacher has.
    """
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    genres = tuple(content)
    place = {name: i for i, name in enumerate(class_names())}
    table = np.zeros((len(place), len(TEACHERS), len(genres)), np.float32)
    styles, terms = [], []
    try:
        for g, (genre, entry) in enumerate(content.items()):
            alone = list(entry["classes"])
            for name, alternatives in entry["styles"].items():
                styles.append(Style(name, genre))
                pairs = [[part.strip() for part in term.split("&")] for term in alternatives]
                terms.append([(place[pair[0]], place[pair[-1]]) for pair in pairs])
                alone += [pair[0] for pair in pairs if len(pair) == 1]
            for name in alone:
                table[place[name], TEACHERS.index(name.partition(":")[0]), g] = 1
    except KeyError as error:
        raise RunError(f"{path} names {error}, which is no class of a teacher") from error
    most = max(map(len, terms))
    padded = [found + [found[0]] * (most - len(found)) for found in terms]
    return Ontology(
        genres, tuple(styles), table.reshape(len(place), -1), np.array(padded, np.int32)
    )
