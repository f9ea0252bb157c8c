"""``beet agftrain --deep``: fine-tune the networks to a library (`agf_core.finetune.finetuner`)."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from beets.ui import UserError

from agf_core import errors
from agf_core.bundle import format as bundle_format
from agf_core.features.cache import FeatureCache
from agf_core.features.descriptors import possible_sources
from agf_core.features.spectrogram_cache import CachedSpectrograms
from agf_core.finetune.config import FineTuneConfig, TrainingData
from agf_core.finetune.finetuner import FineTuner, recipe
from agf_core.finetune.held_out import HeldOut
from agf_core.inference.tagger import GenreTagger
from agf_core.train.export import (
    groups_from_bundle,
    network_from_bundle,
    network_to_onnx,
    weights_to_safetensors,
)
from beetsplug.agfgenre.config import NO_GROUPS
from beetsplug.agfgenre.models import cache_folder
from beetsplug.agfgenre.train import workspace
from beetsplug.agfgenre.train.prepare import Preparation, relevant
from beetsplug.agfgenre.train.report import Predictor
from beetsplug.agfgenre.train.run import TrainingRun

if TYPE_CHECKING:
    from beetsplug.agfgenre.train.training_set import TrainingSet


ALL_GROUPS = "mdse"


class DeepRun(TrainingRun):
    """Fine-tunes the networks, with artist groups as auxiliary tasks; needs PyTorch."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._cache = FeatureCache(cache_folder() / "features")
        self._config = FineTuneConfig()

    def train(self, training_set: TrainingSet) -> bool:
        """Train, as long as no other process does so on this library; see `TrainingRun.train`."""
        with workspace.locked(self._work):
            try:
                return self._train(training_set)
            finally:
                workspace.ignore_interrupts_at_exit()

    def _train(self, training_set: TrainingSet) -> bool:
        base = self._base()
        try:
            network = network_from_bundle(base)
        except (errors.BundleError, ValueError) as error:
            raise UserError(f"agftrain: {error}") from None
        preparation = Preparation(
            base, network, self._cache, self._settings, self._log, self._announce
        )
        groups = self._groups()
        tracks, genres, left_out = self._choose(training_set.tracks)
        self._print(training_set.lines(genres, left_out))
        analysed = preparation.analyse(relevant(tracks, groups))
        tracks, genres, too_few_now = self._choose(analysed)
        data = preparation.training_data(
            tracks, genres, groups, with_segments=self._config.networks is not None
        )
        counterparts = self._counterparts(base)
        checkpoints = self._checkpoints(base, data, counterparts)
        tuner = FineTuner(
            base,
            network,
            data,
            self._config,
            counterparts=counterparts,
            work=checkpoints,
            announce=self._announce,
            progress=not self._settings.quiet and sys.stderr.isatty(),
        )
        better = self._evaluate(tuner, tuner.hold_out(), [*left_out, *too_few_now])
        shutil.rmtree(checkpoints, ignore_errors=True)
        return better

    def _predictor(self, tuner: FineTuner) -> Predictor:
        def of(model: bundle_format.Bundle) -> Callable[[int], np.ndarray | None]:
            tagger = GenreTagger(model)

            def predict(track: int) -> np.ndarray | None:
                key = tuner.data.tracks[track].track_id
                try:
                    spectrogram = CachedSpectrograms([key], tagger.metadata.input, self._cache)[0]
                except KeyError:  # its input is not that of the base model
                    return None
                return tagger.predict_log_mel(spectrogram.astype(np.float32)).probabilities

            return predict

        return of

    def _finish(
        self, tuner: FineTuner, held_out: HeldOut
    ) -> tuple[dict[str, Any], dict[str, bytes]]:
        trained, temperature = tuner.finish(held_out)
        base = tuner.model
        self._announce("saving the model")
        fields = {
            "tasks": trained.network.n_classes,
            "architecture": base.metadata.architecture | trained.network.mlp.architecture(),
            "styles": (),
            "temperature": temperature,
            "recipe": recipe(self._config, base) | {"groups": "".join(tuner.data.observations)},
        }
        groups = groups_from_bundle(base)
        return fields, {
            bundle_format.NETWORK: network_to_onnx(trained.network, base.metadata.input),
            bundle_format.WEIGHTS: weights_to_safetensors(trained.network, groups),
        }

    def _groups(self) -> str:
        """Return the artist groups to train on: those of the settings, or all that are possible.

        Those that need Essentia are left out without it.
        """
        if self._settings.groups == NO_GROUPS:
            return ""
        possible, left_out = possible_sources(self._settings.groups or ALL_GROUPS)
        if left_out and self._settings.groups:
            self._log.info("{}", left_out)
        return possible

    def _checkpoints(
        self, base: bundle_format.Bundle, data: TrainingData, counterparts: Mapping[str, str]
    ) -> Path:
        facts = [
            base.model_id,
            repr(self._config),
            repr(data.genres),
            repr(counterparts),
            repr(list(data.observations)),
            *(repr((t.track_id, t.artist, t.genre, t.album)) for t in data.tracks),
            *(repr((t.track_id, t.artist, t.labels)) for t in data.described),
        ]
        return workspace.checkpoint_folder(self._work, facts)
