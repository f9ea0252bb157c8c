"""From tracks and a recipe to a model."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agf_core.data.tracks import Track
from agf_core.label_shift import training_prior
from agf_core.train.dataset import SegmentDataset, fit_normaliser
from agf_core.train.loop import extract_features, predict, train_networks, train_transfer
from agf_core.train.networks import GenreNet
from training.augment import Variant, originals
from training.export import Trained
from training.manifest import claim, facts_of
from training.pretrained.data import TrainingData
from training.pretrained.distillation import train_one_branch
from training.pretrained.linear_head import DirectPath, add_direct_path, track_means
from training.pretrained.soft_labels import opinions
from training.recipes import Recipe
from training.targets import places, task_targets
from training.teachers.features import EACH, TASK, Scale, over_tracks


def claim_folder(
    folder: Path, material: TrainingData, train: np.ndarray, predicted: np.ndarray
) -> None:
    """See that what a folder keeps was learnt by this recipe from these tracks (`claim`)."""
    claim(
        folder / "recipe.json",
        facts_of(material.recipe, [material.tracks[i] for i in (*train, *predicted)]),
        f"remove {folder}, or give another folder to work in",
    )


def learn(
    material: TrainingData,
    *,
    train: np.ndarray,
    valid: np.ndarray | None,
    predicted: np.ndarray,
    folder: Path,
) -> Trained:
    """Learn from `train` alone, then predict; goes on from the checkpoints in `folder`.

    Tracks without a genre teach the tasks that are about artist groups.

    Parameters
    ----------
    train, valid, predicted : np.ndarray [dtype=int]
        Indices of the tracks to learn from, to score on the way, and to predict at the end.

    Raises
    ------
    RunError
        When the checkpoints are of another recipe or other tracks.
    """
    tracks, descriptors, genres = material.tracks, material.descriptors, material.genres
    recipe, foundation = material.recipe, material.foundation
    claim_folder(folder, material, train, predicted)
    if foundation:
        mean, std = foundation.mean, foundation.std
    else:
        mean, std = fit_normaliser(material.spectra[i] for i in train)
    music = foundation if foundation and recipe.rehearsed else None
    segments = SegmentDataset(
        [*material.spectra, *(music.spectra if music else ())],
        recipe.input,
        mean,
        std,
        variation=recipe.variation,
        device=material.device,
    )
    targets, groups = task_targets(
        tracks,
        descriptors,
        genres,
        recipe.tasks,
        train,
        seed=recipe.networks.seed,
        weighted=recipe.weighted,
    )
    if recipe.one_branch:
        heard = [np.asarray(rows) for rows in descriptors[TASK]]
        more = list(music.heard) if music else []
        thought = _ask_the_teachers(targets["g"], tracks, [*heard, *more], genres, train, recipe)
        scale = foundation.scale if foundation else Scale.fit(heard[i] for i in train)
        model = train_one_branch(
            segments,
            recipe.input,
            {
                task: np.concatenate([rows, thought if task == "g" else _nothing(more, rows)])
                for task, rows in targets.items()
            },
            [*heard, *more],
            scale,
            recipe.networks,
            train=np.concatenate([train, len(tracks) + np.arange(len(more))]),
            width=recipe.width,
            frames_pooled=recipe.frames_pooled,
            teachers=EACH,
            begin=foundation.model if foundation else None,
            checkpoint=folder / "one-branch.safetensors",
        )
        networks = [model.network]
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
    taught = ~np.isnan(targets["g"]).any(axis=1)
    needed = np.union1d(np.flatnonzero(taught), predicted)
    features = extract_features(networks, segments.subset(needed))
    mlp = train_transfer(
        features,
        targets["g"][needed],
        recipe.transfer,
        train=places(train, needed),
        valid=None if valid is None else places(valid, needed),
        checkpoint=folder / "transfer.safetensors",
    )
    if recipe.direct is not None:
        own = np.array(
            [i for i in train if tracks[i].genre in genres and not isinstance(tracks[i], Variant)]
        )
        path = DirectPath.learn(
            track_means(features.subset(places(own, needed))),
            [genres.index(tracks[i].genre) for i in own],
            len(genres),
            recipe.direct,
            balanced=recipe.balanced,
        )
        mlp = add_direct_path(mlp, path, recipe.share)
    probabilities = np.full((len(tracks), len(genres)), np.nan)
    if len(predicted):
        probabilities[predicted] = predict(mlp, features, places(predicted, needed))
    kept = {} if recipe.one_branch else groups  # no branch is left that tells them
    return Trained(
        GenreNet(networks, mlp),
        kept,
        mean,
        std,
        training_prior(targets["g"][train]),
        dict(Counter(t.source for t in originals(foundation.music))) if foundation else {},
        probabilities,
    )


def _ask_the_teachers(
    targets: np.ndarray,
    tracks: Sequence[Track],
    heard: Sequence[np.ndarray],
    genres: Sequence[str],
    train: np.ndarray,
    recipe: Recipe,
) -> np.ndarray:
    """Mix what the teachers think of training tracks into their genre targets, in place.

    Where a track's genre is not known, only they count.

    Parameters
    ----------
    heard : sequence of np.ndarray [shape=(n_stretches, n_features)]
        Of all tracks, and of music behind them.

    Returns
    -------
    np.ndarray [shape=(len(heard) - n_tracks, n_genres)]
        What they think of the music; NaN where the recipe does not want to know.
    """
    music = np.arange(len(tracks), len(heard))
    share = recipe.opinion
    if not share:
        return _nothing(music, targets)
    told = [genres.index(tracks[i].genre) if tracks[i].genre in genres else -1 for i in train]
    said = opinions(
        over_tracks([heard[i] for i in (*train, *music)]),
        [*told, *[-1] * len(music)],
        len(genres),
        [*(tracks[i].artist for i in train), *[""] * len(music)],
        balanced=recipe.balanced,
        whitened=recipe.whitened,
    )
    known, mine = targets[train], said[: len(train)]
    targets[train] = np.where(np.isnan(known), mine, (1 - share) * known + share * mine)
    return said[len(train) :]


def _nothing(music: Sequence[Any] | np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the targets of music that nothing is known about."""
    return np.full((len(music), targets.shape[1]), np.nan)
