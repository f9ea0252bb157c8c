"""Steps a second and memory of training, and how long all of the paper's cases would take.

    python benchmarks/paper_training.py --tracks 25000  # on a GPU: FMA-medium's size, 9 GB
    python benchmarks/paper_training.py --tracks 200 --steps 20 --width 0.25

Spectrograms are generated, 30 s a track. Each line is one kind of step, in float32 and in bfloat16;
on a GPU with spectrograms streamed from the disk, then with them on the device. Processor time is
that of this process: as much as the clock's where launching kernels is what bounds a GPU. Memory is
the most there was up to then. What a seed of all 62 cases and the wide networks takes is worked out
from the steps a second.
"""

import argparse
import resource
import sys
import tempfile
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from machine import describe

from agf_core.train.dataset import FeatureDataset, PackedRows, SegmentDataset
from agf_core.train.loop import extract_features, fit
from agf_core.train.networks import MultiTaskNet, channels_last

sys.path.insert(0, str(Path(__file__).parents[1]))  # `training` is not installed

from training.paper.stacked_mlp import train_transfers
from training.recipes import PAPER

FRAMES = 1_292  # of 30 s
CLASSES = {"g": 16, "s": 40, "e": 40, "d": 40, "m": 40}
EPOCHS, MLP_EPOCHS = PAPER.networks.epochs, PAPER.transfer.epochs
WIDE = ("wSTN5", "g", 2.25)  # as large as the MTN of five tasks
MTN_TASKS = sum(n * sets for n, sets in ((2, 10), (3, 10), (4, 5), (5, 1)))


def generate(path: Path, n_tracks: int) -> PackedRows:
    """Write spectrograms of noise around a spectrum for each track."""
    rng = np.random.default_rng(0)
    rows = np.lib.format.open_memmap(path, "w+", np.float16, (n_tracks * FRAMES, 128))
    noise = rng.normal(0, 8, (FRAMES, 128)).astype(np.float16)
    for i in range(n_tracks):
        shape = rng.normal(-40, 10, 128).astype(np.float16)
        rows[i * FRAMES : (i + 1) * FRAMES] = np.roll(noise, i, axis=0) + shape
    rows.flush()
    return PackedRows.open(path, [FRAMES] * n_tracks)


def segments_of(packed: PackedRows, device: str, stream: bool) -> SegmentDataset:
    """Return the spectrograms as a dataset for training."""
    from agf_core.features.spectrogram import InputSpec

    mean, std = np.full(128, -40, np.float32), np.full(128, 12, np.float32)
    return SegmentDataset(packed, InputSpec(), mean, std, device=device, stream=stream)


def speed_of(
    segments: SegmentDataset, tasks: str, width: float, steps: int, bfloat16: bool
) -> tuple[float, float]:
    """Train for an epoch to warm up and then for as many as have `steps`.

    Returns
    -------
    speed : float
        Steps a second.
    processor : float
        Seconds a step.
    """
    rng = np.random.default_rng(0)
    targets = {
        task: rng.dirichlet(np.ones(CLASSES[task]), len(segments)).astype(np.float32)
        for task in tasks
    }
    network = MultiTaskNet({task: CLASSES[task] for task in tasks}, width).to(segments.device)
    channels_last(network)
    each = -(-len(segments) // 64)
    train = np.arange(len(segments))

    def seconds(epochs: int) -> tuple[float, float]:
        start, busy = time.perf_counter(), time.process_time()
        schedule = replace(PAPER.networks, epochs=epochs, bfloat16=bfloat16, validate_every=10_000)
        fit(network, segments, targets, schedule, train=train, progress=False)
        if segments.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start, time.process_time() - busy

    seconds(1)
    epochs = max(1, steps // (each * len(tasks)))
    done = epochs * len(tasks) * each
    clock, processor = seconds(epochs)
    return done / clock, processor / done


def peak_gib(device: str) -> float:
    """Return the most memory that was in use: of the GPU, or of this process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # on Linux


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tracks", type=int, default=25_000)
    parser.add_argument("--steps", type=int, default=1_000, help="timed, of each kind")
    parser.add_argument("--width", type=float, default=1.0, help="factor on the channels")
    parser.add_argument("--mlps", type=int, default=31, help="trained side by side")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--folder", type=Path, help="where the spectrograms are kept meanwhile")
    arguments = parser.parse_args()
    print(describe())
    device, width = arguments.device, arguments.width
    if device.startswith("cuda"):
        print(torch.cuda.get_device_name(device))
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        packed = generate(Path(folder) / "rows.npy", arguments.tracks)
        print(f"{arguments.tracks} tracks, {packed.rows.nbytes / 2**30:.2f} GiB of spectrograms")
        head = ("network", "numbers", "rows", "steps/s", "processor ms/step", "peak GiB")
        print("".join(f"{word:>{len(word) + 3}}" for word in head))
        speed = {}
        streams = (True, False) if device.startswith("cuda") else (False,)
        for stream, bfloat16 in product(streams, (False, True)):
            segments = segments_of(packed, device, stream)
            for name, tasks, factor in (("g", "g", 1.0), ("gsedm", "gsedm", 1.0), WIDE):
                # What stays in `speed` is of half precision on the device.
                speed[name], processor = speed_of(
                    segments, tasks, factor * width, arguments.steps, bfloat16
                )
                where = "disk" if stream else device
                print(
                    f"{name:>10}{'bfloat16' if bfloat16 else 'float32':>10}{where:>7}"
                    f"{speed[name]:>10.1f}{1000 * processor:>20.1f}{peak_gib(device):>11.2f}",
                    flush=True,
                )

        network = MultiTaskNet({"g": 16}, width).to(device).eval()
        channels_last(network)
        start = time.perf_counter()
        one = extract_features([network], segments, bfloat16=True, progress=False)
        extraction = time.perf_counter() - start
        print(f"features of one network: {extraction:.1f} s")
        packed = PackedRows(one.rows.repeat(1, 5), one.counts.tolist())
        features = FeatureDataset(packed, dtype=one.rows.dtype, device=device)
        one_hot = np.eye(16, dtype=np.float32)[np.arange(len(features)) % 16]
        mlps = {}
        for n in (1, arguments.mlps):
            columns = [np.arange(features.n_features)] * n
            train = np.arange(len(features))
            start = time.perf_counter()
            schedule = replace(PAPER.transfer, epochs=1)
            train_transfers(features, columns, one_hot, schedule, train=train, progress=False)
            mlps[n] = time.perf_counter() - start
            peak = peak_gib(device)
            print(f"an epoch of MLPs of five tasks, {n} at a time: {mlps[n]:.1f} s, {peak:.2f} GiB")

    steps = EPOCHS * -(-arguments.tracks // 64)
    networks = steps * (5 / speed["g"] + MTN_TASKS / speed["gsedm"] + 4 / speed[WIDE[0]])
    features_seconds = (5 + MTN_TASKS + 4 * 2) * extraction  # about twice as long for a wide one
    mlp_seconds = MLP_EPOCHS * (mlps[arguments.mlps] + 30 * mlps[1])
    total = networks + features_seconds + mlp_seconds
    print(
        f"worked out: an STN's {EPOCHS} epochs {steps / speed['g'] / 60:.1f} minutes; a seed of all"
        f" 62 cases and the wide networks at most {total / 60:.0f} minutes, of which networks"
        f" {networks / 60:.0f}, features {features_seconds / 60:.0f}, MLPs {mlp_seconds / 60:.0f}"
    )


if __name__ == "__main__":
    main()
