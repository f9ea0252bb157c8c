"""Tables in Markdown, and pages of which a command writes one part and a person the other."""

from collections.abc import Iterable, Sequence
from pathlib import Path


def write(page: Path, title: str, marker: str, parts: Sequence[str]) -> None:
    """Write `parts` below the line `marker`; what stands above it is kept, or `title` put there."""
    kept = title
    if page.exists():
        kept = page.read_text(encoding="utf-8").split(marker)[0]
    page.write_text("\n".join([f"{kept}{marker}\n", *parts]), encoding="utf-8")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; it ends with a line break."""
    lines = [f"| {' | '.join(cells)} |\n" for cells in (head, *rows)]
    return "".join([lines[0], "|---" * len(head) + "|\n", *lines[1:]])
