"""What every benchmark prints of the machine it ran on, and finding files to run on."""

import os
import platform
from pathlib import Path

FORMATS = ["mp3", "flac", "m4a", "ogg", "opus", "wma", "wav", "aiff", "wv", "mpc", "ape", "tta"]


def describe() -> str:
    """Return processor, cores and Python version in a line."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        name = names[0].split(":")[1].strip() if names else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores, {platform.system()}, Python {platform.python_version()}"


def audio_files(folder: Path) -> list[Path]:
    """Return the audio files below `folder`; ends the program where there are none."""
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower()[1:] in FORMATS)
    if not files:
        raise SystemExit(f"no audio files in {folder}")
    return files
