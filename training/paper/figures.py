"""Score against the number of sources, ours beside the paper's.

    python -m training.paper.figures --work work --splits random official --output paper.md

draws the best case of each size, as in Table 5, into the folder of the page that
`training.paper.tables` writes, which shows the figures when it is written again.
"""

import argparse
from pathlib import Path

import numpy as np

from training import cli
from training.paper import cli as paper_cli
from training.paper.cases import ALONE, Case
from training.paper.tables import (
    F1,
    LOG_LOSS,
    LOWER_IS_BETTER,
    Paper,
    Results,
    of_size,
    read_paper,
    read_results,
)
from training.statistics import Scored

COLOURS = {"STN": "C0", "MTN": "C1", "wSTN": "C2"}


def draw(results: Results, paper: Paper, path: Path) -> None:
    """Draw log loss and F1 of STN, MTN and wSTN: lines with intervals, the paper's dashed."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(ncols=2, figsize=(11, 4.5), layout="constrained")
    for axis, k, title in zip(axes, (LOG_LOSS, F1), ("log loss", "macro F1"), strict=True):
        for i, (kind, colour) in enumerate(COLOURS.items()):
            ours, theirs = [], []
            for n in range(1, 6):
                cases = drawn(kind, n)
                done = [results.raw[case] for case in cases if case in results.raw]
                if done:
                    ours.append((n, Scored.best(done, LOWER_IS_BETTER)[k]))
                theirs.append((n, paper.best(kind, n)[k]))
            if ours:
                sizes = np.array([n for n, _ in ours])
                middle = np.array([s.value for _, s in ours])
                reach = [middle - [s.low for _, s in ours], [s.high for _, s in ours] - middle]
                axis.errorbar(
                    sizes + 0.06 * (i - 1),
                    middle,
                    yerr=reach,
                    fmt="o-",
                    color=colour,
                    capsize=3,
                    label=kind,
                )
            axis.plot(*zip(*theirs, strict=True), "--", color=colour, label=f"{kind}, paper")
        axis.set_xticks(range(1, 6))
        axis.set_xlabel("sources")
        axis.set_title(f"{title}, the best set of each size on these tracks", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def drawn(kind: str, n: int) -> list[Case]:
    """Return the cases of so many sources whose best is drawn.

    A single task is the same network whatever it is called; the wide network's is the genre.
    """
    if n > 1:
        return of_size(n)[kind]
    return [ALONE] if kind == "wSTN" else of_size(1)["STN"]


@cli.one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    paper_cli.add_results(parser)
    arguments = parser.parse_args()
    folder = arguments.output.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for split in arguments.splits:
        results = read_results(arguments.work, arguments.runs, split)
        draw(results, read_paper(), folder / f"{split}.png")
        print(f"written: {folder / f'{split}.png'}")


if __name__ == "__main__":
    main()
