"""Settings and training data of fine-tuning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agf_core.data.tracks import Track
from agf_core.groups.codebook import Observations
from agf_core.train.config import TrainConfig
from agf_core.train.dataset import FeatureDataset, SegmentDataset


@dataclass(frozen=True)
class FineTuneConfig:
    """Settings of fine-tuning; docs/guide/your-genres.md describes the defaults.

    Attributes
    ----------
    networks : TrainConfig or None
        Of the networks; None freezes them.
    transfer : TrainConfig
        Of the transfer MLP.
    patience : int
        Validations without a lower log loss after which training stops.
    folds : int
        Number of folds of artists.
    all_folds_up_to : int
        Number of tracks up to which all folds are evaluated; with more, only the first is.
    validation_folds : int
        One in so many of the training artists is in the validation split, which decides when to
        stop and fits the temperature.
    validation_thinning : int
        One in so many windows of the validation split is predicted while networks train.
    group_share : float
        Weight of the mean cross-entropy of artist groups, beside that of the genre.
    """

    networks: TrainConfig | None = field(
        default_factory=lambda: TrainConfig(
            epochs=30, batch_size=32, learning_rate=3e-4, bfloat16=True, validate_every=3
        )
    )
    transfer: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            epochs=80, batch_size=32, learning_rate=3e-4, validate_every=5
        )
    )
    patience: int = 3
    folds: int = 5
    all_folds_up_to: int = 500
    validation_folds: int = 5
    validation_thinning: int = 3
    group_share: float = 0.3


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Training data of fine-tuning.

    Attributes
    ----------
    tracks : list of Track
        First the tagged tracks, whose genre is one of `genres`; then tracks that are used for
        artist groups alone, whose genre does not count.
    genres : tuple of str
    features : FeatureDataset
        Of the tagged tracks, by the base networks (`agf_core.finetune.frozen_features`).
    segments : SegmentDataset or None
        Of all tracks; None where the networks are frozen.
    described : sequence of Track
        Tracks that artist groups are fitted on, which may be more than fit in memory.
    observations : mapping
        Of the described tracks, per task of artist groups.
    """

    tracks: list[Track]
    genres: tuple[str, ...]
    features: FeatureDataset
    segments: SegmentDataset | None = None
    described: Sequence[Track] = ()
    observations: Mapping[str, Observations] = field(default_factory=dict)

    @property
    def n_tagged(self) -> int:
        """Number of tagged tracks."""
        return len(self.features)
