"""The report of a training as one page of HTML: confusions and a learning curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from beetsplug.agfgenre.console import html_text

WIDTH, HEIGHT, MARGIN = 480, 260, 40  # pixels of the learning curve

STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse }
td, th { padding: .2rem .5rem; text-align: right }
thead th { writing-mode: vertical-rl; transform: rotate(180deg); font-weight: normal }
tbody th { font-weight: normal; white-space: nowrap }
.shares td { min-width: 2rem; text-align: center }
pre { overflow-x: auto }
"""


def page(report: Mapping[str, Any], lines: Sequence[str]) -> str:
    """Return the page; it needs no other file.

    Parameters
    ----------
    report : mapping
        As ``report.json`` has it.
    lines : sequence of str
        What the terminal shows.
    """
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><title>beet agftrain</title>',
        f"<style>{STYLE}</style></head><body>",
        f"<h1>Training of {html_text(str(report['date']))}</h1>",
        f"<pre>{chr(10).join(map(html_text, lines)).strip()}</pre>",
        "<h2>Confusions</h2>",
        "<p>Held-out tracks: a row for each genre of the tags, a column for each prediction.</p>",
        _confusion(list(report["genres"]), report["confusion"]),
    ]
    if len(report.get("learning_curve", ())) > 1:
        parts += [
            "<h2>Learning curve</h2>",
            "<p>Share of held-out tracks that are right, by the number of artists trained on.</p>",
            _curve(report["learning_curve"]),
        ]
    return "\n".join([*parts, "</body></html>", ""])


def _confusion(genres: Sequence[str], confusion: Sequence[Sequence[int]]) -> str:
    head = "".join(f"<th>{html_text(genre)}</th>" for genre in genres)
    rows = []
    for genre, counts in zip(genres, confusion, strict=True):
        total = max(1, sum(counts))
        cells = "".join(
            f'<td style="background:rgb(66 133 244 / {count / total:.2f})">{count or ""}</td>'
            for count in counts
        )
        rows.append(f"<tr><th>{html_text(genre)}</th>{cells}</tr>")
    return (
        f'<table class="shares"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _curve(points: Sequence[Mapping[str, float]]) -> str:
    most = max(point["artists"] for point in points)
    places = [
        (
            MARGIN + point["artists"] / most * (WIDTH - 2 * MARGIN),
            HEIGHT - MARGIN - point["accuracy"] * (HEIGHT - 2 * MARGIN),
            point,
        )
        for point in points
    ]
    line = " ".join(f"{x:.0f},{y:.0f}" for x, y, _ in places)
    marks = "".join(
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="4" fill="#4285f4"/>'
        f'<text x="{x:.0f}" y="{y - 10:.0f}" text-anchor="middle">{point["accuracy"]:.2f}</text>'
        f'<text x="{x:.0f}" y="{HEIGHT - 15}" text-anchor="middle">{point["artists"]}</text>'
        for x, y, point in places
    )
    floor = HEIGHT - MARGIN
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" fill="currentColor">'
        f'<path d="M{MARGIN} {MARGIN}V{floor}H{WIDTH - MARGIN}" fill="none" stroke="gray"/>'
        f'<polyline points="{line}" fill="none" stroke="#4285f4" stroke-width="2"/>{marks}</svg>'
    )
