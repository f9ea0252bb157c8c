"""The paper's tables with our numbers beside its own.

    python -m training.paper.tables --work work --splits random official --output paper.md

makes Tables 3, 4 and 5 of what `training.paper.reproduce` has finished, for every split; several
splits joined by ``+`` (``fold0+fold1``) are scored together. Beside the page lie the same numbers
as CSV, with every score there is. What stands in the page above its marker line is kept.

Ours are means over seeds with 95 % intervals from resampling artists and seeds. In bold stands what
holds, a difference whose interval leaves out 0: between MTN and STN (Table 3), to g alone (Table
4), to the wide network (Table 5). Table 5 has the best case of each size for each score, as the
paper's does: best on the very tracks of its score.
"""

import argparse
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from agf_core import calibration
from training import cli, markdown
from training.errors import RunError
from training.paper import cli as paper_cli
from training.paper.cases import ALONE, MTN, SHUFFLED, STN, WIDE, Case
from training.paper.run import Setting
from training.statistics import Scored, holds, score, signed

MARKER = "<!-- Below this line: written by `python -m training.paper.tables`. -->"
NAMES = ("log_loss", "macro_f1", "accuracy", "calibration_error")
LOWER = (True, False, False, True)  # is better
LOG_LOSS, F1 = 0, 1
PAPER_TABLES = Path(__file__).parent / "data"
Paper = Mapping[Case, tuple[float, float]]  # log loss and F1


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
    epochs : int
        Of each task.
    raw, calibrated : mapping of Scored
        By case, in the order of `NAMES`; calibrated is empty without a calibration part.
    """

    split: str
    part: str
    seeds: tuple[int, ...]
    tracks: int
    artists: int
    epochs: int
    raw: Mapping[Case, Scored]
    calibrated: Mapping[Case, Scored]

    def of(self, cases: Sequence[Case]) -> list[Scored]:
        """Return the scores of cases; empty unless all are there."""
        found = [self.raw[case] for case in cases if case in self.raw]
        return found if len(found) == len(cases) else []


def read_paper() -> Paper:
    """Read the paper's Table 4, and of Table 5 what is not in it: the wide networks."""
    found = {}
    with (PAPER_TABLES / "table4.csv").open(newline="") as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            for kind in ("stn", "mtn"):
                if row[f"{kind}_logloss"]:
                    tasks, wide = row["tasks"], 0
                    if tasks.startswith("w"):
                        tasks, wide = "g", int(tasks[1:])
                    case = Case(tasks, shared=kind == "mtn", wide=wide)
                    found[case] = (float(row[f"{kind}_logloss"]), float(row[f"{kind}_f1"]))
    return found


def read_results(work: Path, runs: str, split: str) -> Results:
    """Read and score what is done; a case counts when it has every seed that g has.

    Raises
    ------
    RunError
        When g is not done on every one of the splits.
    """
    folders = [work / "runs" / runs / one for one in split.split("+")]
    seeds = sorted(
        {int(done.parts[-3].removeprefix("seed-")) for done in folders[0].glob("*/g/scores.json")}
    )
    recipe = json.loads((folders[0].parent / "recipe.json").read_text()) if seeds else {}

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
            loaded = [np.load(one / "predictions.npz") for one in several]
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
            part = json.loads((several[0] / "scores.json").read_text())["part"]
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
        len(set(artists)),
        recipe["networks"]["epochs"],
        score(raw, truth, artists, NAMES),
        score(calibrated, truth, artists, NAMES) if calibrated else {},
    )


def table3(results: Results, paper: Paper) -> list[list[str]]:
    """Rows of Table 3: means over the task sets without and with the genre."""
    rows = [["", "network", "log loss", "paper's", "F1", "paper's"]]
    for name, inside in (("without g", False), ("with g", True)):
        sets = {
            kind: [case for case in cases if ("g" in case.tasks) == inside]
            for kind, cases in (("STN", STN), ("MTN", MTN))
        }
        for kind, cases in sets.items():
            done = [case for case in cases if case in results.raw]
            theirs = np.mean([paper[case] for case in cases], axis=0)
            label = kind if len(done) == len(cases) else f"{kind}, {len(done)} of {len(cases)} sets"
            mean = Scored.mean(results.raw[case] for case in done) if done else None
            rows.append([name, label, *_beside(mean, theirs)])
        both = [case for case in sets["MTN"] if case in results.raw]
        if both:
            gain = Scored.mean(results.raw[c] - results.raw[Case(c.tasks)] for c in both)
            theirs = np.mean([np.subtract(paper[c], paper[Case(c.tasks)]) for c in both], axis=0)
            label = f"MTN less STN, {len(both)} sets that both have"
            cells = [signed(gain[LOG_LOSS]), f"{theirs[0]:+.4f}", signed(gain[F1])]
            rows.append([name, label, *cells, f"{theirs[1]:+.4f}"])
    return rows


def table4(results: Results, paper: Paper) -> list[list[str]]:
    """Rows of Table 4: every task set, bold where it differs from g alone for certain."""
    rows = [["tasks", *(f"{kind} {what}" for kind in ("STN", "MTN") for what in FOUR)]]
    for case in STN:
        shared = Case(case.tasks, shared=True)
        if case not in results.raw and shared not in results.raw:
            continue
        cells = []
        for one in (case, shared):
            found = results.raw.get(one)
            gain = found - results.raw[ALONE] if found else None
            cells += _beside(found, paper.get(one), gain)
        rows.append([case.tasks, *cells])
    return rows


FOUR = ("log loss", "paper's", "F1", "paper's")


def table5(results: Results, paper: Paper) -> list[list[str]]:
    """Rows of Table 5: the best of each size, bold where it is not the wide network's score."""
    rows = [["tasks", "network", *FOUR, "sets"]]
    for n in range(2, 6):
        wide = results.raw.get(Case("g", wide=n))
        for kind, cases in of_size(n).items():
            done = [case for case in cases if case in results.raw]
            theirs = best_of_paper(cases, paper)
            best = Scored.best([results.raw[case] for case in done], LOWER) if done else None
            gain = best - wide if best and wide and kind != "wSTN" else None
            rows.append([str(n), kind, *_beside(best, theirs, gain), f"{len(done)}/{len(cases)}"])
    return rows


def control_table(results: Results) -> list[list[str]]:
    """Rows of multi-task networks beside those whose groups are of shuffled artists."""
    two = ("true artists", "shuffled", "difference")
    rows = [["tasks", *(f"{score}, {which}" for score in ("log loss", "F1") for which in two)]]
    for shuffled in SHUFFLED:
        true = replace(shuffled, shuffled=False)
        if {true, shuffled} <= results.raw.keys():
            one, other = results.raw[true], results.raw[shuffled]
            gain, cells = one - other, []
            for k in (LOG_LOSS, F1):
                cells += [str(one[k]), str(other[k]), signed(gain[k])]
            rows.append([true.tasks, *cells])
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


def best_of_paper(cases: Sequence[Case], paper: Paper) -> tuple[float, float] | None:
    """Return the paper's best log loss and best F1 of some cases."""
    known = [paper[case] for case in cases if case in paper]
    return (min(a for a, _ in known), max(b for _, b in known)) if known else None


def _beside(
    ours: Scored | None,
    theirs: Sequence[float] | np.ndarray | None,
    difference: Scored | None = None,
) -> list[str]:
    """Return cells: our log loss, the paper's, our F1, the paper's."""
    cells = []
    for k in (LOG_LOSS, F1):
        mark = "**" if difference is not None and holds(difference[k]) else ""
        cells.append(f"{mark}{ours[k]}{mark}" if ours is not None else "")
        cells.append(f"{theirs[k]:.4f}" if theirs is not None else "")
    return cells


def as_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows, the first of which is the head, as a table."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]) + "\n"


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
            f"{', '.join(map(str, results.seeds))}; {results.epochs} epochs a task.\n",
        ]
        tables = {
            "Table 3: means over task sets": table3(results, paper),
            "Table 4: every task set (bold: differs from g alone)": table4(results, paper),
            "Table 5: the best of each size (bold: differs from the wide network)": table5(
                results, paper
            ),
        }
        if len(control := control_table(results)) > 1:
            tables["Control: groups of shuffled artists (bold: differs from true ones)"] = control
        if results.calibrated:
            tables["Calibration"] = calibration_table(results)
        for title, rows in tables.items():
            parts += [f"### {title}\n", as_table(rows)]
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
