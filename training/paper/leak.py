"""The leak of the released code: an MLP trained on the test tracks, too, beside one that is not.

    python -m training.paper.leak --work work --splits fold0 --tasks gs gsdm --output leak.md

The script that the paper's authors released trains the transfer MLP on the validation segments as
well. This trains two MLPs on the features of each case's finished networks, which were trained on
neither: one on the training set, one on the test tracks, too. The difference between their gains
from more tasks is how much of the gain could be the leak. What stands in the page above its marker
line is kept.
"""

import argparse
from collections.abc import Sequence
from itertools import chain, product
from pathlib import Path

import numpy as np
from tqdm import tqdm

from agf_core.metrics import count_artists
from training import cli, markdown
from training.errors import RunError
from training.paper import cli as paper_cli
from training.paper.cases import ALONE, Case
from training.paper.run import Setting, check_runs, enough_memory, open_experiment
from training.splits import truth_of
from training.statistics import Scored, score, signed

MARKER = "<!-- Below this line: written by `python -m training.paper.leak`. -->"
NAMES = ("log_loss", "macro_f1", "accuracy")
TITLES = ("log loss", "macro F1", "accuracy")


def both(
    setting: Setting, cases: Sequence[Case]
) -> tuple[dict[Case, np.ndarray], np.ndarray, np.ndarray]:
    """Predict the test tracks by an MLP that was not trained on them, and by one that was.

    Returns
    -------
    probabilities : dict of np.ndarray [shape=(2, n_tracks, n_genres)]
        By case.
    truth, artists : np.ndarray [shape=(n_tracks,)]

    Raises
    ------
    RunError
        When a GPU has too little memory. What is finished is kept.
    """
    with enough_memory(", ".join(case.name for case in cases), stream=setting.stream):
        experiment, _ = open_experiment(setting)
        test = experiment.split.test
        probabilities = {
            case: np.stack(
                [
                    experiment.predict(
                        case,
                        experiment.transfer(
                            case, also=also, checkpoint=checkpoint(setting, case, which)
                        ),
                    )[test]
                    for which, also in (("honest", test[:0]), ("leaky", test))
                ]
            )
            for case in cases
        }
    truth = truth_of(experiment.tracks, test, experiment.genres)
    return probabilities, truth, np.array([experiment.tracks[i].artist for i in test])


def checkpoint(setting: Setting, case: Case, which: str) -> Path:
    """Return where an MLP is kept, so that the command can be stopped and goes on."""
    return setting.folder / "leak" / f"{setting.folder_name(case)}-{which}.safetensors"


def check(setting: Setting, cases: Sequence[Case]) -> None:
    """Check that cases are finished, by this recipe; `RunError` otherwise."""
    for case in cases:
        if not setting.done(case):
            raise RunError(
                f"{setting.case_folder(case)} is not finished; run training.paper.reproduce first"
            )
    check_runs(setting.work, setting.runs, setting.recipe)


def measure(
    settings: Sequence[Sequence[Setting]], cases: Sequence[Case]
) -> tuple[dict[tuple[Case, bool], Scored], int, int]:
    """Score every case without and with the leak.

    Parameters
    ----------
    settings : sequence of sequences of Setting
        For each seed, the splits that are scored together.

    Returns
    -------
    scored : dict of Scored
        By case, and whether the MLP was trained on the test tracks.
    tracks, artists : int

    Raises
    ------
    RunError
        When a case is not finished or was trained by another recipe, before anything is trained,
        and as `both` does.
    """
    truth = artists = np.empty(0)
    per_seed = []
    for setting in chain.from_iterable(settings):
        check(setting, cases)
    bar = tqdm(total=sum(map(len, settings)), desc="splits and seeds", unit="split")
    for splits in settings:
        found = []
        for setting in splits:
            found.append(both(setting, cases))
            bar.update()
        truth, artists = (np.concatenate([one[k] for one in found]) for k in (1, 2))
        per_seed.append({c: np.concatenate([p[c] for p, _, _ in found], axis=1) for c in cases})
    bar.close()
    predictions = {
        (case, leaks): np.stack([p[case][int(leaks)] for p in per_seed])
        for case, leaks in product(cases, (False, True))
    }
    return score(predictions, truth, artists, NAMES), len(truth), count_artists(artists)


def tables(scored: dict[tuple[Case, bool], Scored], cases: Sequence[Case]) -> list[str]:
    """Markdown: the scores of both, and what each gains over g alone."""
    columns = range(len(NAMES))
    head = ["tasks", "MLP", *TITLES]
    called = {False: "not trained on them", True: "trained on them"}
    scores = [
        [case.name, called[leaks], *(str(scored[case, leaks][k]) for k in columns)]
        for case, leaks in product(cases, (False, True))
    ]
    rows: dict[tuple[str, str], Scored] = {}
    for case in cases:
        if case == ALONE:
            continue
        honest, leaky = (scored[case, leaks] - scored[ALONE, leaks] for leaks in (False, True))
        rows |= {
            (case.name, called[False]): honest,
            (case.name, called[True]): leaky,
            (case.name, "second less first"): leaky - honest,
        }
    signs = signed(list(rows.values()), columns)
    gains = [[*names, *cells] for names, cells in zip(rows, signs, strict=True)]
    return [
        "Scores of MLPs that are, or are not, trained on the test tracks:\n",
        markdown.table(head, scores),
        "Gain over g alone (bold: not 0, by Holm's correction over the table):\n",
        markdown.table(head, gains),
    ]


@cli.one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    paper_cli.add_runs(parser)
    parser.add_argument("--splits", nargs="+", required=True, help="scored together")
    parser.add_argument("--seeds", type=cli.seed_number, nargs="+", default=[0])
    parser.add_argument("--tasks", nargs="+", required=True, help="STN cases: sets of letters")
    parser.add_argument("--output", type=Path, required=True, help="the page")
    cli.add_device(parser)
    cli.add_stream(parser)
    arguments = parser.parse_args()
    splits, seeds = (list(dict.fromkeys(given)) for given in (arguments.splits, arguments.seeds))
    cases = list(dict.fromkeys([ALONE, *map(Case, map(paper_cli.in_order, arguments.tasks))]))
    recipe, runs = paper_cli.recipe_of(arguments), arguments.runs or arguments.recipe
    settings = [
        [
            Setting(
                arguments.work,
                runs,
                recipe,
                split,
                seed,
                device=arguments.device,
                stream=arguments.stream,
                progress=True,
            )
            for split in splits
        ]
        for seed in seeds
    ]
    scored, tracks, artists = measure(settings, cases)
    made = (
        f"{tracks} tracks by {artists} artists, {', '.join(splits)}; seeds "
        f"{', '.join(map(str, seeds))}; recipe {recipe.name}; networks of "
        f"{recipe.networks.epochs} epochs a task, MLPs of {recipe.transfer.epochs}.\n"
    )
    markdown.write(arguments.output, "# The leak\n\n", MARKER, [made, *tables(scored, cases)])
    print(f"written: {arguments.output}")


if __name__ == "__main__":
    main()
