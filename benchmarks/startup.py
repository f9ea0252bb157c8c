"""What enabling the plugin adds to `beet ls`, the two run in turns.

python benchmarks/startup.py [--runs 20]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import describe


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    with tempfile.TemporaryDirectory() as folder:
        for name, plugins in (("without", "[]"), ("with", "[agfgenre]")):
            home = Path(folder, name)
            home.mkdir()
            (home / "config.yaml").write_text(
                f"plugins: {plugins}\nlibrary: {home}/library.db\ndirectory: {home}/music\n"
            )
        for run in range(runs + 1):
            for name, times in seconds.items():
                start = time.perf_counter()
                subprocess.run(
                    [sys.executable, "-m", "beets", "ls"],
                    env=os.environ | {"BEETSDIR": str(Path(folder, name))},
                    check=True,
                )
                if run:  # the first warms the file cache
                    times.append(time.perf_counter() - start)
    plain, plugged = (statistics.median(seconds[name]) for name in ("without", "with"))
    print(describe())
    print(f"beet ls, median of {runs}: {plain * 1e3:.0f} ms without the plugin")
    print(f"                          {plugged * 1e3:.0f} ms with it")
    print(f"the plugin adds {(plugged - plain) * 1e3:.0f} ms, {plugged / plain:.2f} times the time")


if __name__ == "__main__":
    main()
