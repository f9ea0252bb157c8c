"""What the plugin adds to `beet ls`, and how long `beet agfgenre` takes to its first tag.

python benchmarks/startup.py [--runs 20] [--file FILE]

All is run in turns. The first tag is that of a library of one file: a clip of the tests by default.
"""

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

from machine import cost, describe, fill, make_home, run

CLIP = Path(__file__).parent.parent / "tests" / "data" / "askyel.mp3"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--file", type=Path, default=CLIP)
    arguments = parser.parse_args()
    steps = {
        "beet ls without the plugin": ("without", "ls", "id:0"),
        "beet ls with it": ("with", "ls", "id:0"),
        "beet agfgenre -p on one file": ("with", "agfgenre", "-p", "-q"),
    }
    costs: dict[str, list] = {step: [] for step in steps}
    with tempfile.TemporaryDirectory() as folder:
        make_home(Path(folder, "without"), plugins="")
        fill(Path(folder, "with"), [arguments.file], shutil.copy)
        for number in range(arguments.runs + 1):
            for step, (home, *command) in steps.items():
                spent = cost(lambda at=Path(folder, home), what=command: run(at, *what))
                if number:  # the first warms the file cache
                    costs[step].append(spent)
    print(describe())
    print(f"{f'ms, median of {arguments.runs}':32}{'by the clock':>16}{'of processors':>16}")
    medians = {
        step: [statistics.median(one) * 1e3 for one in zip(*values, strict=True)]
        for step, values in costs.items()
    }
    plain, plugged, _ = medians.values()
    medians["what the plugin adds to beet ls"] = [
        b - a for a, b in zip(plain, plugged, strict=True)
    ]
    for step, (wall, processor) in medians.items():
        print(f"{step:32}{wall:16.0f}{processor:16.0f}")


if __name__ == "__main__":
    main()
