"""The models there are: ``beet agfmodels``, and which one listens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import beets
from beets import ui
from beets.ui import UserError

from agf_core import errors
from agf_core.bundle import format as bundle_format
from agf_core.bundle.registry import SHIPPED_NAME, Entry, ModelStore
from beetsplug.agfgenre.console import columns
from beetsplug.agfgenre.model_summary import card_lines, right, short

if TYPE_CHECKING:
    from beets.logging import BeetsLogger

    from beetsplug.agfgenre.config import Settings

REPORT, PICTURE = "report.json", "confusion.png"
VERBS = ("show", "use", "remove")
WAY_OUT = "`beet agfmodels use shipped` takes that of the plugin"
USAGE = "beet agfmodels [show NAME | use NAME | remove NAME]"


def model_store() -> ModelStore:
    """Return the personal models: they lie beside beets' configuration."""
    return ModelStore(Path(beets.config.config_dir()) / "agfgenre")


def chosen_model(configured: str) -> bundle_format.Bundle:
    """Load the model that listens: that of the configuration, else the active one.

    Raises
    ------
    agf_core.errors.BundleError
        If it cannot be used. No other takes its place: by ``-r`` that would replace the genres of
        a whole library.
    """
    if configured:
        try:
            return bundle_format.load(configured)
        except errors.BundleError as error:
            raise errors.BundleError(
                f"{error} (the configuration says `model: {configured}`)"
            ) from None
    store = model_store()
    if lost := _lost(store):
        raise errors.BundleError(lost)
    try:
        return bundle_format.load(store.folder_of(store.active))
    except errors.BundleError as error:
        if store.active == SHIPPED_NAME:
            raise
        raise errors.BundleError(f"{error}; {WAY_OUT}") from None


def manage(arguments: list[str], settings: Settings, log: BeetsLogger) -> None:
    """Do what ``beet agfmodels`` was asked for.

    Raises
    ------
    UserError
        If it cannot be done.
    """
    store, configured = model_store(), settings.model
    verb, names = (arguments[0], arguments[1:]) if arguments else ("list", [])
    if verb == "list" and not names:
        for line in _table(store.entries(), "" if configured else store.active):
            ui.print_(line)
        if lost := _lost(store):
            ui.print_(lost)
        if configured:
            ui.print_(f"{configured} listens: the configuration says `model: {configured}`")
        return
    if verb in VERBS and not names:
        raise UserError(f"agfmodels: {verb} what? Give a model's name; `beet agfmodels` lists them")
    if verb not in VERBS:
        raise UserError(f"agfmodels: {' '.join(arguments)!r} is not understood; say {USAGE}")
    name = " ".join(names)
    if name not in (SHIPPED_NAME, *store.names()):
        raise UserError(f"agfmodels: there is no model {name!r}; `beet agfmodels` lists them")
    try:
        if verb == "show":
            model = bundle_format.load(store.folder_of(name))
            for line in card_lines(model.metadata, settings.min_confidence):
                ui.print_(line)
            ui.print_(f"the whole card: {model.folder / bundle_format.CARD}")
        elif verb == "use":
            store.activate(name)
            log.info("{} listens from now on", name)
            if configured:
                log.warning("but the configuration says `model: {}`, which wins", configured)
        elif name == SHIPPED_NAME:
            raise UserError("agfmodels: the shipped model comes with the plugin and stays")
        elif configured and Path(configured).resolve() == store.path(name).resolve():
            raise UserError(
                f"agfmodels: the configuration says `model: {configured}`; take that out first"
            )
        else:
            was_active = store.active == name
            store.remove(name)
            log.info("removed {}{}", name, "; shipped listens from now on" if was_active else "")
    except errors.BundleError as error:
        raise UserError(f"agfmodels: {error}") from None
    except OSError as error:
        raise UserError(f"agfmodels: {name} cannot be changed ({error.strerror})") from None


def _lost(store: ModelStore) -> str:
    """Say that the model which was to listen is gone, if it is."""
    if store.chosen in (store.active, ""):
        return ""
    return (
        f"the model {store.chosen!r}, which is to listen, is no longer in "
        f"{store.folder / 'models'}; {WAY_OUT}"
    )


def _table(entries: list[Entry], active: str) -> list[str]:
    """Return a line for each model, the active one with a star."""
    rows = [("", "name", "date", "genres", "tracks", "right")]
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
                right(metadata),
            )
        )
    problems = [f"{entry.name}: {entry.problem}" for entry in entries if entry.problem]
    return [*columns(rows), *problems]


def read_report(folder: Path) -> dict[str, Any] | None:
    """Return the report beside a model, if there is one that can be read."""
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) else None
