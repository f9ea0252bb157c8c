"""The paper's tables with our numbers beside its own.

    python -m training.paper.tables --work work --splits random official --output paper.md

makes Tables 3, 4 and 5 of what `training.paper.reproduce` has finished, for every split; several
splits joined by ``+`` (``fold0+fold1``) are scored together. Beside the page lie the same numbers
as CSV, with every score there is. What stands in the page above its marker line is kept.

Ours are means over seeds with 95 % intervals from resampling artists and seeds. In bold stands what
differs, by Holm's correction over all cases of a table: MTN from STN (Table 3), a set of tasks from
g alone (Table 4), the best set from the wide network (Table 5, whose caption has how it is chosen).
"""

import argparse
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from agf_core import calibration, metrics
from training import cli, markdown
from training.errors import RunError, undamaged
from training.paper import cli as paper_cli
from training.paper.cases import ALONE, MTN, SHUFFLED, STN, WIDE, Case
from training.paper.run import REMEDY, Setting
from training.statistics import Scored, certain, chosen_less, score, signed

MARKER = "<!-- Below this line: written by `python -m training.paper.tables`. -->"
NAMES = ("log_loss", "macro_f1", "accuracy", "calibration_error")
LOWER_IS_BETTER = (True, False, False, True)
LOG_LOSS, F1, ACCURACY = 0, 1, 2
TABLE5 = "Table 5: the best of each size, beside the wide network"
PAPER_TABLES = Path(__file__).parent / "data"
Pair = tuple[float, float]  # log loss and F1
CHOICE_CAPTION = (
    "The scores are those of the best of up to ten sets of tasks, chosen on the very tracks that it"
    " is scored on, as in the paper, while there is one wide network of each size: that alone"
    " favours the sets. The last two columns account for it: the set is chosen on one half of the"
    " artists and compared with the wide network on the other half, both ways round and over many"
    " random halves; bold where it differs.\n"
)


@dataclass(frozen=True)
class Paper:
    """What the paper prints, log loss and F1.

    Attributes
    ----------
    table3 : mapping
        By kind of network, and whether the genre is among the tasks.
    table4 : mapping
        By case.
    table5 : mapping
        By kind of network, and number of tasks.
    """

    table3: Mapping[tuple[str, bool], Pair]
    table4: Mapping[Case, Pair]
    table5: Mapping[tuple[str, int], Pair]

    def best(self, kind: str, n: int) -> Pair:
        """Return the best log loss and F1 of so many tasks; of one, Table 4 has them."""
        if n > 1:
            return self.table5[kind, n]
        if kind == "wSTN":
            return self.table4[ALONE]
        known = [self.table4[case] for case in of_size(1)["STN"]]
        return min(a for a, _ in known), max(b for _, b in known)


@dataclass(frozen=True)
class Results:
    """The scores on one split, or on several that are scored together.

    Attributes
    ----------
    split : str
    part : str
        Which part was scored.
    seeds : tuple of int
    tracks, artists : int
    recipe : str
        Its name.
    epochs : int
        Of each task.
    raw, calibrated : mapping of Scored
        By case, in the order of `NAMES`; calibrated is empty without a calibration set.
    choices : mapping of Scored
        How the best set differs from the wide network of its size, log loss and F1, by kind of
        network and number of tasks; see `training.statistics.chosen_less`.
    """

    split: str
    part: str
    seeds: tuple[int, ...]
    tracks: int
    artists: int
    recipe: str
    epochs: int
    raw: Mapping[Case, Scored]
    calibrated: Mapping[Case, Scored]
    choices: Mapping[tuple[str, int], Scored]


def read_paper() -> Paper:
    """Read the paper's tables."""

    def pairs(number: int) -> Iterator[tuple[str, str, Pair]]:
        """Yield a row's name, a kind of network and its scores, where there are any."""
        with (PAPER_TABLES / f"table{number}.csv").open(newline="") as file:
            for row in csv.DictReader(line for line in file if not line.startswith("#")):
                for kind in ("STN", "MTN", "wSTN"):
                    cells = [row.get(f"{kind.lower()}_{name}") for name in ("logloss", "f1")]
                    loss, f1 = (float(cell or "nan") for cell in cells)
                    if not np.isnan(loss):
                        yield next(iter(row.values())), kind, (loss, f1)

    return Paper(
        {(kind, name == "with g"): pair for name, kind, pair in pairs(3)},
        {Case(tasks, shared=kind == "MTN"): pair for tasks, kind, pair in pairs(4)},
        {(kind, int(n)): pair for n, kind, pair in pairs(5)},
    )


def read_results(work: Path, runs: str, split: str) -> Results:
    """Read and score what is done; a case counts when it has every seed that g has in every split.

    Raises
    ------
    RunError
        When g is not done on every one of the splits, or a file is damaged.
    """
    folders = [work / "runs" / runs / one for one in dict.fromkeys(split.split("+"))]
    done = ({path.parts[-3] for path in one.glob("seed-*/g/scores.json")} for one in folders)
    seeds = sorted(int(name.removeprefix("seed-")) for name in set.intersection(*done))
    recipe = read_json(folders[0].parent / "recipe.json") if seeds else {}

    def stored(case: Case) -> Iterator[list[Path]]:
        """Yield the folders of a case over the splits, for each seed."""
        for seed in seeds:
            yield [folder / f"seed-{seed}" / Setting.folder_name(case) for folder in folders]

    raw: dict[Case, np.ndarray] = {}
    calibrated: dict[Case, np.ndarray] = {}
    truth = artists = np.empty(0)
    part = ""
    for case in (*STN, *MTN, *SHUFFLED, *WIDE):
        needed = [one / "scores.json" for several in stored(case) for one in several]
        if not needed or not all(done.exists() for done in needed):
            continue
        per_seed, tempered = [], []
        for several in stored(case):
            loaded = [read_predictions(one / "predictions.npz") for one in several]
            truth, artists = (
                np.concatenate([one[key] for one in loaded]) for key in ("truth", "artists")
            )
            per_seed.append(np.concatenate([one["probabilities"] for one in loaded]))
            if not any(np.isnan(one["temperature"]) for one in loaded):
                tempered.append(
                    np.concatenate(
                        [
                            calibration.apply_temperature(
                                one["probabilities"], float(one["temperature"])
                            )
                            for one in loaded
                        ]
                    )
                )
            part = read_json(several[0] / "scores.json")["part"]
        raw[case] = np.stack(per_seed)
        if tempered:
            calibrated[case] = np.stack(tempered)
    if ALONE not in raw:
        raise RunError(
            f"{folders[0]} has no finished case g to compare others with; run "
            "training.paper.reproduce"
        )
    return Results(
        split,
        part,
        tuple(seeds),
        len(truth),
        metrics.count_artists(artists),
        recipe["name"],
        recipe["networks"]["epochs"],
        score(raw, truth, artists, NAMES),
        score(calibrated, truth, artists, NAMES) if calibrated else {},
        _choices(raw, truth, artists),
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of a run; `RunError` where it is damaged."""
    with undamaged(path, REMEDY):
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found


def read_predictions(path: Path) -> dict[str, np.ndarray]:
    """Read the predictions of a run; `RunError` where they are damaged."""
    with undamaged(path, REMEDY), np.load(path) as stored:
        return {key: stored[key] for key in ("truth", "artists", "probabilities", "temperature")}


def _choices(
    raw: Mapping[Case, np.ndarray], truth: np.ndarray, artists: np.ndarray
) -> dict[tuple[str, int], Scored]:
    """Compare the best set of each size with the wide network, where both are there."""
    names, lower = NAMES[: F1 + 1], LOWER_IS_BETTER[: F1 + 1]
    found = {}
    for n in range(2, 6):
        wide = raw.get(Case("g", wide=n))
        for kind, cases in of_size(n).items():
            done = [raw[case] for case in cases if case in raw]
            if (
                wide is not None
                and done
                and kind != "wSTN"
                and metrics.artist_numbers(artists).max() > 0
            ):
                found[kind, n] = chosen_less(done, wide, truth, artists, names, lower)
    return found


def table3(results: Results, paper: Paper) -> list[list[str]]:
    """Rows of Table 3: means over the task sets without and with the genre."""
    rows = [["", "network", *SCORE_COLUMNS]]
    differences, places = [], []
    for name, inside in (("without g", False), ("with g", True)):
        sets = {
            kind: [case for case in cases if ("g" in case.tasks) == inside]
            for kind, cases in (("STN", STN), ("MTN", MTN))
        }
        for kind, cases in sets.items():
            done = [case for case in cases if case in results.raw]
            label = kind if len(done) == len(cases) else f"{kind}, {len(done)} of {len(cases)} sets"
            mean = Scored.mean(results.raw[case] for case in done) if done else None
            rows.append([name, label, *_beside(mean, paper.table3[kind, inside])])
        both = [case for case in sets["MTN"] if {case, Case(case.tasks)} <= results.raw.keys()]
        if both:
            differences.append(
                Scored.mean(results.raw[c] - results.raw[Case(c.tasks)] for c in both)
            )
            places.append(len(rows))
            rows.append([name, f"MTN less STN, {len(both)} sets that both have"])
    for place, cells in zip(places, signed(differences, (LOG_LOSS, F1)), strict=True):
        rows[place] += [cells[0], "", cells[1], ""]
    return rows


def table4(results: Results, paper: Paper) -> list[list[str]]:
    """Rows of Table 4: every task set, bold where it differs from g alone."""
    rows = [["tasks", *(f"{kind} {what}" for kind in ("STN", "MTN") for what in SCORE_COLUMNS)]]
    others = [case for case in (*STN, *MTN) if case in results.raw and case != ALONE]
    gains = [results.raw[case] - results.raw[ALONE] for case in others]
    bold = dict(
        zip(others, zip(certain(gains, LOG_LOSS), certain(gains, F1), strict=True), strict=True)
    )
    for case in STN:
        pair = (case, Case(case.tasks, shared=True))
        if any(one in results.raw for one in pair):
            cells = [
                cell
                for one in pair
                for cell in _beside(results.raw.get(one), paper.table4.get(one), bold.get(one))
            ]
            rows.append([case.tasks, *cells])
    return rows


SCORE_COLUMNS = ("log loss", "paper's", "F1", "paper's")


def table5(results: Results, paper: Paper) -> list[list[str]]:
    """Rows of Table 5: the best of each size, and how it differs from the wide network."""
    less = [f"less wSTN, {score}" for score in ("log loss", "F1")]
    rows = [["tasks", "network", *SCORE_COLUMNS, "sets", *less]]
    differences = dict(
        zip(results.choices, signed(list(results.choices.values()), (0, 1)), strict=True)
    )
    for n in range(2, 6):
        for kind, cases in of_size(n).items():
            done = [results.raw[case] for case in cases if case in results.raw]
            best = Scored.best(done, LOWER_IS_BETTER) if done else None
            cells = _beside(best, paper.table5[kind, n])
            sets = f"{len(done)}/{len(cases)}"
            rows.append([str(n), kind, *cells, sets, *differences.get((kind, n), ["", ""])])
    return rows


def control_table(results: Results) -> list[list[str]]:
    """Rows of what groups of true and of shuffled artists gain over g, and of their difference."""
    rows, differences = [["tasks", "difference", "log loss", "F1", "accuracy"]], []
    for shuffled in SHUFFLED:
        true = replace(shuffled, shuffled=False)
        if {true, shuffled} <= results.raw.keys():
            with_true, with_shuffled = results.raw[true], results.raw[shuffled]
            for name, difference in {
                "true artists less g alone": with_true - results.raw[ALONE],
                "shuffled artists less g alone": with_shuffled - results.raw[ALONE],
                "true less shuffled artists": with_true - with_shuffled,
            }.items():
                rows.append([true.tasks, name])
                differences.append(difference)
    for row, cells in zip(rows[1:], signed(differences, (LOG_LOSS, F1, ACCURACY)), strict=True):
        row += cells
    return rows


def calibration_table(results: Results) -> list[list[str]]:
    """Rows of all scores before and after calibration."""
    rows = [["case", "accuracy", "log loss", "calibrated", "ECE", "calibrated"]]
    for case, raw in results.raw.items():
        tempered = results.calibrated[case]
        cells = [str(raw[2]), str(raw[0]), str(tempered[0]), str(raw[3]), str(tempered[3])]
        rows.append([case.name, *cells])
    return rows


def of_size(n: int) -> dict[str, list[Case]]:
    """Return the cases of so many tasks, by their kind."""
    return {
        "wSTN": [Case("g", wide=n)],
        "STN": [case for case in STN if len(case.tasks) == n],
        "MTN": [case for case in MTN if len(case.tasks) == n],
    }


def _beside(
    ours: Scored | None, theirs: Pair | None, bold: Sequence[bool] | None = None
) -> list[str]:
    """Return cells: our log loss, the paper's, our F1, the paper's."""
    cells = []
    for i, k in enumerate((LOG_LOSS, F1)):
        mark = "**" if bold and bold[i] else ""
        cells.append(f"{mark}{ours[k]}{mark}" if ours is not None else "")
        cells.append(f"{theirs[i]:.4f}" if theirs is not None else "")
    return cells


def write_scores(results: Results, path: Path) -> None:
    """Write every score of every case as a CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        ends = ("", "_low", "_high")
        columns = [f"{name}{end}" for name in NAMES for end in ends]
        writer.writerow(["case", "calibrated", *columns, *(f"{c}_gain" for c in columns)])
        for calibrated, scored in ((0, results.raw), (1, results.calibrated)):
            for case, one in scored.items():
                both = [s[k] for s in (one, one - scored[ALONE]) for k in range(len(NAMES))]
                numbers = [f"{x:.4f}" for s in both for x in (s.value, s.low, s.high)]
                writer.writerow([case.name, calibrated, *numbers])


def write(every: Sequence[Results], output: Path) -> None:
    """Write the page, and beside it a folder of its name with the CSVs."""
    paper = read_paper()
    folder = output.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for results in every:
        parts += [
            f"## Split {results.split}\n",
            f"{results.tracks} tracks by {results.artists} artists, part {results.part}; "
            f"{'seed' if len(results.seeds) == 1 else 'seeds'} "
            f"{', '.join(map(str, results.seeds))}; {results.epochs} epochs a task, "
            f"recipe {results.recipe}.\n",
        ]
        tables = {
            "Table 3: means over task sets": table3(results, paper),
            "Table 4: every task set (bold: differs from g alone)": table4(results, paper),
            TABLE5: table5(results, paper),
        }
        if len(control := control_table(results)) > 1:
            tables["Control: groups of shuffled artists (bold: differs)"] = control
        if results.calibrated:
            tables["Calibration"] = calibration_table(results)
        for title, rows in tables.items():
            beside = [CHOICE_CAPTION] if title == TABLE5 else []
            parts += [f"### {title}\n", *beside, markdown.table(rows[0], rows[1:])]
        write_scores(results, folder / f"{results.split}.csv")
        if (folder / f"{results.split}.png").exists():
            figure = f"{folder.name}/{results.split}.png"
            parts.append(f"![Scores against the number of sources]({figure})\n")
    markdown.write(output, "# Results\n\n", MARKER, parts)


@cli.one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    paper_cli.add_results(parser)
    arguments = parser.parse_args()
    every = [read_results(arguments.work, arguments.runs, s) for s in arguments.splits]
    write(every, arguments.output)
    print(f"written: {arguments.output}")


if __name__ == "__main__":
    main()
