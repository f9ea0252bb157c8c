"""From tracks and a recipe to a model."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from agf_core.label_shift import training_prior
from agf_core.train.dataset import SegmentDataset, fit_normaliser
from agf_core.train.loop import extract_features, predict, train_networks, train_transfer
from agf_core.train.networks import GenreNet, MultiTaskNet
from training.augment import originals
from training.export import Trained
from training.manifest import check_manifest, manifest_of
from training.pretrained.data import TrainingData
from training.pretrained.distillation import train_distilled
from training.pretrained.linear_head import LinearHead, add_linear_head, track_means
from training.pretrained.pretrain import Pretrained
from training.pretrained.soft_labels import predict_soft_labels
from training.targets import places, task_targets
from training.teachers.features import EACH, TASK, Scale, mean_over_tracks


def check_folder(
    folder: Path, material: TrainingData, train: np.ndarray, predicted: np.ndarray
) -> None:
    """Check that a folder's checkpoints are of this recipe and these tracks; see `RunError`."""
    check_manifest(
        folder / "recipe.json",
        manifest_of(material.recipe, [material.tracks[i] for i in (*train, *predicted)]),
        f"remove {folder}, or give another folder to work in",
    )


def train_recipe(
    material: TrainingData,
    *,
    train: np.ndarray,
    valid: np.ndarray | None,
    predicted: np.ndarray,
    folder: Path,
) -> Trained:
    """Train on some tracks alone and predict others; goes on from the checkpoints in `folder`.

    Tracks without a genre are in the training set of artist groups.

    Parameters
    ----------
    train, valid, predicted : np.ndarray [dtype=int]
        Indices of the tracks to train on, to score on the way, and to predict at the end.

    Raises
    ------
    RunError
        When the checkpoints are of another recipe or other tracks.
    """
    tracks, genres = material.tracks, material.genres
    recipe, pretrained = material.recipe, material.pretrained
    check_folder(folder, material, train, predicted)
    if pretrained:
        mean, std = pretrained.mean, pretrained.std
    else:
        mean, std = fit_normaliser(material.spectra[i] for i in train)
    replayed = pretrained if pretrained and recipe.replay else None
    segments = SegmentDataset(
        [*material.spectra, *(replayed.spectra if replayed else ())],
        recipe.input,
        mean,
        std,
        augmentation=recipe.augmentation,
        device=material.device,
    )
    targets, groups = task_targets(
        tracks,
        material.descriptors,
        genres,
        recipe.tasks,
        train,
        seed=recipe.networks.seed,
        weighted=recipe.weighted_genres,
    )
    if recipe.distilled:
        networks = [_distil(material, segments, targets, train, replayed, folder)]
    else:
        networks = train_networks(
            segments,
            targets,
            recipe.networks,
            train=train,
            valid=valid,
            shared=recipe.shared,
            width=recipe.width,
            frames_pooled=recipe.frames_pooled,
            checkpoints=folder,
        )
    labelled = np.flatnonzero(~np.isnan(targets["g"]).any(axis=1))
    needed = np.union1d(labelled, predicted)
    features = extract_features(networks, segments.subset(needed))
    mlp = train_transfer(
        features,
        targets["g"][needed],
        recipe.transfer,
        train=places(train, needed),
        valid=None if valid is None else places(valid, needed),
        checkpoint=folder / "transfer.safetensors",
    )
    if recipe.linear_head is not None:
        # Augmented copies have no main genre.
        own = np.array([i for i in train if tracks[i].genre])
        head = LinearHead.fit(
            track_means(features.subset(places(own, needed))),
            [genres.index(tracks[i].genre) for i in own],
            len(genres),
            recipe.linear_head,
            class_balance=recipe.class_balance,
        )
        mlp = add_linear_head(mlp, head, recipe.linear_head_share)
    probabilities = np.full((len(tracks), len(genres)), np.nan)
    if len(predicted):
        probabilities[predicted] = predict(mlp, features, places(predicted, needed))
    return Trained(
        GenreNet(networks, mlp),
        {} if recipe.distilled else groups,  # a distilled network has no branch for them
        mean,
        std,
        training_prior(targets["g"][train]),
        dict(Counter(t.source for t in originals(pretrained.music))) if pretrained else {},
        probabilities,
    )


def _distil(
    material: TrainingData,
    segments: SegmentDataset,
    targets: Mapping[str, np.ndarray],
    train: np.ndarray,
    replayed: Pretrained | None,
    folder: Path,
) -> MultiTaskNet:
    """Train one branch with heads for all tasks and teachers, and return it with the genre's.

    Parameters
    ----------
    segments : SegmentDataset
        Of the material's tracks, and of the replayed music after them.
    targets : mapping
        See `task_targets`; the genre's get soft labels, in place.
    """
    recipe, pretrained = material.recipe, material.pretrained
    own = [np.asarray(rows) for rows in material.descriptors[TASK]]
    features = [*own, *(replayed.features if replayed else ())]
    n, n_replayed = len(own), len(features) - len(own)
    soft = _mix_soft_labels(targets["g"], material, features, train)
    model = train_distilled(
        segments,
        recipe.input,
        {
            task: np.concatenate([rows, soft if task == "g" else _unknown(n_replayed, rows)])
            for task, rows in targets.items()
        },
        features,
        pretrained.scale if pretrained else Scale.fit(own[i] for i in train),
        recipe.networks,
        train=np.concatenate([train, n + np.arange(n_replayed)]),
        width=recipe.width,
        frames_pooled=recipe.frames_pooled,
        teachers=EACH,
        begin=pretrained.model if pretrained else None,
        checkpoint=folder / "one-branch.safetensors",
    )
    return model.network


def _mix_soft_labels(
    targets: np.ndarray, material: TrainingData, features: Sequence[np.ndarray], train: np.ndarray
) -> np.ndarray:
    """Mix soft labels into the genre targets of training tracks, in place.

    The target of a track without a genre is its soft label.

    Parameters
    ----------
    features : sequence of np.ndarray [shape=(n_stretches, n_features)]
        The teachers', of all tracks and of replayed music after them.

    Returns
    -------
    np.ndarray [shape=(n_replayed, n_genres)]
        Soft labels of the music; NaN where the recipe wants none.
    """
    tracks, genres, recipe = material.tracks, material.genres, material.recipe
    share, music = recipe.soft_labels, range(len(tracks), len(features))
    if not share:
        return _unknown(len(music), targets)
    labels = [genres.index(tracks[i].genre) if tracks[i].genre else -1 for i in train]
    soft = predict_soft_labels(
        mean_over_tracks([features[i] for i in (*train, *music)]),
        [*labels, *[-1] * len(music)],
        len(genres),
        [*(tracks[i].artist for i in train), *[""] * len(music)],
        class_balance=recipe.class_balance,
        wccn=recipe.wccn,
    )
    known, own = targets[train], soft[: len(train)]
    targets[train] = np.where(np.isnan(known), own, (1 - share) * known + share * own)
    return soft[len(train) :]


def _unknown(n_tracks: int, targets: np.ndarray) -> np.ndarray:
    """Return the targets of tracks of which nothing is known."""
    return np.full((n_tracks, targets.shape[1]), np.nan)
