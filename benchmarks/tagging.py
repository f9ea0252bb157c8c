"""Seconds per track of each step from file to genre, against plainly decoding the same excerpts.

python benchmarks/tagging.py FOLDER [--tracks 50]
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import av
from machine import audio_files, describe

from agf_core import audio
from agf_core.spectrogram import log_mel
from agf_core.tagger import GenreTagger


def decode(path: Path, seconds: float) -> None:
    """Decode the middle of a file with PyAV and nothing else: the limit."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        duration = float((container.duration or 0) / av.time_base)
        start = max(0.0, (duration - seconds) / 2)
        if start:
            container.seek(int(start * av.time_base))
        decoded = 0.0
        for frame in container.decode(stream):
            decoded += frame.samples / frame.sample_rate
            if decoded >= seconds:
                break


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tracks", type=int, default=50)
    arguments = parser.parse_args()
    files = audio_files(arguments.folder)[: arguments.tracks]
    tagger = GenreTagger.load()
    spec = tagger.metadata.input

    def timed(step: Callable[[], object]) -> float:
        start = time.perf_counter()
        step()
        return (time.perf_counter() - start) / len(files)

    seconds = {"decoding alone": timed(lambda: [decode(p, spec.excerpt_seconds) for p in files])}
    excerpts = []
    seconds["reading the excerpt, mono at the model's rate"] = timed(
        lambda: excerpts.extend(
            audio.read_excerpt(p, spec.excerpt_seconds, sample_rate=spec.sample_rate) for p in files
        )
    )
    spectra = []
    seconds["log-mel"] = timed(lambda: spectra.extend(log_mel(e.samples, spec) for e in excerpts))
    seconds["network"] = timed(lambda: [tagger.predict_log_mel(s) for s in spectra])
    seconds["file to genre, one after the other"] = timed(
        lambda: [tagger.predict_file(p) for p in files]
    )
    seconds[f"file to genre, {tagger.threads} at a time"] = timed(
        lambda: list(tagger.predict_files(files))
    )
    limit = seconds["decoding alone"]
    print(describe())
    print(f"{len(files)} files, excerpts of {spec.excerpt_seconds:g} s")
    print(f"{'step':48}{'ms a track':>12}{'x decoding':>12}")
    for step, value in seconds.items():
        print(f"{step:48}{value * 1e3:12.1f}{value / limit:12.2f}")


if __name__ == "__main__":
    main()
