"""The cases of the paper: task sets and networks."""

from dataclasses import dataclass, replace
from itertools import combinations

import torch

from agf_core.train.networks import MultiTaskNet, count_parameters


def wide_multiplier(n_genres: int, n_parameters: int) -> float:
    """Return the width at which a genre-only network has about `n_parameters` parameters.

    The paper's wSTN (section 4): as large as the multi-task network it is compared with. A
    bisection over the width, exact to the rounding of channel counts.
    """
    low, high = 0.1, 10.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        with torch.device("meta"):
            size = count_parameters(MultiTaskNet({"g": n_genres}, middle))
        low, high = (middle, high) if size < n_parameters else (low, middle)
    return round((low + high) / 2, 3)


TASKS = "gsedm"  # in the order of the paper's tables


@dataclass(frozen=True)
class Case:
    """One way to train.

    Attributes
    ----------
    tasks : str
        Letters.
    shared : bool
        One network for all of them (MTN) instead of one for each (STN).
    shuffled : bool
        Groups are made after the artists were shuffled among the training tracks: what remains of
        a gain then is not due to the artists.
    wide : int
        A network as large as the MTN of so many tasks (wSTN); 0 for the paper's width.
    """

    tasks: str
    shared: bool = False
    shuffled: bool = False
    wide: int = 0

    @property
    def kind(self) -> str:
        """``STN``, ``MTN`` or ``wSTN``."""
        return "wSTN" if self.wide else "MTN" if self.shared else "STN"

    @property
    def name(self) -> str:
        """For files and tables."""
        kind = "" if self == Case("g") else f" {self.kind}{self.wide or ''}"
        return "+".join(self.tasks) + kind + (", artists shuffled" if self.shuffled else "")

    @property
    def networks(self) -> list[str]:
        """The tasks of each of its networks."""
        return [self.tasks] if self.shared else list(self.tasks)


ALONE = Case("g")
STN = tuple(Case("".join(t)) for n in range(1, 6) for t in combinations(TASKS, n))
MTN = tuple(Case(case.tasks, shared=True) for case in STN if len(case.tasks) > 1)
SHUFFLED = tuple(replace(case, shuffled=True) for case in MTN)
WIDE = tuple(Case("g", wide=n) for n in range(2, 6))
