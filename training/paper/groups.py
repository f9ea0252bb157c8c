"""Artist groups as targets: per source, fitted on the training set of a split alone.

    python -m training.paper.groups --work work --splits official random --seeds 0 1 2

leaves ``work/groups-FMAX/SPLIT/seed-SEED/SOURCE.npz``: dictionary and topics, and every track's
target. Sources, splits and seeds are shared out to all cores, or to the workers of a Dask
scheduler. `training.studies.inspect_groups` shows groups to a person.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from agf_core.features.cache import FeatureCache
from agf_core.features.spectrogram import InputSpec
from agf_core.groups.lda import ArtistGroups, group_targets
from agf_core.utils import atomic
from training import cli
from training.errors import DAMAGE, RunError, undamaged
from training.features import DESCRIPTORS, stored_descriptors
from training.paper import cli as paper_cli
from training.paper import cluster
from training.paper.prepare import Prepared

METHOD_VERSION = 2  # how groups are found; what another one has left is made anew
REMEDY = "delete it and run training.paper.groups again"


@dataclass(frozen=True)
class GroupsJob:
    """Groups of one source, split and seed of a prepared collection.

    Attributes
    ----------
    work : Path
        Of `training.paper.prepare`.
    spec : InputSpec
    split : str
    seed : int
    source : str
        Its letter.
    shuffled : bool
        Whether the training tracks have each other's artists (`Case.shuffled`).
    """

    work: Path
    spec: InputSpec
    split: str
    seed: int
    source: str
    shuffled: bool = False

    @property
    def path(self) -> Path:
        """The file that keeps them."""
        folder = self.work / f"groups-{self.spec.fmax:g}" / self.split / f"seed-{self.seed}"
        return folder / f"{self.source}{'-shuffled' * self.shuffled}.npz"

    @property
    def made(self) -> bool:
        """Whether they are there, undamaged as far as can be seen, as this version finds them."""
        try:
            with np.load(self.path) as stored:
                return int(stored["method"]) == METHOD_VERSION
        except (FileNotFoundError, *DAMAGE):
            return False

    def make(self) -> None:
        """Find the groups in the split's training set, and every track's target.

        The dictionary does not depend on artists, so that of shuffled ones is taken from the true
        groups if these are made.

        Raises
        ------
        RunError
            When too little is known of the training tracks.
        """
        collection = Prepared.open(self.work, self.spec).collection
        artists = [track.artist for track in collection.tracks]
        train = collection.part(self.split, "train")
        if self.shuffled:
            artists = shuffle(artists, train, self.seed)
        true = replace(self, shuffled=False)
        dictionary = true.groups().dictionary if self.shuffled and true.made else None
        cache = FeatureCache(self.work / "features")
        try:
            described = stored_descriptors(
                collection.tracks, self.source, cache, fmax=self.spec.fmax
            )
            groups, targets = group_targets(
                self.source, described, artists, train, seed=self.seed, dictionary=dictionary
            )
        except ValueError as error:
            raise RunError(
                f"no groups of {DESCRIPTORS[self.source]} for split {self.split}: {error};"
                " leave that source out with --sources or --tasks, or mend the table"
            ) from error
        except KeyError as error:
            raise RunError(
                f"{error.args[0]} is damaged; delete it and run training.paper.prepare again"
            ) from error
        arrays: dict[str, Any] = {
            "method": METHOD_VERSION,
            "targets": targets,
            **groups.to_arrays(),
        }
        with atomic.written(self.path) as file:
            np.savez(file, **arrays)

    def targets(self) -> np.ndarray:
        """Return every track's target, (n_tracks, n_groups), float32; see `group_targets`.

        Raises
        ------
        FileNotFoundError
            When they are not `made`.
        RunError
            When they are damaged.
        """
        if not self.made:
            raise FileNotFoundError(self.path)
        with undamaged(self.path, REMEDY), np.load(self.path) as stored:
            targets: np.ndarray = stored["targets"]
        return targets

    def groups(self) -> ArtistGroups:
        """Return the groups; `RunError` when they are damaged."""
        with undamaged(self.path, REMEDY), np.load(self.path) as stored:
            return ArtistGroups.from_arrays(
                {k: stored[k] for k in stored if k not in ("method", "targets")}
            )


def shuffle(artists: Sequence[str], train: np.ndarray, seed: int) -> list[str]:
    """Give the training tracks each other's artists; how many tracks an artist has stays."""
    shuffled = np.array(artists, object)
    shuffled[train] = np.random.default_rng(seed).permutation(shuffled[train])
    return shuffled.tolist()


def make_all(jobs: Sequence[GroupsJob], scheduler: str | None, workers: int | None) -> None:
    """Make the groups that are not there yet.

    Raises
    ------
    RunError
        When some cannot be made; the others are.
    """
    missing = [job for job in jobs if not job.made]
    if not missing:
        return
    problems = {}
    with cluster.connect(scheduler, min(len(missing), workers or os.cpu_count() or 1)) as client:
        done = chain.from_iterable(  # true groups first: shuffled ones take their dictionaries
            cluster.each(client, GroupsJob.make, [job for job in missing if job.shuffled == which])
            for which in (False, True)
        )
        for job, _, error in tqdm(done, total=len(missing), desc="artist groups", unit="source"):
            if error:
                which = f"{job.source} of split {job.split}, seed {job.seed}"
                problems[cluster.reason(error, which)] = job
    if problems:
        raise RunError("; ".join(problems))


@cli.one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    cli.add_work(parser)
    paper_cli.add_recipe(parser)
    parser.add_argument("--splits", nargs="+", required=True)
    parser.add_argument("--seeds", type=cli.seed_number, nargs="+", default=[0])
    every = "".join(DESCRIPTORS)
    parser.add_argument("--sources", default=every, help="letters; default %(default)s")
    cli.add_cluster(parser)
    arguments = parser.parse_args()
    if not arguments.sources or set(arguments.sources) - set(DESCRIPTORS):
        parser.error(f"--sources {arguments.sources}: give some of the letters {every}")
    spec = paper_cli.recipe_of(arguments).input
    collection = Prepared.open(arguments.work, spec).collection
    for split in arguments.splits:
        collection.part(split, "train")
    jobs = [
        GroupsJob(arguments.work, spec, *which)
        for which in dict.fromkeys(product(arguments.splits, arguments.seeds, arguments.sources))
    ]
    make_all(jobs, arguments.scheduler, arguments.workers)
    for job in jobs:
        targets = job.targets()
        known = (~np.isnan(targets).any(axis=1)).sum()
        print(f"{job.path}: {targets.shape[1]} groups, targets of {known} tracks")


if __name__ == "__main__":
    main()
