"""Genre probabilities of clips in the form of the challenge: a CSV with 16 of them for each clip.

    python -m training.paper.submit --work work --split official --tasks gsedm --network MTN \
        --clips fma_crowdai_www2018_test --output submission.csv

predicts with a case that `training.paper.run` or `training.paper.reproduce` has finished; it is
calibrated if its split has a test set. The model is left in the case's folder, as one that the
plugin can use, too.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file
from tqdm import tqdm

from agf_core.audio.decode import shown
from agf_core.bundle import format as bundle_format
from agf_core.data.tracks import genre_targets
from agf_core.inference.tagger import GenreTagger
from agf_core.label_shift import training_prior
from training import cli
from training.errors import RunError, undamaged
from training.export import Trained, write_bundle
from training.paper import cli as paper_cli
from training.paper.cases import Case
from training.paper.run import (
    REMEDY,
    Setting,
    check_runs,
    enough_memory,
    open_experiment,
    setting_of,
)

CHALLENGE = (
    "Blues",
    "Classical",
    "Country",
    "Easy Listening",
    "Electronic",
    "Experimental",
    "Folk",
    "Hip-Hop",
    "Instrumental",
    "International",
    "Jazz",
    "Old-Time / Historic",
    "Pop",
    "Rock",
    "Soul-RnB",
    "Spoken",
)
"""The columns, after ``file_id``."""


def build_model(setting: Setting, case: Case) -> bundle_format.Bundle:
    """Put a finished case together as a model in its folder.

    Raises
    ------
    RunError
        When it is not finished or damaged, or was trained by another recipe.
    """
    from agf_core.train.networks import TransferMLP

    folder = setting.case_folder(case)
    if not setting.done(case):
        raise RunError(f"{folder} is not finished; run it first: python -m training.paper.run")
    check_runs(setting.work, setting.runs, setting.recipe)
    with undamaged(folder / "scores.json", REMEDY):
        scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    experiment, _ = open_experiment(setting)
    with undamaged(folder / "mlp.safetensors", REMEDY, SafetensorError, RuntimeError):
        weights = load_file(folder / "mlp.safetensors")
        mlp = TransferMLP(weights["layers.1.weight"].shape[1], len(experiment.genres))
        mlp.load_state_dict(weights)
    mean, std = (x.cpu().numpy() for x in (experiment.segments.mean, experiment.segments.std))
    network = experiment.whole(case, mlp.eval()).cpu()
    groups = {job.source: job.groups() for job in setting.groups(case)}
    train = [experiment.tracks[i] for i in experiment.split.train]
    prior = training_prior(genre_targets(train, experiment.genres))
    return write_bundle(
        Trained(network, groups, mean, std, prior, {}, np.empty(0)),
        scores["temperature"] or 1.0,
        folder / "model",
        name=f"{setting.runs} {case.name}",
        genres=experiment.genres,
        recipe=experiment.followed(case),
        tracks=train,
        scores=scores,
        card=lambda metadata: f"# {metadata.name}\n\nTrained on split {setting.split}.\n",
    )


def submit(model: bundle_format.Bundle, clips: Path, output: Path, prior: np.ndarray) -> int:
    """Predict every MP3 below a folder and write the CSV.

    Parameters
    ----------
    prior : np.ndarray [shape=(n_genres,)]
        Prediction for clips that cannot be read, which are listed.

    Returns
    -------
    int
        How many clips there are.

    Raises
    ------
    RunError
        When there are none, or the model knows other genres than the challenge.
    """
    labels = model.metadata.labels
    if unknown := set(labels) - set(CHALLENGE):
        raise RunError(f"the challenge has no {', '.join(sorted(unknown))}; take a model of FMA's")
    paths = sorted(clips.rglob("*.mp3"))
    if not paths:
        raise RunError(f"{clips} has no MP3 files; give the folder of the challenge's clips")
    with output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["file_id", *CHALLENGE], restval="0")
        writer.writeheader()
        results = GenreTagger(model).predict_files(paths)
        for result in tqdm(results, total=len(paths), desc="clips", unit="clip"):
            if result.prediction is None:
                tqdm.write(f"taken for an average clip: {result.error}")
            p = prior if result.prediction is None else result.prediction.probabilities
            row = {label: f"{x:.6g}" for label, x in zip(labels, p, strict=True)}
            writer.writerow({"file_id": shown(Path(result.path).stem)} | row)
    return len(paths)


@cli.one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    paper_cli.add_runs(parser)
    paper_cli.add_case(parser)
    parser.add_argument("--clips", type=Path, required=True, help="folder of MP3 files")
    parser.add_argument("--output", type=Path, required=True, help="CSV to write")
    cli.add_device(parser)
    cli.add_stream(parser)
    arguments = parser.parse_args()
    case = paper_cli.case_of(arguments)
    setting = setting_of(arguments, progress=True)
    with enough_memory(case.name, stream=setting.stream):
        model = build_model(setting, case)
    experiment, _ = open_experiment(setting)
    genres = [experiment.tracks[i].genre for i in experiment.split.train]
    counts = np.array([genres.count(label) for label in model.metadata.labels])
    n = submit(model, arguments.clips, arguments.output, counts / counts.sum())
    print(f"{arguments.output}: {n} clips, by {model.model_id}")


if __name__ == "__main__":
    main()
