"""One case of the paper's experiments: networks, MLP, scores.

    python -m training.paper.run --work work --split official --tasks gs --network MTN --seed 0

trains on the training set of a split of a prepared collection (see `training.paper.prepare` and
`training.paper.groups`) and leaves ``work/runs/NAME/SPLIT/seed-SEED/CASE/`` with

====================  ============================================================================
``run.json``          case, the recipe as it was followed, seed, versions, sizes of the parts,
                      and whether features were read from the disk, in half precision
``curves.json``       loss and scores along the way; ``events.out…`` is the same for TensorBoard
``predictions.npz``   probabilities of every test track, its genre and its artist
``mlp.safetensors``   the transfer MLP; the networks' checkpoints lie beside the case's folder
``scores.json``       scores with 95 % intervals over artists; written last
====================  ============================================================================

Scores are of the test set, with a temperature fitted on the validation set. A split without a
test set (the paper's) is scored on its validation set, as in the paper, without a temperature.
"""

import argparse
import json
import shutil
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as to_bytes

from agf_core import calibration, metrics
from agf_core.data.tracks import genre_targets
from agf_core.features.spectrogram import InputSpec
from agf_core.train.checkpoints import read_history
from agf_core.train.dataset import SegmentDataset
from agf_core.train.networks import TransferMLP
from agf_core.utils import atomic
from training import cli
from training.errors import RunError, undamaged
from training.manifest import check_manifest, versions
from training.paper import cli as paper_cli
from training.paper import cluster
from training.paper.cases import Case
from training.paper.experiment import Experiment
from training.paper.groups import GroupsJob
from training.paper.prepare import Prepared
from training.paper.progress import write_curves
from training.recipes import Recipe, seeded
from training.splits import Split, truth_of

REMEDY = "delete its folder and run training.paper.reproduce again"
SPECTROGRAM_MEMORY_SHARE = 0.4  # of a GPU's; features and networks need the rest


@dataclass(frozen=True)
class Setting:
    """What the cases of one split and seed share.

    Attributes
    ----------
    work : Path
        Of `training.paper.prepare`.
    runs : str
        What the runs are called that share a recipe.
    recipe : Recipe
        Its seed is not looked at.
    split : str
    seed : int
    device : str
        ``auto`` for the GPU that falls to a worker, or the CPU.
    stream : bool
        Leave spectrograms and transfer features on the disk even if they fit on the device.
    progress : bool
        Show it, as many workers on one terminal had better not.
    """

    work: Path
    runs: str
    recipe: Recipe
    split: str
    seed: int
    device: str = "auto"
    stream: bool = False
    progress: bool = False

    @property
    def folder(self) -> Path:
        """Holds the cases, and the networks that they share."""
        return self.work / "runs" / self.runs / self.split / f"seed-{self.seed}"

    def case_folder(self, case: Case) -> Path:
        """Return the folder of one case."""
        return self.folder / self.folder_name(case)

    def mlp_checkpoint(self, cases: Sequence[Case]) -> Path:
        """Return where the MLPs of cases that train side by side are kept on the way."""
        if len(cases) == 1:
            return self.case_folder(cases[0]) / "transfer.safetensors"
        which = zlib.crc32(" ".join(case.name for case in cases).encode())
        return self.folder / f"transfers-{which:08x}.safetensors"

    @staticmethod
    def folder_name(case: Case) -> str:
        """Return what the folder of a case is called, such as ``gs-MTN``."""
        return case.name.translate(str.maketrans(" ", "-", "+,"))

    def done(self, case: Case) -> bool:
        """Whether a case has its scores."""
        return (self.case_folder(case) / "scores.json").exists()

    def groups(self, case: Case) -> list[GroupsJob]:
        """Return the groups that a case needs."""
        return [self.groups_of(task, case.shuffled) for task in case.tasks if task != "g"]

    def groups_of(self, task: str, shuffled: bool) -> GroupsJob:
        """Return the groups of a task."""
        return GroupsJob(self.work, self.recipe.input, self.split, self.seed, task, shuffled)


def check_runs(work: Path, runs: str, recipe: Recipe) -> None:
    """Check that runs of one name have one recipe; `RunError` otherwise."""
    check_manifest(
        work / "runs" / runs / "recipe.json",
        recipe.to_dict(),
        "give these runs another name with --runs, or go back to that recipe",
    )


def parts(prepared: Prepared, split: str) -> Split:
    """Return the training, calibration and test tracks of a split."""
    tracks = prepared.collection.tracks

    def labelled(part: str) -> np.ndarray:
        return np.array([i for i in prepared.collection.part(split, part) if tracks[i].genre], int)

    train, valid, test = (
        prepared.collection.part(split, "train"),
        labelled("valid"),
        labelled("test"),
    )
    part = Split(train, valid, test) if len(test) else Split(train, test, valid)
    if not (len(train) and len(part.test)):
        raise RunError(f"split {split} has no training tracks, or none to test on; mend the table")
    return part


def run(setting: Setting, cases: Sequence[Case]) -> None:
    """Train and score cases; those that are done are skipped.

    The MLPs of several STN cases train side by side.

    Raises
    ------
    RunError
        When something is missing, or a GPU has too little memory. What is finished is kept.
    """
    cases = [case for case in cases if not setting.done(case)]
    if not cases:
        return
    started = time.monotonic()
    with enough_memory(", ".join(case.name for case in cases), stream=setting.stream):
        experiment, scored = open_experiment(setting)
        checkpoint = setting.mlp_checkpoint(cases)
        if len(cases) > 1:
            mlps, history = experiment.transfers(cases, checkpoint=checkpoint)
            histories = [history] * len(cases)
        else:
            mlps = [experiment.transfer(cases[0], checkpoint=checkpoint)]
            histories = [read_history(checkpoint)]
        for case, mlp, history in zip(cases, mlps, histories, strict=True):
            curves = experiment.curves(case) | {"transfer": history}
            _write(setting, case, experiment, mlp, curves, scored, time.monotonic() - started)
        checkpoint.unlink(missing_ok=True)  # the ends are in every case's mlp.safetensors
        shutil.rmtree(checkpoint.with_suffix(""), ignore_errors=True)  # and so are the curves


def train_network(setting: Setting, task: str) -> None:
    """Train the single-task network of a task, for all cases that have it; see `run`."""
    with enough_memory(f"network {task}", stream=setting.stream):
        open_experiment(setting)[0].network(task, Case(task))


@contextmanager
def enough_memory(what: str, *, stream: bool) -> Iterator[None]:
    """Turn a GPU's lack of memory into a `RunError` with a remedy.

    Parameters
    ----------
    stream : bool
        Whether spectrograms and features are on the disk as it is.
    """
    remedy = (
        "when nothing else runs on the GPU, or on one with more memory"
        if stream
        else "with --stream, which leaves spectrograms and features on the disk, or when nothing"
        " else runs on the GPU"
    )
    try:
        yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise RunError(
            f"{what}: the GPU has too little memory ({str(error).split('. ')[0]}); what is"
            f" finished is kept: run the command again {remedy}"
        ) from error


def open_experiment(setting: Setting) -> tuple[Experiment, str]:
    """Return the experiment of a setting, and the name of the part that is scored."""
    prepared = Prepared.open(setting.work, setting.recipe.input)
    collection = prepared.collection
    part = parts(prepared, setting.split)

    def targets(task: str, shuffled: bool) -> np.ndarray:
        if task == "g":
            return genre_targets(collection.tracks, collection.genres)
        try:
            return setting.groups_of(task, shuffled).targets()
        except FileNotFoundError:
            raise RunError(
                f"task {task} has no groups for split {setting.split}, seed {setting.seed}; make"
                f" them: python -m training.paper.groups --work {setting.work} --splits"
                f" {setting.split} --seeds {setting.seed} --recipe {setting.recipe.name}"
            ) from None

    recipe = seeded(setting.recipe, setting.seed)
    device = cluster.device_here() if setting.device == "auto" else setting.device
    segments = _segments(setting.work, recipe.input, setting.split, device, setting.stream)
    experiment = Experiment(
        collection.tracks,
        segments,
        collection.genres,
        recipe,
        part,
        targets,
        setting.folder / "networks",
        watched=collection.part(setting.split, "valid"),
        stream=setting.stream or segments.streamed,
        progress=setting.progress,
    )
    return experiment, "test" if len(part.calibration) else "valid"


def _segments(work: Path, spec: InputSpec, split: str, device: str, stream: bool) -> SegmentDataset:
    """Return the segments of all tracks, normalised as the training set of a split needs it."""
    mean, std = Prepared.open(work, spec).normaliser(split)
    return _rows(work, spec, device, stream).normalised_by(mean, std)


@lru_cache(maxsize=1)  # all splits have the same rows: one copy of them fits on a device
def _rows(work: Path, spec: InputSpec, device: str, stream: bool) -> SegmentDataset:
    spectrograms = Prepared.open(work, spec).spectrograms
    if device.startswith("cuda") and not stream:
        total = torch.cuda.get_device_properties(device).total_memory
        stream = spectrograms.rows.nbytes > SPECTROGRAM_MEMORY_SHARE * total
    plain = np.zeros(spec.n_mels), np.ones(spec.n_mels)
    return SegmentDataset(spectrograms, spec, *plain, device=device, stream=stream)


def _write(
    setting: Setting,
    case: Case,
    experiment: Experiment,
    mlp: TransferMLP,
    curves: dict[str, list[dict[str, Any]]],
    scored: str,
    seconds: float,
) -> None:
    """Write everything about a case; the scores come last."""
    from torch.utils.tensorboard import SummaryWriter

    tracks, part = experiment.tracks, experiment.split
    folder = setting.case_folder(case)
    folder.mkdir(parents=True, exist_ok=True)
    raw = experiment.predict(case, mlp)
    truth = truth_of(tracks, part.test, experiment.genres)
    artists = np.array([tracks[i].artist for i in part.test])
    temperature = None
    scores = {"raw": metrics.evaluate(raw[part.test], truth, artists)}
    if len(part.calibration):
        temperature = calibration.fit_temperature(
            raw[part.calibration], truth_of(tracks, part.calibration, experiment.genres)
        )
        tempered = calibration.apply_temperature(raw[part.test], temperature)
        scores["calibrated"] = metrics.evaluate(tempered, truth, artists)
    _write_json(
        folder / "run.json",
        {
            "case": asdict(case),
            "split": setting.split,
            "seed": setting.seed,
            "recipe": experiment.followed(case).to_dict(),
            "stream": experiment.stream,
            "tracks": {"train": len(part.train), "calibration": len(part.calibration)},
            "versions": versions(experiment.segments.device),
            "seconds": round(seconds, 1),
        },
    )
    _write_json(folder / "curves.json", curves)
    for old in folder.glob("events.out.*"):
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for network, entries in curves.items():
            write_curves(writer, network, entries)
    with atomic.written(folder / "mlp.safetensors") as file:
        file.write(to_bytes({name: x.contiguous() for name, x in mlp.state_dict().items()}))
    with atomic.written(folder / "predictions.npz") as file:
        np.savez_compressed(
            file,
            track_ids=[tracks[i].track_id for i in part.test],
            probabilities=raw[part.test],
            temperature=np.nan if temperature is None else temperature,
            truth=truth,
            artists=artists,
            genres=experiment.genres,
        )
    _write_json(
        folder / "scores.json",
        {
            "part": scored,
            "tracks": len(truth),
            "artists": metrics.count_artists(artists),
            "temperature": temperature,
        }
        | {
            which: {name: asdict(s) for name, s in found.items()} for which, found in scores.items()
        },
    )


def _write_json(path: Path, values: object) -> None:
    with atomic.written(path) as file:
        file.write(f"{json.dumps(values, indent=1, ensure_ascii=False)}\n".encode())


def setting_of(arguments: argparse.Namespace, *, progress: bool = False) -> Setting:
    """Return the setting of the options of `training.cli`."""
    return Setting(
        arguments.work,
        arguments.runs or arguments.recipe,
        paper_cli.recipe_of(arguments),
        arguments.split,
        arguments.seed,
        device=arguments.device,
        stream=arguments.stream,
        progress=progress,
    )


@cli.one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    paper_cli.add_runs(parser)
    paper_cli.add_case(parser)
    cli.add_device(parser)
    cli.add_stream(parser)
    arguments = parser.parse_args()
    case = paper_cli.case_of(arguments)
    setting = setting_of(arguments, progress=True)
    Prepared.open(arguments.work, setting.recipe.input).collection.part(setting.split, "train")
    check_runs(setting.work, setting.runs, setting.recipe)
    run(setting, [case])
    path = setting.case_folder(case) / "scores.json"
    with undamaged(path, REMEDY):
        scores = json.loads(path.read_text(encoding="utf-8"))
    for name, score in scores["raw"].items():
        print(f"{name} {metrics.Score(**score)}")
    print(f"on {scores['tracks']} tracks by {scores['artists']} artists, part {scores['part']}")


if __name__ == "__main__":
    main()
