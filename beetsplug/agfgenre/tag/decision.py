"""From what was heard to the genres that are set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING, Any

from beets.library import Album, Item

from agf_core.data.genre_names import fold_genre_name
from beetsplug.agfgenre.vocabulary import Vocabulary, unique

if TYPE_CHECKING:
    from agf_core.inference.prediction import Prediction
    from beetsplug.agfgenre.config import Settings

    Model = Album | Item

MOST_CANDIDATES = 5
LEAST_SHARE = 0.5  # of the first candidate's probability
SEPARATORS = re.compile(r"[;,/|\\\0]")
SHOWN_DIGITS = 2  # of a confidence


class Outcome(Enum):
    """What became of a track or an album."""

    TAGGED = "tagged"
    WITHDRAWN = "taken back because unsure or unwanted by now"
    UNCHANGED = "already right"
    UNSURE = "left alone because unsure"
    UNWANTED = "not wanted by whitelist or aliases"
    TAKEN = "already had genres"
    IN_FILE = "left alone because the file has other genres"
    CHANGED = "left alone because changed since"
    GONE = "no longer in the library"
    FAILED = "failed"


@dataclass(frozen=True)
class Heard:
    """What a model hears in a track or an album: what is stored beside it.

    Attributes
    ----------
    genres : tuple of str
        The model's own labels, best first: the first, and at most four more that are at least half
        as probable as the first.
    confidence : float
        Probability of the first.
    """

    genres: tuple[str, ...]
    confidence: float

    @classmethod
    def of(cls, predictions: Sequence[Prediction]) -> Heard:
        """Summarise the mean of one or more predictions."""
        ranking = rank(predictions)
        best = ranking[0][1]
        genres = [genre for genre, share in ranking if share >= LEAST_SHARE * best]
        return cls(tuple(genres[:MOST_CANDIDATES]), round(best, 4))

    @classmethod
    def recall(cls, model: Model, model_id: str) -> Heard | None:
        """Return what the model called `model_id` heard before, if it did."""
        if _own(model, "agf_model") != model_id:
            return None
        genres, confidence = _own(model, "agf_genres"), _own(model, "agf_confidence")
        return cls(tuple(genres), confidence) if genres and confidence is not None else None

    def remember(self, model: Model, model_id: str) -> None:
        """Put this into the fields of a track or an album, without storing it."""
        model["agf_genres"] = list(self.genres)
        model["agf_confidence"] = self.confidence
        model["agf_model"] = model_id


@dataclass(frozen=True)
class Decision:
    """The genres that are set, or why none are."""

    genres: tuple[str, ...] = ()
    outcome: Outcome = Outcome.TAGGED


def rank(predictions: Sequence[Prediction]) -> list[tuple[str, float]]:
    """Average predictions; return the labels and their probabilities, best first."""
    columns = zip(*(prediction.probabilities for prediction in predictions), strict=True)
    means = [float(sum(column)) / len(predictions) for column in columns]
    return sorted(zip(predictions[0].labels, means, strict=True), key=lambda share: -share[1])


def decide(heard: Heard, vocabulary: Vocabulary, settings: Settings) -> Decision:
    """Turn what was heard into at most ``settings.count`` genres of the vocabulary.

    The first candidate decides whether anything is set at all: it must be probable enough, and
    it must stand for a wanted genre. Probable enough is what is shown as probable enough.
    """
    if round(heard.confidence, SHOWN_DIGITS) < settings.min_confidence:
        return Decision(outcome=Outcome.UNSURE)
    names = [vocabulary.translate(label) for label in heard.genres]
    if not names[0]:
        return Decision(outcome=Outcome.UNWANTED)
    return Decision(tuple(unique(chain.from_iterable(names))[: settings.count]))


def single(genres: Iterable[str]) -> set[str]:
    """Return genres one by one, where several may be in one text, as some programs write them."""
    parts = (fold_genre_name(part) for genre in genres for part in SEPARATORS.split(genre))
    return {part for part in parts if part}


def set_by_us(model: Model) -> tuple[str, ...]:
    """Return the genres that this plugin has set on a track or an album."""
    return tuple(_own(model, "agf_set") or ())


def mark_ours(model: Model, genres: Sequence[str]) -> None:
    """Note which genres this plugin has set, without storing it."""
    if genres:
        model["agf_set"] = list(genres)
    elif set_by_us(model):
        del model["agf_set"]


def is_ours(model: Model, genres: Sequence[str]) -> bool:
    """Tell whether a track or an album has genres because this plugin set them."""
    ours = set(map(fold_genre_name, set_by_us(model)))
    return all(fold_genre_name(genre) in ours for genre in genres)


def _own(model: Model, field: str) -> Any:
    """Read a field of a track that does not come from its album."""
    return model.get(field, with_album=False) if isinstance(model, Item) else model.get(field)
