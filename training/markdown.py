"""Tables in Markdown, and pages of which a command writes one part and a person the other."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from agf_core.utils import atomic


def write(page: Path, title: str, marker: str, parts: Sequence[str]) -> None:
    """Write `parts` below the line `marker`; what stands above it is kept, or `title` put there."""
    kept = title
    if page.exists():
        kept = page.read_text(encoding="utf-8").split(marker)[0]
    with atomic.written(page) as file:  # or a full disk would take what a person wrote
        file.write("\n".join([f"{kept}{marker}\n", *parts]).encode())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; it ends with a line break."""
    lines = [f"| {' | '.join(cells)} |\n" for cells in (head, *rows)]
    return "".join([lines[0], "|---" * len(head) + "|\n", *lines[1:]])
