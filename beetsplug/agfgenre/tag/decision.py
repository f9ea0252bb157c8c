"""From predictions to the genres that are set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from agf_core.data.genre_names import fold_genre_name
from beetsplug.agfgenre.fields import CONFIDENCE_DIGITS, TrackOrAlbum, own_value
from beetsplug.agfgenre.summary import Outcome
from beetsplug.agfgenre.vocabulary import Vocabulary, unique

if TYPE_CHECKING:
    from agf_core.inference.prediction import Prediction
    from beetsplug.agfgenre.config import Settings

MOST_CANDIDATES = 5
LEAST_SHARE = 0.5  # of the first candidate's probability
SEPARATORS = re.compile(r"[;,/|\\\0]")


@dataclass(frozen=True)
class StoredPrediction:
    """What the fields of a track or an album keep of a prediction.

    Attributes
    ----------
    genres : tuple of str
        The model's own labels, best first: the first, and at most four more that are at least half
        as probable as the first.
    confidence : float
        Probability of the first.
    style : str
        The most probable style below the first genre; empty where the model predicts none.
    style_confidence : float
        Its probability.
    """

    genres: tuple[str, ...]
    confidence: float
    style: str = ""
    style_confidence: float = 0.0

    @classmethod
    def of(cls, predictions: Sequence[Prediction]) -> StoredPrediction:
        """Summarise the mean of one or more predictions."""
        ranking = rank(predictions)
        best = ranking[0][1]
        genres = [genre for genre, share in ranking if share >= LEAST_SHARE * best]
        style, confidence = next(iter(rank_styles(predictions, genres[0])), ("", 0.0))
        return cls(tuple(genres[:MOST_CANDIDATES]), round(best, 4), style, round(confidence, 4))

    @classmethod
    def read(cls, obj: TrackOrAlbum | Mapping[str, Any], model_id: str) -> StoredPrediction | None:
        """Return what the fields of a track or an album have from the model called `model_id`."""
        if own_value(obj, "agf_model") != model_id:
            return None
        genres, confidence = own_value(obj, "agf_genres"), own_value(obj, "agf_confidence")
        if not genres or confidence is None:
            return None
        style, share = own_value(obj, "agf_style"), own_value(obj, "agf_style_confidence")
        return cls(tuple(genres), confidence, style or "", share or 0.0)

    def write(self, obj: TrackOrAlbum, model_id: str) -> None:
        """Set the fields of a track or an album, without storing it."""
        obj["agf_genres"] = list(self.genres)
        obj["agf_confidence"] = self.confidence
        if self.style:
            obj["agf_style"] = self.style
            obj["agf_style_confidence"] = self.style_confidence
        elif own_value(obj, "agf_style"):  # of another model
            del obj["agf_style"]
            del obj["agf_style_confidence"]
        obj["agf_model"] = model_id


@dataclass(frozen=True)
class Decision:
    """The genres to set, or why there are none."""

    genres: tuple[str, ...] = ()
    outcome: Outcome = Outcome.TAGGED

    @property
    def changes(self) -> bool:
        """Whether the track or the album gets other genres than it has."""
        return self.outcome in (Outcome.TAGGED, Outcome.REMOVED)


def rank(predictions: Sequence[Prediction]) -> list[tuple[str, float]]:
    """Average predictions; return the labels and their probabilities, best first."""
    columns = zip(*(prediction.probabilities for prediction in predictions), strict=True)
    means = [float(sum(column)) / len(predictions) for column in columns]
    return sorted(zip(predictions[0].labels, means, strict=True), key=lambda share: -share[1])


def rank_styles(predictions: Sequence[Prediction], genre: str) -> list[tuple[str, float]]:
    """Average predictions; return the styles of a genre and their probabilities, best first."""
    styles = predictions[0].styles
    columns = zip(*(prediction.style_probabilities for prediction in predictions), strict=True)
    means = [float(sum(column)) / len(predictions) for column in columns]
    pairs = zip(styles, means, strict=True)
    below = [(style.name, share) for style, share in pairs if style.genre == genre]
    return sorted(below, key=lambda share: -share[1])


def decide(prediction: StoredPrediction, vocabulary: Vocabulary, settings: Settings) -> Decision:
    """Turn a prediction into at most ``settings.count`` genres of the vocabulary.

    A style that is probable enough stands before its genre, if styles are wanted.

    The first candidate decides whether anything is set at all: it must be probable enough, and
    it must stand for a wanted genre. Probable enough is what is shown as probable enough.
    """
    if round(prediction.confidence, CONFIDENCE_DIGITS) < settings.min_confidence:
        return Decision(outcome=Outcome.UNSURE)
    names = [vocabulary.translate(label) for label in prediction.genres]
    if not names[0]:
        return Decision(outcome=Outcome.UNWANTED)
    sure = round(prediction.style_confidence, CONFIDENCE_DIGITS) >= settings.min_style_confidence
    if settings.styles and prediction.style and sure:
        names.insert(0, vocabulary.translate(prediction.style))
    return Decision(tuple(unique(chain.from_iterable(names))[: settings.count]))


def single(genres: Iterable[str]) -> set[str]:
    """Return genres one by one, where several may be in one text, as some programs write them."""
    parts = (fold_genre_name(part) for genre in genres for part in SEPARATORS.split(genre))
    return {part for part in parts if part}
