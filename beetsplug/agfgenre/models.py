"""The installed models: ``beet agfmodels``, and which of them is used."""

from __future__ import annotations

import json
import webbrowser
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import beets
import platformdirs
from beets.logging import getLogger
from beets.ui import UserError

from agf_core import errors
from agf_core.bundle import format as bundle_format
from agf_core.bundle.old_keys import with_present_keys
from agf_core.bundle.registry import SHIPPED_NAME, Entry, ModelStore
from agf_core.data.genre_names import composed
from agf_core.inference.embeddings import EmbeddingStore, StoringTagger
from agf_core.inference.worker import IsolatedTagger
from beetsplug.agfgenre.console import columns, plural, show
from beetsplug.agfgenre.database import LOGGER
from beetsplug.agfgenre.model_summary import accuracy, card_lines, short

if TYPE_CHECKING:
    from beets.logging import BeetsLogger

    from beetsplug.agfgenre.config import Settings

REPORT_FILE, PAGE_FILE = "report.json", "report.html"
USE_SHIPPED = "switch to the plugin's own with `beet agfmodels use shipped`"
USAGE = "beet agfmodels [show NAME [--open] | use NAME | remove NAME | prune]"


def model_store() -> ModelStore:
    """Return the fine-tuned models, which are beside beets' configuration."""
    return ModelStore(Path(beets.config.config_dir()) / "agfgenre")


def cache_folder() -> Path:
    """Return the folder of features and checkpoints, which can be made again."""
    return platformdirs.user_cache_path("beets-agf")


def embedding_store() -> EmbeddingStore:
    """Return the stored features of tracks."""
    return EmbeddingStore(cache_folder() / "embeddings.db", _report_damage)


def _report_damage(path: Path) -> None:
    getLogger(LOGGER).warning(
        "{} was damaged and is made anew, empty: tracks have to be analysed again", path
    )


def storing_tagger(model: bundle_format.Bundle, threads: int | None) -> StoringTagger:
    """Return a tagger that predicts in a process of its own and stores features."""
    store = embedding_store()
    return StoringTagger(IsolatedTagger(model, threads=threads, store=store.path), store)


def chosen_model(configured: str) -> bundle_format.Bundle:
    """Load the model to use: that of the configuration, else the active one.

    Raises
    ------
    agf_core.errors.BundleError
        If it cannot be used. No other model is used instead, or ``-r`` would replace the genres
        of a whole library.
    """
    if configured:
        try:
            return bundle_format.load(configured)
        except errors.BundleError as error:
            raise errors.BundleError(
                f"{error} (the configuration has `model: {configured}`)"
            ) from None
    store = model_store()
    if missing := _missing(store):
        raise errors.BundleError(missing)
    try:
        return bundle_format.load(store.folder_of(store.active))
    except errors.BundleError as error:
        if store.active == SHIPPED_NAME:
            raise
        raise errors.BundleError(f"{error}; {USE_SHIPPED}") from None


def manage(
    arguments: list[str], settings: Settings, log: BeetsLogger, *, open_page: bool = False
) -> None:
    """Run ``beet agfmodels``.

    Parameters
    ----------
    arguments : list of str
    settings : Settings
    log : BeetsLogger
    open_page : bool
        Show the page of the model's report in a browser.

    Raises
    ------
    UserError
        If it cannot be done.
    """
    store = model_store()
    command, name = (arguments[0], " ".join(arguments[1:])) if arguments else ("list", "")
    name = composed(name)
    if command == "list" and not name:
        _list(store, settings)
        return
    if command == "prune" and not name:
        _prune(store, settings, log)
        return
    commands: dict[str, Callable[..., None]] = {
        "show": partial(_show, open_page=open_page),
        "use": _use,
        "remove": _remove,
    }
    if command not in commands:
        raise UserError(f"agfmodels: {' '.join(arguments)!r} is not a command; use {USAGE}")
    if not name:
        raise UserError(
            f"agfmodels: {command} needs the name of a model; `beet agfmodels` lists them"
        )
    if name not in (SHIPPED_NAME, *store.names()):
        raise UserError(f"agfmodels: there is no model {name!r}; `beet agfmodels` lists them")
    try:
        commands[command](store, name, settings, log)
    except errors.BundleError as error:
        raise UserError(f"agfmodels: {error}") from None
    except OSError as error:
        raise UserError(f"agfmodels: {errors.why_not_written(store.folder, error)}") from None


def _list(store: ModelStore, settings: Settings) -> None:
    for line in _table(store.entries(), "" if settings.model else store.active):
        show(line)
    if missing := _missing(store):
        show(missing)
    if settings.model:
        show(f"{settings.model} is used: the configuration has `model: {settings.model}`")


def _show(
    store: ModelStore, name: str, settings: Settings, log: BeetsLogger, *, open_page: bool
) -> None:
    model = bundle_format.load(store.folder_of(name))
    for line in card_lines(model.metadata, settings.min_confidence):
        show(line)
    show(f"full model card: {model.folder / bundle_format.CARD}")
    page = model.folder / PAGE_FILE
    if page.is_file():
        show(f"full report: {page}")
        if open_page:
            webbrowser.open(page.resolve().as_uri())
    elif open_page:
        raise UserError(f"agfmodels: {name} has no report; models by `beet agftrain` have one")


def _use(store: ModelStore, name: str, settings: Settings, log: BeetsLogger) -> None:
    store.activate(name)
    log.info("{} is used from now on", name)
    if settings.model:
        log.warning("but the configuration has `model: {}`, which takes precedence", settings.model)


def _remove(store: ModelStore, name: str, settings: Settings, log: BeetsLogger) -> None:
    if name == SHIPPED_NAME:
        raise UserError("agfmodels: the shipped model is part of the plugin and cannot be removed")
    if settings.model and Path(settings.model).resolve() == store.path(name).resolve():
        raise UserError(
            f"agfmodels: the configuration has `model: {settings.model}`; remove that line first"
        )
    was_active = store.active == name
    store.remove(name)
    log.info("removed {}{}", name, "; the shipped model is used from now on" * was_active)


def _prune(store: ModelStore, settings: Settings, log: BeetsLogger) -> None:
    """Remove stored features of models that are not installed any more."""
    entries = store.entries()
    if damaged := [entry.name for entry in entries if entry.model is None]:
        raise UserError(
            f"agfmodels: {damaged[0]} cannot be read, so whose features it needs is not known; "
            "remove it first"
        )
    models = [entry.model for entry in entries if entry.model is not None]
    try:
        models += [bundle_format.load(settings.model)] if settings.model else []
    except errors.BundleError as error:
        raise UserError(f"agfmodels: {error}") from None
    needed = {model.model_id for model in models} | {model.base_id for model in models}
    stored = embedding_store()
    counts = stored.counts() if stored.path.is_file() else {}
    unused = {model: count for model, count in counts.items() if model not in needed}
    stored.remove(unused)
    stored.close()
    if stored.problem:
        raise UserError(f"agfmodels: {stored.problem}")
    for model, count in unused.items():
        log.info("removed what {} had stored of {}", model, plural(count, "track"))
    if not unused:
        log.info("nothing had to be removed: all stored features are of installed models")


def _missing(store: ModelStore) -> str:
    """Return a sentence if the active model is missing, else ""."""
    if store.chosen in (store.active, ""):
        return ""
    folder = store.folder / "models"
    return f"the active model {store.chosen!r} is no longer in {folder}; {USE_SHIPPED}"


def _table(entries: list[Entry], active: str) -> list[str]:
    """Return a line for each model, the active one with a star."""
    rows = [("", "name", "date", "genres", "tracks", "accuracy")]
    for entry in entries:
        mark = "*" if entry.name == active else ""
        if entry.model is None:
            rows.append((mark, entry.name, "cannot be used", "", "", ""))
            continue
        metadata = entry.model.metadata
        rows.append(
            (
                mark,
                entry.name,
                short(metadata.trained_on.get("date", "")),
                str(len(metadata.labels)),
                short(metadata.trained_on.get("tracks", "")),
                accuracy(metadata),
            )
        )
    problems = [f"{entry.name}: {entry.problem}" for entry in entries if entry.problem]
    return [*columns(rows), *problems]


def read_report(folder: Path) -> dict[str, Any] | None:
    """Return the report beside a model, if there is one that can be read."""
    try:
        report = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return with_present_keys(report) if isinstance(report, dict) else None
