"""All cases of the paper's tables, over splits and seeds.

    python -m training.paper.reproduce --work work --tables 3 4 5 --splits random official \
        --seeds 0 1 2

makes the artist groups that are missing, then trains every case that is not done: the single-task
networks first, whose features serve all 31 STN cases, then the multi-task networks and the wide
ones (see `training.paper.run` for what each leaves). Jobs are distributed over the GPUs of this
machine, its cores where it has none, or the workers of a Dask scheduler. Stopped, it goes on where
it was.
"""

import argparse
import os
import sys
from collections import ChainMap
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm

from training import cli
from training.errors import RunError
from training.paper import cli as paper_cli
from training.paper import cluster
from training.paper.cases import ALONE, MTN, STN, TASKS, WIDE, Case
from training.paper.groups import make_all
from training.paper.prepare import Prepared
from training.paper.progress import Bar
from training.paper.run import Setting, check_runs, run, train_network
from training.paper.workload import work_of

if TYPE_CHECKING:  # comes with [research] only
    from distributed import Client, Future

TABLES = {3: (*STN, *MTN), 4: (*STN, *MTN), 5: (*STN, *MTN, *WIDE)}


def reproduce(
    settings: Sequence[Setting],
    cases: Sequence[Case],
    *,
    scheduler: str | None = None,
    workers: int | None = None,
) -> None:
    """Train every case in every setting.

    Raises
    ------
    RunError
        When some could not be trained, with a line for each reason; the others are.
    """
    wanted = {s: [case for case in cases if not s.done(case)] for s in settings}
    groups = {job: None for s, todo in wanted.items() for case in todo for job in s.groups(case)}
    make_all(list(groups), scheduler, workers)

    n_jobs = sum(map(len, wanted.values()))
    print(f"{n_jobs} of {len(settings) * len(cases)} cases to do", flush=True)
    if not n_jobs:
        return
    here = torch.cuda.device_count() or os.cpu_count() or 1
    problems: dict[str, None] = {}
    jobs = [(setting, together) for setting, todo in wanted.items() for together in _together(todo)]
    opened = {
        which: Prepared.open(*which) for which in {(s.work, s.recipe.input) for s in settings}
    }
    work = [
        work_of(setting, together, opened[setting.work, setting.recipe.input])
        for setting, together in jobs
    ]
    with (
        cluster.connect(scheduler, workers or here) as client,
        Bar(client, dict(ChainMap(*work)), n_jobs) as bar,
    ):
        futures = {
            _submit(client, setting, together): (keys, len(together))
            for (setting, together), keys in zip(jobs, work, strict=True)
        }
        for future, _, error in cluster.finished(list(futures)):
            bar.ended(*futures[future])
            if error:
                why = cluster.reason(error, "a case")
                problems[why] = None
                tqdm.write(why, file=sys.stderr)
    if problems:
        raise RunError(
            f"not all cases could be trained, for {len(problems)} reasons, see above; run the"
            " command again for what is left"
        )


def _together(cases: Sequence[Case]) -> Iterator[list[Case]]:
    """Yield the cases that one job trains: all STNs, whose networks they share, or another."""
    if stn := [case for case in cases if case in STN]:
        yield stn
    yield from ([case] for case in cases if case not in STN)


def _submit(client: "Client", setting: Setting, cases: list[Case]) -> "Future":
    """Let a worker train cases; of STNs first the networks, each as a job of its own."""
    if cases[0] not in STN:
        size = max(cases[0].wide, len(cases[0].tasks))  # the longest first
        return client.submit(run, setting, cases, pure=False, priority=size)
    networks = [
        client.submit(train_network, setting, task, pure=False, priority=10)
        for task in TASKS
        if any(task in case.tasks for case in cases)
    ]
    return client.submit(_after, networks, setting, cases, pure=False, priority=9)


def _after(networks: Sequence[None], setting: Setting, cases: Sequence[Case]) -> None:
    """Run cases when the networks, results of other jobs, are trained."""
    run(setting, cases)


def _cases(
    numbers: Sequence[int], sources: str, only: Sequence[str] | None = None, *, stn: bool = True
) -> list[Case]:
    """Return the cases of tables; of those that are not STNs only some, unless it is None."""
    return [
        case
        for case in dict.fromkeys(case for number in numbers for case in TABLES[number])
        if set(case.tasks) <= set(sources) and case.wide <= len(sources)
        if case == ALONE or (stn if case.kind == "STN" else only is None or _short(case) in only)
    ]


def _short(case: Case) -> str:
    """Return what ``--only`` calls an MTN or a wSTN."""
    return f"w{case.wide}" if case.wide else case.tasks


@cli.one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    paper_cli.add_runs(parser)
    parser.add_argument("--tables", type=int, nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--splits", nargs="+", required=True)
    parser.add_argument("--seeds", type=cli.seed_number, nargs="+", default=[0])
    parser.add_argument(
        "--only", nargs="+", metavar="CASE", help="of MTNs and wSTNs only these, such as gs gsm w2"
    )
    parser.add_argument(
        "--without-stn", action="store_true", help="of STNs only g alone, to save time"
    )
    parser.add_argument(
        "--shuffled",
        nargs="+",
        metavar="TASKS",
        default=[],
        help="also these MTNs, such as gs "
        "gdm, with groups made after shuffling the artists: what they gain is not the artists'",
    )
    parser.add_argument("--sources", default=TASKS, help="only cases of these tasks")
    cli.add_stream(parser)
    cli.add_cluster(parser)
    arguments = parser.parse_args()
    sources = paper_cli.in_order(arguments.sources)
    cases = _cases(arguments.tables, sources, arguments.only, stn=not arguments.without_stn)
    every = _cases(arguments.tables, sources)
    known = {_short(case) for case in every if case.kind != "STN"}
    if unknown := set(arguments.only or ()) - known:
        parser.error(
            f"--only {' '.join(sorted(unknown))}: of these tables and sources there are"
            f" {' '.join(sorted(known))}"
        )
    for tasks in map(paper_cli.in_order, arguments.shuffled):
        if len(tasks) < 2:
            parser.error(f"--shuffled {tasks}: give sets of two tasks or more, such as gs")
        cases.append(Case(tasks, shared=True, shuffled=True))
    if not cases:
        parser.error(f"--sources {sources}: the tables have no case of these alone")
    recipe, runs = paper_cli.recipe_of(arguments), arguments.runs or arguments.recipe
    collection = Prepared.open(arguments.work, recipe.input).collection
    for split in arguments.splits:
        collection.part(split, "train")
    check_runs(arguments.work, runs, recipe)
    settings = [
        Setting(arguments.work, runs, recipe, split, seed, stream=arguments.stream)
        for seed, split in dict.fromkeys(product(arguments.seeds, arguments.splits))
    ]
    reproduce(settings, cases, scheduler=arguments.scheduler, workers=arguments.workers)


if __name__ == "__main__":
    main()
