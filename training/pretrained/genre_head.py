"""The few numbers between class outputs and genres, fitted to labels.

Per teacher a weight, per genre a bias. Everything larger that was tried (logistic regression on the
classes or on the embedding, a weight for every class) was worse on collections that it had not been
fitted on, see the experiment log.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from agf_core.data.tracks import Track
from agf_core.train.class_head import EVIDENCE_FLOOR, ClassHead
from training.pretrained.ontology import MUSIC, TEACHERS, Ontology, class_names

WEIGHT_PENALTY = 0.01  # pulls the teachers' weights towards 1
BIAS_PENALTY = 0.001
CLASS_BALANCE = 0.25  # how far fitting makes up for some genres being rarer than others: 0 to 1
MUSIC_SLOPE, MUSIC_THRESHOLD = 3.0, -1.0  # of the logit of AudioSet's class Music


@dataclass(frozen=True)
class HeadNumbers:
    """What is fitted.

    Attributes
    ----------
    weights : np.ndarray [shape=(n_teachers,)]
    bias : np.ndarray [shape=(n_genres,)]
    """

    weights: np.ndarray
    bias: np.ndarray

    def logits(self, evidence: np.ndarray) -> np.ndarray:
        """Return genre logits, (n_tracks, n_genres), from evidence."""
        result: np.ndarray = np.einsum("t,ntg->ng", self.weights, evidence) + self.bias
        return result


def evidence(outputs: Sequence[np.ndarray], ontology: Ontology) -> np.ndarray:
    """Return each teacher's evidence for each genre, averaged over a track's windows.

    Parameters
    ----------
    outputs : sequence of np.ndarray [shape=(n_windows, n_classes)]
        Class logits of every track.

    Returns
    -------
    np.ndarray [shape=(n_tracks, n_teachers, n_genres)]
    """
    table = ontology.evidence_table
    found = [
        np.log(1 / (1 + np.exp(-rows.astype(np.float32))) @ table + EVIDENCE_FLOOR).mean(axis=0)
        for rows in outputs
    ]
    return np.stack(found).reshape(len(outputs), len(TEACHERS), len(ontology.genres))


def track_weights(tracks: Sequence[Track], targets: np.ndarray) -> np.ndarray:
    """Return how much each track counts: collections alike, rare genres more than common ones.

    Parameters
    ----------
    targets : np.ndarray [shape=(n_tracks, n_genres)]
        Soft labels.
    """
    sizes = Counter(track.source for track in tracks)
    of_collection = np.array([1 / sizes[track.source] for track in tracks])
    shares = of_collection @ targets + 1e-9
    result: np.ndarray = of_collection * (targets @ (shares / shares.max()) ** -CLASS_BALANCE)
    return result


def fit_head(evidence: np.ndarray, targets: np.ndarray, counts: np.ndarray) -> HeadNumbers:
    """Fit weights and biases by cross-entropy.

    Parameters
    ----------
    evidence : np.ndarray [shape=(n_tracks, n_teachers, n_genres)]
    targets : np.ndarray [shape=(n_tracks, n_genres)]
        Soft labels.
    counts : np.ndarray [shape=(n_tracks,)]
        How much each track counts.
    """
    rows, wanted, shares = (
        torch.tensor(np.asarray(values), dtype=torch.float32)
        for values in (evidence, targets, counts / counts.sum())
    )
    weights = torch.ones(rows.shape[1], requires_grad=True)
    bias = torch.zeros(rows.shape[2], requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, bias], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logits = torch.einsum("t,ntg->ng", weights, rows) + bias
        fit = -(shares * (wanted * logits.log_softmax(dim=1)).sum(dim=1)).sum()
        penalty = WEIGHT_PENALTY * ((weights - 1) ** 2).sum() + BIAS_PENALTY * (bias**2).sum()
        total: torch.Tensor = fit + penalty
        total.backward()
        return total

    optimiser.step(loss)
    return HeadNumbers(weights.detach().numpy(), bias.detach().numpy())


def fill_head(head: ClassHead, ontology: Ontology, numbers: HeadNumbers) -> None:
    """Write the ontology and the fitted numbers into a head, in place."""
    head.table.copy_(torch.from_numpy(ontology.evidence_table))
    head.terms.copy_(torch.from_numpy(ontology.terms.reshape(-1)))
    head.teacher_weights.copy_(torch.from_numpy(numbers.weights))
    head.genre_bias.copy_(torch.from_numpy(numbers.bias))
    head.music_weights.zero_()
    head.music_weights[class_names().index(MUSIC)] = MUSIC_SLOPE
    head.music_bias.fill_(-MUSIC_SLOPE * MUSIC_THRESHOLD)
