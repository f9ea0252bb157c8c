"""Pages in the docs of which a command writes one part and a person the other."""

from collections.abc import Sequence
from pathlib import Path


def write(page: Path, title: str, marker: str, parts: Sequence[str]) -> None:
    """Write `parts` below the line `marker`; what stands above it is kept, or `title` put there."""
    kept = title
    if page.exists():
        kept = page.read_text(encoding="utf-8").split(marker)[0]
    page.write_text("\n".join([f"{kept}{marker}\n", *parts]), encoding="utf-8")
