"""The work of jobs, which a progress bar counts.

The unit is a step of training of a network as wide as the recipe's. A wide network's step is worth
more and that of a transfer MLP less, by their multiplications, so that the time left that the bar
shows is one of work and not of jobs.
"""

from collections.abc import Sequence

from agf_core.constants import MLP_WIDTH, N_MELS, SEGMENT_FRAMES, TRANSFER_WIDTH
from training.paper.cases import Case
from training.paper.experiment import checkpoint_of, width_of
from training.paper.prepare import Prepared
from training.paper.run import Setting, parts
from training.recipes import Recipe

NETWORK_MULTIPLICATIONS = 39e6  # of the paper's network for one segment; forwards is a third
PAPER_INPUT = SEGMENT_FRAMES * N_MELS  # numbers of one of its segments


def steps(n_examples: int, batch_size: int, epochs: int) -> int:
    """Return the steps of training on so many examples."""
    return epochs * -(-n_examples // batch_size)


def mlp_share(n_features: int, recipe: Recipe) -> float:
    """Return the work of a transfer MLP's step; a network's depends on the recipe."""
    inputs = recipe.input.segment_frames * recipe.input.n_mels / recipe.frames_pooled
    network = NETWORK_MULTIPLICATIONS * recipe.width**2 * inputs / PAPER_INPUT
    examples = recipe.transfer.batch_size / recipe.networks.batch_size
    return examples * n_features * MLP_WIDTH / network


def work_of(setting: Setting, cases: Sequence[Case], prepared: Prepared) -> dict[str, float]:
    """Return the work of cases that are trained together.

    Parameters
    ----------
    prepared : Prepared
        That of the setting, open: reading it for every job takes minutes for FMA-medium.

    Returns
    -------
    dict of float
        Of each network and of the MLPs, by its checkpoint.
    """
    tracks, genres = prepared.collection.tracks, prepared.collection.genres
    train = parts(prepared, setting.split).train
    labelled = [i for i in train if tracks[i].genre]
    recipe, spec = setting.recipe, setting.recipe.input
    networks, transfer = recipe.networks, recipe.transfer

    def each(task: str) -> int:
        n = len(labelled if task == "g" else train)
        return steps(n, networks.batch_size, networks.epochs)

    work: dict[str, float] = {}
    mlps = 0.0
    for case in cases:
        width = width_of(case, recipe, len(genres))
        mlps += mlp_share(round(len(case.tasks) * TRANSFER_WIDTH * width), recipe)
        for tasks in case.networks:
            path = checkpoint_of(setting.folder / "networks", tasks, case, width)
            work[str(path)] = sum(map(each, tasks)) * (width / recipe.width) ** 2
    windows = [
        (prepared.spectrograms.counts[i] - spec.segment_frames) // spec.window_hop + 1
        for i in labelled
    ]
    n_examples = sum(windows) if transfer.every_window else len(windows)
    n_steps = steps(n_examples, transfer.batch_size, transfer.epochs)
    return work | {str(setting.mlp_checkpoint(cases)): n_steps * mlps}
