"""Options that several commands share, and how they say what went wrong."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from agf_core.bundle import BundleError
from agf_core.cache import CacheError
from agf_core.checkpoints import CheckpointError
from agf_core.corpus import CorpusError
from training.collection import CollectionError
from training.errors import RunError
from training.experiment import TASKS, WIDE, Case
from training.recipes import COMPARED, OURS, PAPER, Recipe

# Those whose networks are the paper's: cases have no other, and do not vary their segments.
RUN_RECIPES = {recipe.name: recipe for recipe in (PAPER, OURS, COMPARED)}


FORESEEN = (BundleError, CacheError, CheckpointError, CollectionError, CorpusError, RunError)


def add_corpora(parser: ArgumentParser) -> None:
    """Add where the clips of the development corpora are (see `training.corpora`)."""
    parser.add_argument("--table", type=Path, required=True, help="CSV of the clips")
    parser.add_argument("--audio", type=Path, required=True, help="folder of owner/repository")
    parser.add_argument("--work", type=Path, required=True, help="features and checkpoints")


def add_unlabelled(parser: ArgumentParser) -> None:
    """Add music of which nothing is known (see `training.foundation`)."""
    parser.add_argument("--unlabelled", type=Path, help="folder of music without genres")


def add_work(parser: ArgumentParser) -> None:
    """Add the folder that `training.prepare` has filled."""
    parser.add_argument("--work", type=Path, required=True, help="folder of training.prepare")


def add_recipe(parser: ArgumentParser) -> None:
    """Add what is learnt by."""
    parser.add_argument("--recipe", choices=RUN_RECIPES, default="paper")


def add_runs(parser: ArgumentParser) -> None:
    """Add the folder of a collection, and what its runs are learnt by and called."""
    add_work(parser)
    add_recipe(parser)
    parser.add_argument("--epochs", type=int, help="of each task, instead of the recipe's")
    parser.add_argument("--runs", help="name of these runs (default: the recipe's)")


def add_case(parser: ArgumentParser) -> None:
    """Add which case of the paper's experiments."""
    parser.add_argument("--split", required=True)
    parser.add_argument("--tasks", default="g", help=f"letters of {TASKS}; default %(default)s")
    parser.add_argument("--network", choices=["STN", "MTN", "wSTN"], default="STN")
    parser.add_argument(
        "--wide",
        type=int,
        choices=[case.wide for case in WIDE],
        default=5,
        help="of a wSTN: tasks of the MTN it is as large as; default %(default)s",
    )
    parser.add_argument("--seed", type=int, default=0)


def case_of(arguments: Namespace) -> Case:
    """Return the case that the options of `add_case` name; `RunError` for unknown tasks."""
    tasks = "".join(task for task in TASKS if task in arguments.tasks)
    if sorted(tasks) != sorted(arguments.tasks):
        raise RunError(f"--tasks {arguments.tasks} is not a set of the letters {TASKS}")
    if arguments.network == "wSTN":
        return Case("g", wide=arguments.wide)
    return Case(tasks, shared=arguments.network == "MTN" and len(tasks) > 1)


def add_results(parser: ArgumentParser) -> None:
    """Add which runs to show, and where."""
    add_work(parser)
    parser.add_argument("--runs", default="paper", help="name of the runs; default %(default)s")
    parser.add_argument("--splits", nargs="+", required=True, help="a+b: judged together")
    parser.add_argument("--output", type=Path, required=True, help="the page, such as results.md")


def add_device(parser: ArgumentParser) -> None:
    """Add where networks are trained."""
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")


def add_stream(parser: ArgumentParser) -> None:
    """Add where spectrograms are while networks are trained."""
    parser.add_argument(
        "--stream", action="store_true", help="leave spectrograms on the disk, for lack of memory"
    )


def add_cluster(parser: ArgumentParser) -> None:
    """Add who does the work."""
    parser.add_argument("--scheduler", help="address of a Dask scheduler; without, processes here")
    parser.add_argument("--workers", type=int, help="processes here; by default one per core")


def recipe_of(arguments: Namespace) -> Recipe:
    """Return the recipe that the options of `add_recipe` or `add_runs` name."""
    recipe = RUN_RECIPES[arguments.recipe]
    if getattr(arguments, "epochs", None):
        recipe = replace(recipe, networks=replace(recipe.networks, epochs=arguments.epochs))
    return recipe


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the command with a line, and no traceback, when something foreseen goes wrong."""
    try:
        yield
    except FORESEEN as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("stopped; what is finished is kept: run the command again to go on")
