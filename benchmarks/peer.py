"""Seconds and memory per track beside musicnn 0.1.0 (its MSD_musicnn), on the same files.

python benchmarks/peer.py FOLDER --python PYTHON_WITH_MUSICNN [--tracks 20] [--rounds 3]

Each tagger goes through the files in a process of its own, one after the other, in turns with the
other tagger, several rounds of it; medians are shown. TensorFlow uses the threads it wants. musicnn
analyses whole files and predicts 50 tags, this plugin analyses 30 seconds: both analyse files of
about that length whole.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from machine import audio_files, describe, spread

from agf_core.inference.worker import WORKER_ENVIRONMENT

OURS = """
from agf_core.inference.tagger import GenreTagger
predict = GenreTagger.load().predict_file
"""
MUSICNN = """
from musicnn.tagger import top_tags
predict = lambda path: top_tags(path, model="MSD_musicnn", topN=3, print_tags=False)
"""
# What is run in each process: the time to its first result is from its very beginning.
PROGRAM = """
import json, resource, sys, time
begun = time.perf_counter()
exec(sys.argv[1])
def processor():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
first, *rest = sys.argv[2:]
predict(first)
wall, used = time.perf_counter(), processor()
numbers = {"first": wall - begun, "first_processor": used}
for path in rest:
    predict(path)
numbers["wall"] = (time.perf_counter() - wall) / len(rest)
numbers["processor"] = (processor() - used) / len(rest)
numbers["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print("numbers", json.dumps(numbers))
"""


def measure(python: str, tagger: str, files: list[Path]) -> dict[str, float]:
    """Run a tagger over the files in a process of its own."""
    command = [python, "-c", PROGRAM, tagger, *map(str, files)]
    surroundings = WORKER_ENVIRONMENT if tagger is OURS else {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | surroundings)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.split("numbers ")[-1])


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", required=True, help="of an environment with musicnn")
    parser.add_argument("--tracks", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    files = spread(audio_files(arguments.folder), arguments.tracks)
    taggers = {"beets-agf": (sys.executable, OURS), "musicnn": (arguments.python, MUSICNN)}
    rounds = [
        {name: measure(*one, files) for name, one in taggers.items()}
        for _ in range(arguments.rounds)
    ]
    medians = {
        name: {what: statistics.median(one[name][what] for one in rounds) for what in first}
        for name, first in rounds[0].items()
    }
    print(describe())
    print(f"{len(files)} files, median of {len(rounds)} rounds")
    print(f"{'':40}{'beets-agf':>12}{'musicnn':>12}{'times':>8}")
    rows = {
        "first": "first result, s by the clock",
        "first_processor": "first result, s of processors",
        "wall": "each further track, s by the clock",
        "processor": "each further track, s of processors",
        "memory": "peak MiB",
    }
    for what, title in rows.items():
        ours, theirs = medians["beets-agf"][what], medians["musicnn"][what]
        print(f"{title:40}{ours:12.3g}{theirs:12.3g}{theirs / ours:8.1f}")


if __name__ == "__main__":
    main()
