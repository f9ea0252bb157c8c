"""``beet agftrain``: fine-tune a model to the genres of a library, and report how good it is.

How it is trained is in `agf_core.finetune.finetuner`; here is what a library, a terminal and a
script need. Neither the library nor any of its files is changed.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beets import ui
from beets.ui import UserError

from agf_core import errors
from agf_core.bundle import format as bundle_format
from agf_core.bundle import seen_artists
from agf_core.data.genre_names import fold_genre_name
from agf_core.data.sampling import SetAside
from agf_core.data.tracks import Track
from agf_core.evaluation import FINE_TUNED
from agf_core.features.cache import FeatureCache
from agf_core.features.descriptors import possible_sources
from agf_core.finetune.config import FineTuneConfig, TrainingData
from agf_core.finetune.finetuner import FineTuner, recipe
from agf_core.finetune.held_out import HeldOut
from agf_core.train.export import (
    groups_from_bundle,
    network_from_bundle,
    network_to_onnx,
    weights_to_safetensors,
)
from beetsplug.agfgenre.console import duration
from beetsplug.agfgenre.models import REPORT, model_store
from beetsplug.agfgenre.train import workspace
from beetsplug.agfgenre.train.prepare import Preparation, relevant
from beetsplug.agfgenre.train.report import (
    compare_with_previous,
    report_lines,
    training_report,
    write_report,
)
from beetsplug.agfgenre.train.training_set import TrainingSet, choose

if TYPE_CHECKING:
    from beets.library import Library
    from beets.logging import BeetsLogger

    from beetsplug.agfgenre.config import TrainSettings
    from beetsplug.agfgenre.vocabulary import Vocabulary


class TrainingRun:
    """One ``beet agftrain``: analyse, train, report, and keep the new model if it is better.

    Parameters
    ----------
    lib : Library
    vocabulary : Vocabulary
    learn_as : mapping
        See `beetsplug.agfgenre.vocabulary.read_learn_as`.
    settings : TrainSettings
    log : BeetsLogger
    """

    def __init__(
        self,
        lib: Library,
        vocabulary: Vocabulary,
        learn_as: Mapping[str, str],
        settings: TrainSettings,
        log: BeetsLogger,
    ) -> None:
        self._vocabulary, self._learn_as = vocabulary, learn_as
        self._settings, self._log = settings, log
        self._work = workspace.work_folder(lib)
        self._cache = FeatureCache(workspace.cache_folder() / "features")
        self._config = FineTuneConfig(networks=None) if settings.quick else FineTuneConfig()

    def train(self, training_set: TrainingSet) -> bool:
        """Train; return whether the new model is better than the active one, and active now.

        Raises
        ------
        UserError
            If nothing can be trained or saved, or another process is training.
        """
        with workspace.locked(self._work):
            try:
                return self._train(training_set)
            finally:
                workspace.ignore_interrupts_at_exit()

    def _train(self, training_set: TrainingSet) -> bool:
        try:
            base = bundle_format.load(self._settings.model or None)
            network = network_from_bundle(base)
        except (errors.BundleError, ValueError) as error:
            raise UserError(f"agftrain: {error}") from None
        preparation = Preparation(
            base, network, self._cache, self._settings, self._log, self._announce
        )
        groups = self._groups(base)
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
        better = self._evaluate(tuner, [*left_out, *too_few_now])
        shutil.rmtree(checkpoints, ignore_errors=True)
        return better

    def _evaluate(self, tuner: FineTuner, left_out: Sequence[SetAside]) -> bool:
        """Test the new model, print the report, and keep the model if it is better."""
        held_out = tuner.hold_out()
        comparisons = compare_with_previous(
            tuner, held_out, model_store(), self._settings.model, self._cache
        )
        report = training_report(tuner, held_out, comparisons, left_out)
        self._print(report_lines(report))
        better = all(comparison.better for comparison in comparisons.values())
        if better:
            name, folder = self._save(tuner, held_out, report)
            self._log.info("{} is better and is used from now on", name)
            if self._settings.model:
                self._log.warning(
                    "but the configuration says `model: {}`, which takes precedence",
                    self._settings.model,
                )
        else:
            folder = self._work / "report"
            try:
                write_report(folder, report)
            except OSError as error:
                raise UserError(
                    f"agftrain: the report cannot be saved: {error}; nothing is changed"
                ) from None
            than = " and ".join(name for name, one in comparisons.items() if not one.better)
            self._log.info("the new model is not clearly better than {}; nothing is changed", than)
        self._log.info("full report: {}", folder / REPORT)
        return better

    def _announce(self, phase: str, left: float | None = None) -> None:
        if not self._settings.quiet:
            about = "" if left is None else f", about {duration(left)} left"
            self._log.info("{}{}", phase, about)

    def _print(self, lines: Iterable[str]) -> None:
        if not self._settings.quiet:
            for line in lines:
                ui.print_(line)

    def _groups(self, base: bundle_format.Bundle) -> str:
        """Return the artist groups to train on: those of the settings, or the base model's.

        Those that need essentia are left out without it; ``--quick`` uses none.
        """
        if self._settings.quick:
            return ""
        wanted = self._settings.groups or "".join(t for t in base.metadata.tasks if t != "g")
        possible, left_out = possible_sources(wanted)
        if left_out:
            self._log.info("{}", left_out)
        return possible

    def _choose(
        self, tracks: Sequence[Track]
    ) -> tuple[list[Track], tuple[str, ...], list[SetAside]]:
        """Remove genres that cannot be trained on from the tracks."""
        genres, left_out = choose(tracks, self._settings.min_tracks)
        kept = [t if t.genre in genres else replace(t, genre="") for t in tracks]
        return kept, genres, left_out

    def _counterparts(self, base: bundle_format.Bundle) -> dict[str, str]:
        """Return what the user's rules call the base model's labels in this library."""
        names = {}
        for label in base.metadata.labels:
            mapped = self._learn_as.get(fold_genre_name(label))
            names[label] = self._vocabulary.main(label) if mapped is None else mapped
        return {label: name or label for label, name in names.items()}

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

    def _save(
        self, tuner: FineTuner, held_out: HeldOut, report: dict[str, Any]
    ) -> tuple[str, Path]:
        """Train on everything, save the model with its report, and make it the active one."""
        trained, temperature = tuner.finish(held_out)
        base, data = tuner.model, tuner.material
        store = model_store()
        name = store.free_name(self._settings.name or report["date"])
        metadata = replace(
            base.metadata,
            name=name,
            labels=data.genres,
            tasks=trained.network.n_classes,
            architecture=base.metadata.architecture | {"networks": trained.network.tasks},
            temperature=temperature,
            prior=tuner.prior,
            recipe=recipe(self._config, base),
            trained_on={
                "tracks": data.n_teaching,
                "artists": len({t.artist for t in data.tracks[: data.n_teaching]}),
                "date": report["date"],
                seen_artists.KEY: seen_artists.hash_artists(track.artist for track in data.tracks),
            },
            scores={
                "tracks": report["tracks"],
                "artists": report["artists"],
                "parts": report["parts"],
                "overall": report["overall"][FINE_TUNED],
                "by_confidence": report["by_confidence"],
                "genres": report["genres"],
            },
        )
        self._announce("saving the model")
        groups = groups_from_bundle(base) | trained.groups
        card = "\n".join([f"# {name}", "", *report_lines(report)]) + "\n"
        files = {
            bundle_format.NETWORK: network_to_onnx(trained.network, metadata.input),
            bundle_format.WEIGHTS: weights_to_safetensors(trained.network, groups),
            bundle_format.CARD: card.encode(),
        }
        try:
            folder = bundle_format.save(store.path(name), metadata, files).folder
            write_report(folder, report)
            store.activate(name)
        except (errors.BundleError, OSError) as error:
            raise UserError(f"agftrain: the model cannot be saved: {error}") from None
        return name, folder
