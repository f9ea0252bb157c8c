"""Kinds of excerpts: how near their predictions are to whole tracks', and what they cost.

python benchmarks/excerpts.py FOLDER [--tracks 200]

Tracks of a minute and a half or more are analysed whole, for reference, then by each kind of
excerpt, in turns. No genre needs to be known.
"""

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import audio_files, cost, describe, in_worker_environment, spread
from tqdm import tqdm

from agf_core.audio.decode import AudioError, read
from agf_core.features.preprocessing import load_log_mel
from agf_core.inference.tagger import GenreTagger

SHORTEST = 90.0  # seconds
LONGEST = 900.0
KINDS = [(30, 1), (60, 1), (30, 2), (30, 3), (30, 5), (30, 10), (15, 5), (60, 10)]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tracks", type=int, default=200)
    arguments = parser.parse_args()
    in_worker_environment()
    tagger = GenreTagger.load()
    spec = tagger.metadata.input
    songs = [path for path in audio_files(arguments.folder) if is_a_song(path)]
    whole, predicted, costs = [], defaultdict(list), defaultdict(float)
    for path in tqdm(spread(songs, min(arguments.tracks, len(songs))), unit="track"):
        all_of_it, _ = load_log_mel(path, replace(spec, excerpt_seconds=LONGEST, excerpt_pieces=1))
        whole.append(tagger.predict_log_mel(all_of_it).probabilities)
        for kind in KINDS:
            other = replace(spec, excerpt_seconds=kind[0], excerpt_pieces=kind[1])

            def predict(kind=kind, other=other, path=path) -> None:
                rows, _ = load_log_mel(path, other)
                predicted[kind].append(tagger.predict_log_mel(rows).probabilities)

            costs[kind] += cost(predict).processor
    report(np.array(whole), predicted, costs)


def is_a_song(path: Path) -> bool:
    """Whether a file is no link, can be read, and is as long as a song."""
    try:
        seconds = 0.0 if path.is_symlink() else read(path, seconds=1.0).duration or 0.0
    except AudioError:
        return False
    return SHORTEST <= seconds <= LONGEST


def report(whole: np.ndarray, predicted: dict, costs: dict) -> None:
    """Print the table."""
    print(describe())
    print(f"{len(whole)} tracks; x is processor time, that of the first line being 1")
    print(f"{'':16}{'same first genre':>18}{'Kullback-Leibler':>18}{'x':>7}")
    for (seconds, pieces), rows in predicted.items():
        found = np.array(rows)
        same = (whole.argmax(axis=1) == found.argmax(axis=1)).mean()
        distance = (whole * np.log(whole / found)).sum(axis=1).mean()
        ratio = costs[seconds, pieces] / costs[KINDS[0]]
        name = f"{seconds} s in {pieces}"
        print(f"{name:16}{same:18.1%}{distance:18.3f}{ratio:7.2f}")


if __name__ == "__main__":
    main()
