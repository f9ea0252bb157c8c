"""Predictions adjusted to another class prior."""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace
from itertools import tee
from typing import Any, Protocol

import numpy as np

from agf_core.bundle.format import Style
from agf_core.inference.prediction import FileResult, P, Prediction
from agf_core.label_shift import adjust_prior
from agf_core.not_music import is_not_music


class Tagger(Protocol):
    """Predicts from files, as `IsolatedTagger` and `GenreTagger` do."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The genres of the model."""

    @property
    def styles(self) -> tuple[Style, ...]:
        """The styles of the model."""

    @property
    def model_id(self) -> str:
        """The identity of the model, as another may predict otherwise."""

    @property
    def prior(self) -> np.ndarray | None:
        """The prior that its probabilities hold for, None if unknown."""

    @property
    def fine_tuned(self) -> bool:
        """Whether the model was fine-tuned on a library."""

    def stored(self, path: P) -> FileResult[P] | None:
        """Return the result of a file without analysing it; None where that is impossible."""

    def predict_files(self, paths: Iterable[P]) -> Generator[FileResult[P]]:
        """Predict from many files."""


class PriorAdjustedTagger:
    """Adjust the predictions of a tagger to another class prior.

    Those of what is no music stay as they are: the prior alone would decide.

    Parameters
    ----------
    tagger : Tagger
        Its prior is known.
    wanted : np.ndarray [shape=(n_labels,)]
        The prior that the probabilities shall hold for.
    name : str
        Of that prior, which becomes part of the `model_id`; empty if that shall stay the same.
    known : mapping, optional
        Results of `tagger` by path, which are not computed again.
    """

    def __init__(
        self,
        tagger: Tagger,
        wanted: np.ndarray,
        name: str,
        known: Mapping[Any, FileResult[Any]] | None = None,
    ) -> None:
        if tagger.prior is None:
            raise ValueError(f"the prior of {tagger.model_id} is not known")
        self.labels, self.styles = tagger.labels, tagger.styles
        self.fine_tuned = tagger.fine_tuned
        self.model_id = f"{tagger.model_id}+{name}" if name else tagger.model_id
        self.prior, self.name = wanted, name
        self._tagger, self._trained, self._known = tagger, tagger.prior, known or {}

    def predict_files(self, paths: Iterable[P]) -> Generator[FileResult[P]]:
        """Predict from many files, as `tagger` does."""
        all_paths, ahead = tee(paths)
        results = self._tagger.predict_files(path for path in ahead if path not in self._known)
        try:
            for path in all_paths:
                known = self._known.get(path)
                yield self._adjusted(next(results) if known is None else known)
        finally:
            results.close()

    def stored(self, path: P) -> FileResult[P] | None:
        """Return the result of a file without analysing it; None where that is impossible."""
        result = self._known.get(path) or self._tagger.stored(path)
        return self._adjusted(result) if result else None

    def unadjusted(self, prediction: Prediction) -> Prediction:
        """Return what the tagger made of a track before its prediction was adjusted."""
        return _with_prior(prediction, self.prior, self._trained)

    def _adjusted(self, result: FileResult[P]) -> FileResult[P]:
        if result.prediction is None:
            return result
        adjusted = _with_prior(result.prediction, self._trained, self.prior)
        return replace(result, prediction=adjusted)


def _with_prior(prediction: Prediction, held: np.ndarray, wanted: np.ndarray) -> Prediction:
    if is_not_music(prediction.probabilities):
        return prediction
    adjusted = adjust_prior(prediction.probabilities, held, wanted)
    return replace(prediction, probabilities=adjusted)
