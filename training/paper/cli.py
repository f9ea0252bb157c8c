"""Options that the paper's commands share."""

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path

from training.cli import add_work, positive, seed_number
from training.errors import RunError
from training.paper.cases import TASKS, WIDE, Case
from training.paper.experiment import check_recipe
from training.recipes import COMPARED, OURS, PAPER, SMALL, Recipe

RUN_RECIPES = {recipe.name: recipe for recipe in (PAPER, OURS, COMPARED, SMALL)}


def add_recipe(parser: ArgumentParser) -> None:
    """Add the choice of a recipe."""
    parser.add_argument("--recipe", choices=RUN_RECIPES, default="paper")


def add_runs(parser: ArgumentParser) -> None:
    """Add the folder of a collection, and the recipe and the name of its runs."""
    add_work(parser)
    add_recipe(parser)
    parser.add_argument("--epochs", type=positive, help="of each task, instead of the recipe's")
    parser.add_argument("--runs", help="name of these runs (default: the recipe's)")


def add_case(parser: ArgumentParser) -> None:
    """Add the choice of a case of the paper."""
    parser.add_argument("--split", required=True)
    parser.add_argument("--tasks", default="g", help=f"letters of {TASKS}; default %(default)s")
    parser.add_argument("--network", choices=["STN", "MTN", "wSTN"], default="STN")
    parser.add_argument(
        "--wide",
        type=int,
        choices=[case.wide for case in WIDE],
        help="of a wSTN: tasks of the MTN it is as large as; default 5",
    )
    parser.add_argument(
        "--shuffled", action="store_true", help="make groups after shuffling the artists"
    )
    parser.add_argument("--seed", type=seed_number, default=0)


def in_order(tasks: str) -> str:
    """Return tasks in the order of the paper's tables; `RunError` where they are no set of them."""
    ordered = "".join(task for task in TASKS if task in tasks)
    if len(ordered) != len(tasks) or not tasks:
        raise RunError(f"{tasks} is not a set of the letters {TASKS}")
    return ordered


def case_of(arguments: Namespace) -> Case:
    """Return the case that the options of `add_case` name.

    Raises
    ------
    RunError
        For unknown tasks, and for options that do not go together.
    """
    tasks = in_order(arguments.tasks)
    if arguments.shuffled and tasks == "g":
        raise RunError("g alone has no groups of artists to shuffle; leave --shuffled out")
    if arguments.network == "wSTN":
        if tasks != "g":
            raise RunError(f"a wSTN is trained on g alone, not on {tasks}; leave --tasks out")
        return Case("g", wide=arguments.wide or WIDE[-1].wide)
    if arguments.wide:
        raise RunError(f"{arguments.network} has one width; leave --wide out")
    return Case(tasks, arguments.network == "MTN" and len(tasks) > 1, arguments.shuffled)


def add_results(parser: ArgumentParser) -> None:
    """Add the runs to show, and the page to write."""
    add_work(parser)
    parser.add_argument("--runs", default="paper", help="name of the runs; default %(default)s")
    parser.add_argument("--splits", nargs="+", required=True, help="a+b: scored together")
    parser.add_argument("--output", type=Path, required=True, help="the page, such as results.md")


def recipe_of(arguments: Namespace) -> Recipe:
    """Return the recipe that the options of `add_recipe` or `add_runs` name.

    Raises
    ------
    RunError
        When it has what cases lack; see `training.paper.experiment.check_recipe`.
    """
    recipe = RUN_RECIPES[arguments.recipe]
    if getattr(arguments, "epochs", None) is not None:
        recipe = replace(recipe, networks=replace(recipe.networks, epochs=arguments.epochs))
    check_recipe(recipe)
    return recipe
