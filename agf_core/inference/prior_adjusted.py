"""Predictions adjusted to another class prior."""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace
from itertools import tee
from typing import Any, Protocol

import numpy as np

from agf_core.inference.prediction import FileResult, P, Prediction
from agf_core.label_shift import adjust_prior


class Tagger(Protocol):
    """What listens to files, as a `IsolatedTagger` or a `GenreTagger` does."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The genres it knows."""

    @property
    def model_id(self) -> str:
        """Of whoever hears: another one may hear something else."""

    @property
    def prior(self) -> np.ndarray | None:
        """The prior that its probabilities hold for; None where nobody knows."""

    def predict_files(self, paths: Iterable[P]) -> Generator[FileResult[P]]:
        """Predict from many files."""


class PriorAdjustedTagger:
    """Listens as another does, and says what that means where music is made up otherwise.

    Parameters
    ----------
    ears : Ears
        Its prior is known.
    wanted : np.ndarray [shape=(n_labels,)]
        The prior that the probabilities shall hold for.
    name : str
        Of that prior: it becomes part of the `model_id`.
    heard : mapping, optional
        Results of `ears` by path: what has just been listened to is not listened to again.
    """

    def __init__(
        self,
        ears: Tagger,
        wanted: np.ndarray,
        name: str,
        heard: Mapping[Any, FileResult] | None = None,
    ) -> None:
        if ears.prior is None:
            raise ValueError(f"the prior of {ears.model_id} is not known")
        self.labels = ears.labels
        self.model_id = f"{ears.model_id}+{name}"
        self.prior = wanted
        self._ears, self._learnt, self._heard = ears, ears.prior, heard or {}

    def predict_files(self, paths: Iterable[P]) -> Generator[FileResult[P]]:
        """Predict from many files, as `ears` does."""
        all_paths, ahead = tee(paths)
        results = self._ears.predict_files(path for path in ahead if path not in self._heard)
        try:
            for path in all_paths:
                heard = self._heard.get(path)
                yield self._reweighted(next(results) if heard is None else heard)
        finally:
            results.close()

    def _reweighted(self, result: FileResult[P]) -> FileResult[P]:
        if result.prediction is None:
            return result
        there = adjust_prior(result.prediction.probabilities, self._learnt, self.prior)
        return replace(result, prediction=Prediction(self.labels, there))
