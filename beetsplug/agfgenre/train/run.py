"""``beet agftrain``: from a library to a model that speaks its genres, and an honest report on it.

What is learnt, and how, is `agf_core.finetune.finetuner`; here is what a library, a terminal and
a script need. Nothing of the library and of no file is changed.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from beets import ui
from beets.ui import UserError
from filelock import FileLock, Timeout

from agf_core import errors
from agf_core.bundle import format as bundle_format
from agf_core.data.genre_names import fold_genre_name
from agf_core.data.sampling import SetAside, at_most
from agf_core.data.tracks import Track
from agf_core.evaluation import FINE_TUNED
from agf_core.features.cache import FeatureCache
from agf_core.features.descriptors import extract, possible_sources
from agf_core.features.spectrogram_cache import Excerpts, cache_spectrograms
from agf_core.finetune.finetuner import FineTuneConfig, FineTuner, TrainingData, recipe
from agf_core.finetune.frozen_features import frozen_features, segments_of
from agf_core.finetune.held_out import HeldOut
from agf_core.groups.codebook import Observations
from agf_core.train.export import (
    groups_from_bundle,
    network_from_bundle,
    network_to_onnx,
    weights_to_safetensors,
)
from agf_core.train.networks import GenreNet
from beetsplug.agfgenre.console import Progress, duration, plural
from beetsplug.agfgenre.models import REPORT, model_store
from beetsplug.agfgenre.train.report import (
    compare_with_rivals,
    honest_report,
    report_lines,
    write_report,
)
from beetsplug.agfgenre.train.training_set import TrainingSet, choose

if TYPE_CHECKING:
    from beets.library import Library
    from beets.logging import BeetsLogger

    from beetsplug.agfgenre.config import TrainSettings
    from beetsplug.agfgenre.vocabulary import Vocabulary

LOCK = "lock"  # beside the checkpoints
MOST_OF_AN_ALBUM = 4  # tracks: an album counts as one anyway
MOST_IN_ALL = 4_000  # tracks: what 0.7 GB of memory hold


def cache_folder() -> Path:
    """Return where features and checkpoints are kept: they can be made again."""
    return platformdirs.user_cache_path("beets-agf")


def work_folder(lib: Library) -> Path:
    """Return where the checkpoints of a library are kept."""
    library = hashlib.sha256(os.fsencode(lib.path)).hexdigest()[:16]
    return cache_folder() / "learning" / library


def ignore_interrupts_at_exit() -> None:
    """Let no Ctrl-C disturb Python as it shuts down: PyTorch's end takes long enough to be hit."""
    # What is registered last is called first.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let no other process learn there meanwhile: each would clear the other's checkpoints.

    The system lets go of the lock when the process ends, however it ends; the file stays.

    Raises
    ------
    UserError
        If another process learns there, or nothing can be written there.
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise UserError(
            "agftrain: another `beet agftrain` is learning from this library; "
            "wait until it ends, or stop it, and run again; nothing is changed"
        ) from None
    except OSError as error:
        raise UserError(
            f"agftrain: {folder / LOCK} cannot be written ({error.strerror}); make room there, "
            "or see that it may be written; nothing is changed"
        ) from None
    try:
        yield
    finally:
        lock.release()


class TrainingRun:
    """One ``beet agftrain``: listen, learn, report, and keep what is better.

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
        self._work = work_folder(lib)
        self._cache = FeatureCache(cache_folder() / "features")
        self._processes = settings.threads or None
        self._show = not settings.quiet and sys.stderr.isatty()

    def train(self, teaching: TrainingSet) -> bool:
        """Learn; return whether the new model is better than the active one, and active now.

        Raises
        ------
        UserError
            If nothing can be learnt, nothing can be kept, or another process learns already.
        """
        with alone(self._work):
            try:
                return self._train(teaching)
            finally:
                ignore_interrupts_at_exit()

    def _train(self, teaching: TrainingSet) -> bool:
        store = model_store()
        try:
            base = bundle_format.load(self._settings.model or None)
            network = network_from_bundle(base)
        except (errors.BundleError, ValueError) as error:
            raise UserError(f"agftrain: {error}") from None
        self._plan = FineTuneConfig(networks=None) if self._settings.quick else FineTuneConfig()
        groups = "" if self._settings.quick else self._groups(base)
        tracks, genres, not_learnt = self._choose(teaching.tracks)
        self._print(teaching.lines(genres, not_learnt))
        tracks = of_use(tracks, groups)
        tracks, genres, too_few_now = self._choose(self._listen(tracks, base))
        not_learnt += too_few_now
        learner = self._learner(base, network, tracks, genres, groups)
        held_out = learner.hold_out()
        rivals = compare_with_rivals(learner, held_out, store, self._settings.model, self._cache)
        report = honest_report(learner, held_out, rivals, not_learnt)
        self._print(report_lines(report))
        better = all(comparison.better for comparison in rivals.values())
        if better:
            name, folder = self._keep(learner, held_out, report)
            self._log.info("{} is better and listens from now on", name)
            if self._settings.model:
                self._log.warning(
                    "but the configuration says `model: {}`, which wins", self._settings.model
                )
        else:
            folder = self._work / "report"
            try:
                write_report(folder, report)
            except OSError as error:
                raise UserError(
                    f"agftrain: the report cannot be kept: {error}; nothing is changed"
                ) from None
            than = " and ".join(name for name, c in rivals.items() if not c.better)
            self._log.info("not clearly better than {}: nothing is changed", than)
        self._log.info("the whole report: {}", folder / REPORT)
        shutil.rmtree(self._checkpoints, ignore_errors=True)
        return better

    def _phase(self, what: str, left: float | None = None) -> None:
        if not self._settings.quiet:
            about = "" if left is None else f", about {duration(left)} left"
            self._log.info("{}{}", what, about)

    def _print(self, lines: Iterable[str]) -> None:
        if not self._settings.quiet:
            for line in lines:
                ui.print_(line)

    # What is learnt from

    def _groups(self, base: bundle_format.Bundle) -> str:
        """Return which artist groups are learnt beside the genre: those asked for, or the base's.

        Essentia's are left out without essentia.
        """
        wanted = self._settings.groups or "".join(t for t in base.metadata.tasks if t != "g")
        possible, left_out = possible_sources(wanted)
        if left_out:
            self._log.info("{}", left_out)
        return possible

    def _choose(
        self, tracks: Sequence[Track]
    ) -> tuple[list[Track], tuple[str, ...], list[SetAside]]:
        """Leave genres that cannot be learnt out of the tracks' genres."""
        genres, not_learnt = choose(tracks, self._settings.min_tracks)
        return (
            [t if t.genre in genres else replace(t, genre="") for t in tracks],
            genres,
            not_learnt,
        )

    def _listen(self, tracks: Sequence[Track], base: bundle_format.Bundle) -> list[Track]:
        """Listen to tracks; return those that could be, by their content, each sound once."""
        order = {track.path: i for i, track in enumerate(tracks)}
        self._phase(f"listening to {plural(len(order), 'track')}")
        progress = Progress(0 if self._settings.quiet else len(order), self._log)
        keys: dict[Path, str] = {}
        try:
            for path, key, error in cache_spectrograms(
                list(order), base.metadata.input, self._cache, processes=self._processes
            ):
                progress.step()
                if error:
                    with progress.aside():
                        self._log.warning("{}", error)
                else:
                    keys[path] = key
        finally:
            progress.close()
        if not keys:
            raise UserError("agftrain: none of the tracks could be listened to; nothing is changed")
        heard: dict[str, Track] = {}
        for track in tracks:
            if track.path in keys:
                heard.setdefault(keys[track.path], replace(track, track_id=keys[track.path]))
        return list(heard.values())

    def _learner(
        self,
        base: bundle_format.Bundle,
        network: GenreNet,
        tracks: Sequence[Track],
        genres: tuple[str, ...],
        groups: str,
    ) -> FineTuner:
        """Prepare all that is learnt from."""
        teaching = at_most([t for t in tracks if t.genre], MOST_OF_AN_ALBUM, MOST_IN_ALL)
        others = [t for t in tracks if not t.genre] if groups else []
        others = at_most(others, MOST_OF_AN_ALBUM, MOST_IN_ALL - len(teaching))
        spec = base.metadata.input
        self._phase(f"hearing {plural(len(teaching), 'track')} as {base.metadata.name} does")
        progress = Progress(0 if self._settings.quiet else len(teaching), self._log, "Hearing")
        try:
            features = frozen_features(
                base,
                network,
                Excerpts([t.track_id for t in teaching], spec, self._cache),
                progress.step,
            )
        finally:
            progress.close()
        segments = None
        if self._plan.networks is not None:
            keys = [t.track_id for t in [*teaching, *others]]
            segments = segments_of(base, Excerpts(keys, spec, self._cache))
        material = TrainingData(
            [*teaching, *others],
            genres,
            features,
            segments,
            list(tracks),
            self._observations(tracks, groups, base),
        )
        counterparts = self._counterparts(base)
        self._checkpoints = self._prepare_checkpoints(base, material, counterparts)
        return FineTuner(
            base,
            network,
            material,
            self._plan,
            counterparts=counterparts,
            work=self._checkpoints,
            announce=self._phase,
            progress=self._show,
        )

    def _observations(
        self, tracks: Sequence[Track], groups: str, base: bundle_format.Bundle
    ) -> dict[str, Observations]:
        """Describe all tracks as artist groups need it."""
        described: dict[str, Observations] = {}
        for task in groups:
            if task == "s":
                described[task] = [track.labels for track in tracks]
                continue
            self._phase(f"describing {plural(len(tracks), 'track')} for artist groups ({task})")
            stored = extract(
                tracks,
                task,
                self._cache,
                seconds=base.metadata.input.excerpt_seconds,
                fmax=base.metadata.input.fmax,
                processes=self._processes,
                progress=self._show,
            )
            if 2 * len(stored.missing) > len(tracks):
                self._log.warning("task {} is left out: most tracks cannot be described", task)
            else:
                described[task] = stored
        return described

    def _counterparts(self, base: bundle_format.Bundle) -> dict[str, str]:
        """Return what the model's labels are called in this library, by the user's own rules."""
        called = {}
        for label in base.metadata.labels:
            mapped = self._learn_as.get(fold_genre_name(label))
            called[label] = self._vocabulary.main(label) if mapped is None else mapped
        return {label: name or label for label, name in called.items()}

    def _prepare_checkpoints(
        self, base: bundle_format.Bundle, material: TrainingData, counterparts: Mapping[str, str]
    ) -> Path:
        """Return the folder of checkpoints of just this learning; remove those of any other."""
        facts = [
            base.model_id,
            repr(self._plan),
            repr(material.genres),
            repr(counterparts),
            repr(list(material.observations)),
            *(repr((t.track_id, t.artist, t.genre, t.album)) for t in material.tracks),
            *(repr((t.track_id, t.artist, t.labels)) for t in material.described),
        ]
        folder = self._work / hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
        if self._work.is_dir():
            for other in self._work.iterdir():
                if other.is_dir() and other != folder:
                    shutil.rmtree(other, ignore_errors=True)
        return folder

    # What comes of it

    def _keep(
        self, learner: FineTuner, held_out: HeldOut, report: dict[str, Any]
    ) -> tuple[str, Path]:
        """Learn from everything, save the model with its report, and make it the active one."""
        learnt, temperature = learner.finish(held_out)
        base, material = learner.model, learner.material
        store = model_store()
        name = store.free_name(self._settings.name or report["date"])
        metadata = replace(
            base.metadata,
            name=name,
            labels=material.genres,
            tasks=learnt.network.n_classes,
            architecture=base.metadata.architecture | {"networks": learnt.network.tasks},
            temperature=temperature,
            prior=learner.prior,
            recipe=recipe(self._plan, base),
            trained_on={
                "tracks": material.n_teaching,
                "artists": len({t.artist for t in material.tracks[: material.n_teaching]}),
                "date": report["date"],
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
        self._phase("saving the model")
        files = {
            bundle_format.NETWORK: network_to_onnx(learnt.network, metadata.input),
            bundle_format.WEIGHTS: weights_to_safetensors(
                learnt.network, groups_from_bundle(base) | learnt.groups
            ),
            bundle_format.CARD: (
                "\n".join([f"# {name}", "", *report_lines(report)]) + "\n"
            ).encode(),
        }
        try:
            folder = bundle_format.save(store.path(name), metadata, files).folder
            write_report(folder, report)
            store.activate(name)
        except (errors.BundleError, OSError) as error:
            raise UserError(f"agftrain: the model cannot be kept: {error}") from None
        return name, folder


def of_use(tracks: Sequence[Track], groups: str) -> list[Track]:
    """Return the tracks that have something to teach: no other need be listened to.

    Parameters
    ----------
    groups : str
        Artist groups that are learnt: those of sounds are about every track, those of labels about
        the artists who have labels.
    """
    if set(groups) & set("mde"):
        return list(tracks)
    labelled = {track.artist for track in tracks if track.labels} if "s" in groups else set()
    return [track for track in tracks if track.genre or track.artist in labelled]
