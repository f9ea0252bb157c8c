"""The page: its template, its script and the data become one text that needs no other file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from beets.ui import UserError
from beets.util import displayable_path

from agf_core.errors import why_not_written
from agf_core.utils import atomic
from beetsplug.agfgenre.console import html_text

MARK = "<!-- A map by beets-agf -->"  # by which a page of ours is known
MARK_WITHIN = 200  # bytes from the beginning of a page
IN_JSON = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}  # which could end the script element


def page(data: Mapping[str, Any], title: str) -> str:
    """Return the page.

    Its security policy allows its own script and style, by their checksums, and no request at all.

    Parameters
    ----------
    data : mapping
        As `beetsplug.agfgenre.map.points.columns` returns it.
    title : str
    """
    parts = {
        "style": _resource("web/page.css"),
        "library": _resource("vendor/d3.min.js"),
        "script": _resource("web/page.js"),
    }
    checksums = {name: _checksum(text) for name, text in parts.items()}
    return Template(_resource("web/page.html")).substitute(
        parts,
        mark=MARK,
        title=html_text(title),
        policy=f"style-src {checksums['style']}; "
        f"script-src {checksums['library']} {checksums['script']}",
        data=embeddable(data),
    )


def embeddable(data: Mapping[str, Any]) -> str:
    """Return data as JSON that can stand in a page, whatever printable text it holds."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for character, escaped in IN_JSON.items():
        text = text.replace(character, escaped)
    return text


def check_target(path: Path, *, force: bool) -> None:
    """Check that a page may be written to a file, before any work is done.

    Raises
    ------
    UserError
        If it is a folder or another program's file, or its folder does not exist.
    """
    shown = displayable_path(path)
    try:
        if path.is_dir():
            raise UserError(f"agfmap: {shown} is a folder; name a file: -o {shown}/agfmap.html")
        if not path.parent.is_dir():
            raise UserError(f"agfmap: there is no folder {displayable_path(path.parent)}; make it")
        if not path.exists() or force:
            return
        with path.open("rb") as file:
            ours = MARK.encode() in file.read(MARK_WITHIN)
    except OSError as error:
        raise UserError(f"agfmap: {shown} cannot be used ({error.strerror})") from None
    if not ours:
        raise UserError(
            f"agfmap: {shown} exists and is no map; name another file by -o, "
            "or replace this one by --force"
        )


def write(path: Path, text: str) -> None:
    """Write a page whole or not at all; raise a `UserError` where that fails."""
    try:
        target = path.resolve()  # a link goes on pointing to it
        with atomic.written(target, durable=False) as file:
            file.write(text.encode())
        atomic.remove_abandoned(target)
    except OSError as error:
        raise UserError(f"agfmap: {why_not_written(path, error)}") from None


def _resource(name: str) -> str:
    return files("beetsplug.agfgenre.map").joinpath(name).read_text(encoding="utf-8")


def _checksum(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
