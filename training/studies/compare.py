"""What artist groups are worth: the genre task alone against the genre with groups beside it.

    python -m training.studies.compare --table development.csv --audio corpora --work work \
        --output compare

scores every case on every fold and writes ``README.md``, ``scores.png`` and ``scores.json``. What
stands in ``README.md`` above its marker line is kept. Stopped, it goes on where it was; with
``--folds`` and ``--only`` several of it can share the work, and the last writes the scores.

Within a fold the single-task networks serve every case that has their task, and every case has the
same training tracks, the same groups and as many updates of each task's branch as any other.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np

from agf_core.data.tracks import Track
from agf_core.features.cache import FeatureCache
from agf_core.groups.codebook import Observations
from agf_core.train.dataset import SegmentDataset, fit_normaliser
from training import cli, markdown
from training.datasets.folders import genres_of, read_table
from training.features import describe, spectrograms
from training.paper.cases import ALONE, Case
from training.paper.experiment import Experiment
from training.pretrained.cross_validation import calibrated, truth_of
from training.pretrained.pipeline import task_targets
from training.recipes import COMPARED, Recipe, seeded
from training.splits import keep_back, split
from training.statistics import Scored, score, signed

MARKER = "<!-- Below this line: written by `python -m training.studies.compare`. -->"
TITLES = {"accuracy": "accuracy", "macro_f1": "macro F1", "log_loss": "log loss"}
COLUMNS = range(len(TITLES))


CASES = [
    ALONE,
    *(Case(tasks, shared) for tasks in ("gs", "gmd", "gmdes") for shared in (False, True)),
]


def run_fold(
    tracks: Sequence[Track],
    spectra: Sequence[np.ndarray],
    descriptors: Mapping[str, Observations],
    genres: Sequence[str],
    recipe: Recipe,
    cases: Sequence[Case],
    fold: int,
    folder: Path,
    *,
    device: str = "cpu",
) -> None:
    """Predict a fold's tracks by every case; what is done already is read from `folder`."""
    if all(_predictions(folder, case).exists() for case in cases):
        return
    part = keep_back(split(tracks, fold), tracks, recipe.networks.seed)
    mean, std = fit_normaliser(spectra[i] for i in part.train)
    segments = SegmentDataset(spectra, recipe.input, mean, std, device=device)
    experiments: dict[bool, Experiment] = {}
    for case in cases:
        if _predictions(folder, case).exists():
            continue
        print(f"seed {recipe.networks.seed}, fold {fold}: {case.name}", flush=True)
        own = folder / ("shuffled" if case.shuffled else "")
        if case.shuffled not in experiments:
            known = (
                shuffle_artists(tracks, part.train, recipe.networks.seed)
                if case.shuffled
                else tracks
            )
            targets = partial(_targets, known, descriptors, genres, part.train, recipe, own)
            experiments[case.shuffled] = Experiment(
                tracks, segments, genres, recipe, part, targets, own
            )
        experiment = experiments[case.shuffled]
        raw = experiment.predict(case, experiment.transfer(case))
        np.save(_predictions(folder, case), calibrated(raw, part, tracks, genres)[0][part.test])


def _predictions(folder: Path, case: Case) -> Path:
    return folder / f"{case.name}.npy"


def _targets(
    tracks: Sequence[Track],
    descriptors: Mapping[str, Observations],
    genres: Sequence[str],
    train: np.ndarray,
    recipe: Recipe,
    folder: Path,
    task: str,
) -> np.ndarray:
    """Return the targets of a task; those of groups are made once and kept in `folder`."""
    kept = folder / f"targets-{task}.npy"
    if task != "g" and kept.exists():
        stored: np.ndarray = np.load(kept)
        return stored
    made, _ = task_targets(tracks, descriptors, genres, task, train, seed=recipe.networks.seed)
    if task not in made:
        raise SystemExit(f"task {task} is not possible here; leave its cases out")
    if task != "g":
        folder.mkdir(parents=True, exist_ok=True)
        np.save(kept, made[task])
    return made[task]


def shuffle_artists(tracks: Sequence[Track], train: np.ndarray, seed: int) -> list[Track]:
    """Give the training tracks each other's artists; how many tracks an artist has stays."""
    shuffled = list(tracks)
    for i, j in zip(train, np.random.default_rng(seed).permutation(train), strict=True):
        shuffled[i] = replace(tracks[i], artist=tracks[j].artist)
    return shuffled


def table(scored: Mapping[Case, Scored]) -> str:
    """Markdown: scores, then differences; those whose interval leaves out 0 stand in bold."""
    head = " | ".join(TITLES.values())
    rule = "|---" * (1 + len(TITLES)) + "|"
    lines = [f"| learnt | {head} |", rule]
    for case, one in scored.items():
        lines.append(f"| {case.name} | {' | '.join(str(one[k]) for k in COLUMNS)} |")
    lines += ["", f"| against {ALONE.name} alone | {head} |", rule]
    for case, one in scored.items():
        if case != ALONE:
            gain = one - scored[ALONE]
            lines.append(f"| {case.name} | {' | '.join(signed(gain[k]) for k in COLUMNS)} |")
    return "\n".join(lines)


def draw(scored: Mapping[Case, Scored], path: Path) -> None:
    """Figure: scores above, differences to the genre alone below, with their intervals."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    cases = list(scored)
    figure, axes = plt.subplots(
        2, len(TITLES), figsize=(12, 1.6 + 0.55 * len(cases)), layout="constrained", sharey=True
    )
    rows = np.arange(len(cases))
    for column, title in enumerate(TITLES.values()):
        for which, axis in enumerate(axes[:, column]):
            shown = [scored[case] - scored[ALONE] if which else scored[case] for case in cases]
            found = [one[column] for one in shown]
            middle = np.array([s.value for s in found])
            reach = [middle - [s.low for s in found], [s.high for s in found] - middle]
            axis.errorbar(middle, rows, xerr=reach, fmt="o", color="C0", capsize=3)
            axis.axvline(middle[cases.index(ALONE)], color="0.5", linestyle=":", linewidth=1)
            axis.set_title(title if which == 0 else f"{title}, difference to g alone", fontsize=10)
            axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_yticks(rows, [case.name for case in cases])
    axes[0, 0].invert_yaxis()
    figure.savefig(path, dpi=70)
    plt.close(figure)


def report(
    tracks: Sequence[Track],
    genres: Sequence[str],
    recipe: Recipe,
    cases: Sequence[Case],
    seeds: Sequence[int],
    work: Path,
    output: Path,
) -> None:
    """Write the scores of what all folds and seeds have predicted."""
    folds = sorted({track.fold for track in tracks if track.fold is not None})
    parts = {fold: split(tracks, fold).test for fold in folds}
    judged = np.concatenate(list(parts.values()))
    predictions = {
        case: np.stack(
            [
                np.concatenate([np.load(_predictions(_folder(work, s, f), case)) for f in folds])
                for s in seeds
            ]
        )
        for case in cases
    }
    truth = truth_of(tracks, judged, genres)
    artists = np.array([tracks[i].artist for i in judged])
    scored = score(predictions, truth, artists, list(TITLES))
    output.mkdir(parents=True, exist_ok=True)
    made = (
        f"{len(judged)} clips by {len(set(artists))} artists, {len(genres)} genres, "
        f"{len(folds)} folds; {len(tracks)} clips by {len({t.artist for t in tracks})} artists to "
        f"learn from, those of the tested fold left out; "
        f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}; "
        f"{recipe.networks.epochs} epochs a task. 95 % intervals by bootstrap over artists, "
        "differences paired; bold where the interval leaves out 0."
    )
    draw(scored, output / "scores.png")
    markdown.write(
        output / "README.md",
        "# What artist groups are worth\n\n",
        MARKER,
        [f"{made}\n", table(scored), "\n![Scores of each case](scores.png)\n"],
    )
    (output / "scores.json").write_text(
        json.dumps(
            {
                "tracks": len(judged),
                "artists": len(set(artists)),
                "seeds": list(seeds),
                "recipe": recipe.to_dict(),
                "cases": {
                    case.name: {
                        "scores": _named(one),
                        "differences": _named(one - scored[ALONE]),
                    }
                    for case, one in scored.items()
                },
            },
            indent=1,
        )
        + "\n"
    )
    print(table(scored))


def _named(scored: Scored) -> dict[str, dict[str, float]]:
    return {name: asdict(scored[k]) for k, name in enumerate(TITLES)}


def _folder(work: Path, seed: int, fold: int) -> Path:
    return work / f"seed-{seed}" / f"fold-{fold}"


@cli.one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    cli.add_corpora(parser)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=COMPARED.networks.epochs, help="of each task")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folds", type=int, nargs="+", help="only these; scores when all are done")
    parser.add_argument("--only", choices=["STN", "MTN"], help="only these networks, likewise")
    parser.add_argument(
        "--shuffled", nargs="*", default=[], metavar="TASKS", help="MTNs with artists shuffled too"
    )
    cli.add_device(parser)
    arguments = parser.parse_args()
    cache = FeatureCache(arguments.work / "features")
    tracks, spectra = spectrograms(
        read_table(arguments.table, arguments.audio), COMPARED.input, cache
    )
    genres = genres_of(tracks)
    cases = [*CASES, *(Case(tasks, True, True) for tasks in arguments.shuffled)]
    tasks = "".join(sorted({task for case in cases for task in case.tasks}))
    descriptors = describe(tracks, tasks, cache, fmax=COMPARED.input.fmax)
    work = arguments.work / f"compare-{arguments.epochs}"
    folds = sorted({track.fold for track in tracks if track.fold is not None})

    recipe = replace(COMPARED, networks=replace(COMPARED.networks, epochs=arguments.epochs))

    for seed in arguments.seeds:
        for fold in arguments.folds or folds:
            run_fold(
                tracks,
                spectra,
                descriptors,
                genres,
                seeded(recipe, seed),
                [c for c in cases if not arguments.only or c.shared == (arguments.only == "MTN")],
                fold,
                _folder(work, seed, fold),
                device=arguments.device,
            )
    missing = [
        (seed, fold)
        for seed in arguments.seeds
        for fold in folds
        if not all(_predictions(_folder(work, seed, fold), case).exists() for case in cases)
    ]
    if missing:
        print(f"no scores yet: {len(missing)} of the folds are still to be done")
        return
    first = seeded(recipe, arguments.seeds[0])
    report(tracks, genres, first, cases, arguments.seeds, work, arguments.output)


if __name__ == "__main__":
    main()
