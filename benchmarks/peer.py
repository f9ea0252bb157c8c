"""Seconds and memory per track beside other taggers, on the same files.

python benchmarks/peer.py FOLDER [--python PYTHON_WITH_MUSICNN] [--musicnn-onnx FILE]
    [--mn04-onnx FILE] [--tracks 20] [--rounds 3]

With --python, the peer is musicnn 0.1.0 (its MSD_musicnn) as it is installed: TensorFlow uses the
threads it wants, and whole files are analysed. The other two peers are networks in ONNX files,
musicnn's MSD_musicnn and EfficientAT's mn04_as, each in one thread of ONNX Runtime. They get the
excerpt that this plugin analyses, read by it at their rate, and their own spectrograms by NumPy.

Each tagger goes through the files in a process of its own, one after the other, in turns with the
others, several rounds of it; medians are shown.
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
# The inputs of networks in ONNX files; PATH is replaced by theirs.
NETWORK = """
import numpy as np, onnxruntime
from agf_core.audio.decode import read_excerpt
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
network = onnxruntime.InferenceSession("PATH", options, providers=["CPUExecutionProvider"])
def power(samples, n_fft, hop, window):
    padded = np.pad(samples, n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    return np.abs(np.fft.rfft(frames * window).astype(np.complex64)) ** 2
"""
MUSICNN_ONNX = (
    NETWORK
    + """
import librosa
filters = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=96)
window = np.hanning(513)[:-1]
def predict(path):
    samples = read_excerpt(path, 30, pieces=5, sample_rate=16_000).samples
    mel = np.log10(10_000 * (power(samples, 512, 256, window) @ filters.T) + 1)
    patches = mel[: len(mel) // 187 * 187].reshape(-1, 187, 96).astype(np.float32)
    network.run(None, {network.get_inputs()[0].name: patches})
"""
)
MN04_ONNX = (
    NETWORK
    + """
def kaldi(hertz):
    return 1127 * np.log(1 + hertz / 700)
edges = np.linspace(0, kaldi(15_000), 130)[:, None]
ramps = kaldi(np.arange(513) * 32_000 / 1024) - edges
width = edges[1, 0]
filters = np.maximum(0, np.minimum(ramps[:-2], -ramps[2:]) / width).astype(np.float32)
window = np.pad(np.hanning(800), 112)
def predict(path):
    samples = read_excerpt(path, 30, pieces=5, sample_rate=32_000).samples
    mel = power(samples[1:] - 0.97 * samples[:-1], 1024, 320, window) @ filters.T
    rows = ((np.log(mel + 1e-5) + 4.5) / 5).astype(np.float32)
    network.run(None, {network.get_inputs()[0].name: rows.T[None, None]})
"""
)
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
    surroundings = {"TF_CPP_MIN_LOG_LEVEL": "3"} if tagger is MUSICNN else WORKER_ENVIRONMENT
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | surroundings)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.split("numbers ")[-1])


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", help="of an environment with musicnn")
    parser.add_argument("--musicnn-onnx", type=Path, help="MSD_musicnn as an ONNX file")
    parser.add_argument("--mn04-onnx", type=Path, help="mn04_as as an ONNX file")
    parser.add_argument("--tracks", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    files = spread(audio_files(arguments.folder), arguments.tracks)
    taggers = {"beets-agf": (sys.executable, OURS)}
    if arguments.python:
        taggers["musicnn"] = (arguments.python, MUSICNN)
    networks = {"musicnn.onnx": MUSICNN_ONNX, "mn04.onnx": MN04_ONNX}
    paths = (arguments.musicnn_onnx, arguments.mn04_onnx)
    for (name, program), path in zip(networks.items(), paths, strict=True):
        if path:
            taggers[name] = (sys.executable, program.replace("PATH", str(path.absolute())))
    rounds = [
        {name: measure(*one, files) for name, one in taggers.items()}
        for _ in range(arguments.rounds)
    ]
    report(files, rounds)


def report(files: list[Path], rounds: list[dict[str, dict[str, float]]]) -> None:
    """Print the medians of the rounds, a line for each cost and a column for each tagger."""
    print(describe())
    print(f"{len(files)} files, median of {len(rounds)} rounds")
    print(f"{'':36}" + "".join(f"{name:>14}" for name in rounds[0]))
    rows = {
        "first": "first result, s by the clock",
        "first_processor": "first result, s of processors",
        "wall": "each further track, s by the clock",
        "processor": "each further track, s of processors",
        "memory": "peak MiB",
    }
    for what, title in rows.items():
        medians = [statistics.median(one[name][what] for one in rounds) for name in rounds[0]]
        print(f"{title:36}" + "".join(f"{median:14.3g}" for median in medians))


if __name__ == "__main__":
    main()
