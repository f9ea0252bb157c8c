"""``beet agftrain``: from a library to a model that speaks its genres, and an honest report on it.

What is learnt, and how, is `agf_core.personal`; here is what a library, a terminal and a script
need. Nothing of the library and of no file is changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs
from beets import ui
from beets.ui import UserError

from agf_core import bundle
from agf_core.artist_groups import Observations
from agf_core.cache import FeatureCache
from agf_core.corpus import Track
from agf_core.descriptors import extract, possible_sources
from agf_core.evaluation import PERSONAL, Comparison, compare, draw_confusion, score_sheet
from agf_core.excerpts import Excerpts, listen
from agf_core.export import (
    groups_from_bundle,
    network_from_bundle,
    network_to_onnx,
    weights_to_safetensors,
)
from agf_core.model_store import SHIPPED_NAME, ModelStore
from agf_core.network import GenreNet
from agf_core.personal import (
    HeldOut,
    Material,
    Personaliser,
    Plan,
    SetAside,
    at_most,
    frozen_features,
    learnable_genres,
    recipe,
    segments_of,
)
from agf_core.tagger import GenreTagger

from .models import PICTURE, REPORT, model_store, read_report
from .report import Progress, duration, plural
from .teaching import Teaching, why_not

if TYPE_CHECKING:
    from beets.library import Library
    from beets.logging import BeetsLogger

    from .settings import LearnSettings
    from .vocabulary import Vocabulary

MOST_OF_AN_ALBUM = 4  # tracks: an album counts as one anyway
MOST_IN_ALL = 4_000  # tracks: what 1.4 GB of memory hold
MOST_COMMON = "always the most common genre"


def cache_folder() -> Path:
    """Return where features and checkpoints are kept: they can be made again."""
    return platformdirs.user_cache_path("beets-agf")


class Lesson:
    """One ``beet agftrain``: listen, learn, report, and keep what is better.

    Parameters
    ----------
    lib : Library
    vocabulary : Vocabulary
    learn_as : mapping
        See `beetsplug.agfgenre.vocabulary.read_learn_as`.
    settings : LearnSettings
    log : BeetsLogger
    """

    def __init__(
        self,
        lib: Library,
        vocabulary: Vocabulary,
        learn_as: Mapping[str, str],
        settings: LearnSettings,
        log: BeetsLogger,
    ) -> None:
        self._vocabulary, self._learn_as = vocabulary, learn_as
        self._settings, self._log = settings, log
        library = hashlib.sha256(os.fsencode(lib.path)).hexdigest()[:16]
        self._work = cache_folder() / "learning" / library
        self._cache = FeatureCache(cache_folder() / "features")
        self._processes = settings.threads or None
        self._show = not settings.quiet and sys.stderr.isatty()

    def look(self, teaching: Teaching) -> None:
        """Say what would be learnt from; `UserError` where nothing could be learnt."""
        genres, not_learnt = learnable_genres(teaching.tracks, self._settings.min_tracks)
        self._print(teaching.lines(genres, not_learnt))
        self._choose(teaching.tracks)

    def learn(self, teaching: Teaching) -> bool:
        """Learn; return whether the new model is better than the active one, and active now.

        Raises
        ------
        UserError
            If nothing can be learnt, or nothing can be kept.
        """
        store = model_store()
        try:
            if self._settings.name:
                store.path(self._settings.name)
            base = bundle.load(self._settings.model or None)
            network = network_from_bundle(base)
        except (bundle.BundleError, ValueError) as error:
            raise UserError(f"agftrain: {error}") from None
        self._plan = Plan(networks=None) if self._settings.quick else Plan()
        tasks = [] if self._settings.quick else [t for t in base.metadata.tasks if t != "g"]
        tracks, genres, not_learnt = self._choose(teaching.tracks)
        self._print(teaching.lines(genres, not_learnt))
        if not tasks:  # then only genres teach
            tracks = [track for track in tracks if track.genre]
        tracks, genres, too_few_now = self._choose(self._listen(tracks, base))
        not_learnt += too_few_now
        learner = self._learner(base, network, tracks, genres, tasks)
        held_out = learner.hold_out()
        rivals = compare_with_rivals(learner, held_out, store, self._settings.model, self._cache)
        report = self._report(learner, held_out, rivals, not_learnt)
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
            write_report(folder, report)
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

    def _choose(
        self, tracks: Sequence[Track]
    ) -> tuple[list[Track], tuple[str, ...], list[SetAside]]:
        """Leave genres that cannot be learnt out of the tracks' genres."""
        genres, not_learnt = learnable_genres(tracks, self._settings.min_tracks)
        problem = why_not(list(tracks), genres, not_learnt)
        if problem:
            raise UserError(f"agftrain: {problem}; nothing is changed")
        return (
            [t if t.genre in genres else replace(t, genre="") for t in tracks],
            genres,
            not_learnt,
        )

    def _listen(self, tracks: Sequence[Track], base: bundle.Bundle) -> list[Track]:
        """Listen to tracks; return those that could be, by their content, each sound once."""
        order = {track.path: i for i, track in enumerate(tracks)}
        self._phase(f"listening to {plural(len(order), 'track')}")
        progress = Progress(0 if self._settings.quiet else len(order), self._log)
        keys: dict[Path, str] = {}
        try:
            for path, key, error in listen(
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
        base: bundle.Bundle,
        network: GenreNet,
        tracks: Sequence[Track],
        genres: tuple[str, ...],
        groups: Sequence[str],
    ) -> Personaliser:
        """Prepare all that is learnt from; `groups` are the tasks besides the genre."""
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
        material = Material(
            [*teaching, *others],
            genres,
            features,
            segments,
            list(tracks),
            self._observations(tracks, groups, base),
        )
        self._checkpoints = self._prepare_checkpoints(base, material)
        return Personaliser(
            base,
            network,
            material,
            self._plan,
            counterparts=self._counterparts(base, genres),
            work=self._checkpoints,
            announce=self._phase,
            progress=self._show,
        )

    def _observations(
        self, tracks: Sequence[Track], groups: Sequence[str], base: bundle.Bundle
    ) -> dict[str, Observations]:
        """Describe all tracks as artist groups need it; essentia's is left out without essentia."""
        possible, left_out = possible_sources("".join(groups))
        if left_out:
            self._log.info("{}", left_out)
        described: dict[str, Observations] = {}
        for task in possible:
            if task == "s":
                described[task] = [track.labels for track in tracks]
                continue
            self._phase(f"describing {plural(len(tracks), 'track')} for artist groups ({task})")
            described[task] = extract(
                tracks,
                task,
                self._cache,
                seconds=base.metadata.input.excerpt_seconds,
                fmax=base.metadata.input.fmax,
                processes=self._processes,
                progress=self._show,
            )
        return described

    def _counterparts(self, base: bundle.Bundle, genres: Sequence[str]) -> dict[str, str]:
        """Return what the model's labels are called in this library, by the user's own rules."""
        called = {}
        for label in base.metadata.labels:
            mapped = self._learn_as.get(label.casefold())
            called[label] = self._vocabulary.main(label) if mapped is None else mapped
        return {label: name or label for label, name in called.items()}

    def _prepare_checkpoints(self, base: bundle.Bundle, material: Material) -> Path:
        """Return the folder of checkpoints of just this learning; remove those of any other."""
        facts = [
            base.model_id,
            repr(self._plan),
            repr(material.genres),
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

    def _report(
        self,
        learner: Personaliser,
        held_out: HeldOut,
        rivals: dict[str, Comparison],
        not_learnt: Sequence[SetAside],
    ) -> dict[str, Any]:
        """Return the whole report, as JSON can hold it."""
        material = learner.material
        tested = [material.tracks[i] for i in held_out.tracks]
        artists = np.array([track.artist for track in tested])
        sheet = score_sheet(
            material.genres,
            held_out.truth,
            artists,
            {
                MOST_COMMON: held_out.common,
                learner.model.metadata.name: held_out.before,
                PERSONAL: held_out.personal,
            },
            PERSONAL,
        )
        return {
            "date": date.today().isoformat(),
            "begun_with": learner.model.model_id,
            "quick": self._settings.quick,
            "parts": held_out.parts,
            **sheet,
            "compared": {
                name: {
                    "tracks": c.tracks,
                    "artists": c.artists,
                    "difference": [
                        round(x, 4)
                        for x in (c.difference.value, c.difference.low, c.difference.high)
                    ],
                    "better_in": c.better_in,
                    "better": c.better,
                }
                for name, c in rivals.items()
            },
            "not_learnt": [asdict(aside) for aside in not_learnt],
            "artists_learnt_from": sorted({track.artist for track in material.tracks}),
            "held_out": {
                track.track_id: [round(float(p), 4) for p in row]
                for track, row in zip(tested, held_out.personal, strict=True)
            },
        }

    def _keep(
        self, learner: Personaliser, held_out: HeldOut, report: dict[str, Any]
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
            recipe=recipe(self._plan, base),
            trained_on={
                "tracks": material.n_teaching,
                "artists": len({t.artist for t in material.tracks[: material.n_teaching]}),
                "date": report["date"],
            },
            scores={
                "tracks": report["tracks"],
                "artists": report["artists"],
                "overall": report["overall"][PERSONAL],
                "genres": report["genres"],
            },
        )
        self._phase("saving the model")
        files = {
            bundle.NETWORK: network_to_onnx(learnt.network, metadata.input),
            bundle.WEIGHTS: weights_to_safetensors(
                learnt.network, groups_from_bundle(base) | learnt.groups
            ),
            bundle.CARD: ("\n".join([f"# {name}", "", *report_lines(report)]) + "\n").encode(),
        }
        try:
            folder = bundle.save(store.path(name), metadata, files).folder
            write_report(folder, report)
            store.activate(name)
        except (bundle.BundleError, OSError) as error:
            raise UserError(f"agftrain: the model cannot be kept: {error}") from None
        return name, folder


def compare_with_rivals(
    learner: Personaliser,
    held_out: HeldOut,
    store: ModelStore,
    configured: str,
    cache: FeatureCache,
) -> dict[str, Comparison]:
    """Compare a personal model with what was there before, on artists that neither has met.

    A personal model that is active has met most artists of the library. Of these, what it said
    before it met them is in its own report; it is wrong about genres that it does not know; artists
    that came later it is asked about.

    Returns
    -------
    dict
        By name: the model that was begun with, and an active personal model, if it can be asked
        about half of the tracks or more.
    """
    artists = np.array([learner.material.tracks[i].artist for i in held_out.tracks])
    result = {
        learner.model.metadata.name: compare(
            held_out.personal, held_out.before, held_out.truth, artists
        )
    }
    if not configured and store.active != SHIPPED_NAME:
        asked, said = _ask_active(learner, held_out, store.folder_of(store.active), cache)
        if 2 * len(asked) >= len(held_out.tracks):
            result[store.active] = compare(
                held_out.personal[asked], said, held_out.truth[asked], artists[asked]
            )
    return result


def _ask_active(
    learner: Personaliser, held_out: HeldOut, folder: Path, cache: FeatureCache
) -> tuple[np.ndarray, np.ndarray]:
    """Return which of the tracks a personal model can be asked about, and what it says of them.

    What it gives to genres that are not learnt now stands in one more column.
    """
    genres = learner.material.genres
    report = read_report(folder) or {}
    known_tracks, met = report.get("held_out", {}), set(report.get("artists_learnt_from", ()))
    try:
        tagger = GenreTagger.load(folder)
    except bundle.BundleError:
        return np.array([], int), np.zeros((0, len(genres) + 1))
    column = {genre.casefold(): i for i, genre in enumerate(genres)}
    columns = [column.get(label.casefold(), len(genres)) for label in tagger.labels]
    asked, said = [], []
    for i, track in enumerate(learner.material.tracks[j] for j in held_out.tracks):
        if track.track_id in known_tracks:
            probabilities = known_tracks[track.track_id]
        elif column[track.genre.casefold()] not in columns:
            probabilities = np.zeros(len(columns))
        elif track.artist not in met:
            spectrogram = Excerpts([track.track_id], tagger.metadata.input, cache)[0]
            probabilities = tagger.predict_log_mel(spectrogram.astype(np.float32)).probabilities
        else:
            continue
        row = np.zeros(len(genres) + 1)
        np.add.at(row, columns, probabilities)
        row[-1] += 1 - row.sum()
        asked.append(i)
        said.append(row)
    return np.array(asked, int), np.array(said).reshape(len(asked), len(genres) + 1)


def report_lines(report: dict[str, Any]) -> list[str]:
    """Return what people want to know of a report."""
    parts = report["parts"]
    how = f"{parts} parts, each held out in turn" if parts > 1 else "one part in five, held out"
    lines = [
        "",
        f"On {plural(report['tracks'], 'track')} by {plural(report['artists'], 'artist')} "
        f"that were not learnt from ({how}), with 95 % intervals:",
        "",
    ]
    rows = [("", "right", "macro F1", "log loss")]
    for name, scores in report["overall"].items():
        rows.append((name, *(_interval(scores[s]) for s in ("accuracy", "macro_f1", "log_loss"))))
    lines += _columns(rows)
    lines.append("")
    table = [("genre", "precision", "recall", "tracks", "artists")]
    for genre, row in report["genres"].items():
        shares = (row["precision"], row["recall"])
        numbers = ("-" if share is None else f"{share:.2f}" for share in shares)
        table.append((genre, *numbers, str(row["tracks"]), str(row["artists"])))
    lines += _columns(table)
    lines.append("")
    for name, c in report["compared"].items():
        value, low, high = c["difference"]
        lines.append(
            f"{PERSONAL} against {name}: {value:+.1%} of {plural(c['tracks'], 'track')} right "
            f"[{low:+.1%}, {high:+.1%}], better in {c['better_in']:.0%} of resamples"
        )
    return lines


def _interval(score: Sequence[float]) -> str:
    value, low, high = score
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """Write a report and its picture."""
    folder.mkdir(parents=True, exist_ok=True)
    draw_confusion(folder / PICTURE, list(report["genres"]), report["confusion"])
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    (folder / REPORT).write_text(text, encoding="utf-8")
