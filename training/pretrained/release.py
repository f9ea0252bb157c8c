"""From a collection and the teachers' predictions to the model that ships.

    python -m training.pretrained.release --table collection.csv --unlabelled music --work work

trains a student for every group of collections that it leaves out, scores each collection by a
network and a head that have seen none of it, then trains on everything and saves the model with its
card. `training.pretrained.extract_teachers` has to be run before. Stopped, the command goes on
where it was. With

    --students a b

it trains these students alone (a, b, c: each leaves out a group; all: none) and keeps them in the
folder of work; without this option, it uses them. With

    --model-of a --output FOLDER

it saves the model of a student that leaves out a group, for studies with the group's collections.
Its head and its temperature are fitted on nothing that the student was not trained on.
"""

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from agf_core.bundle import format as bundle_format
from agf_core.bundle import seen_artists
from agf_core.data.tracks import genre_targets
from agf_core.label_shift import training_prior
from agf_core.metrics import count_artists
from agf_core.train.class_head import ClassHead
from agf_core.train.export import network_to_onnx, weights_to_safetensors
from agf_core.train.networks import GenreNet
from training.cli import one_line_errors, seed_number
from training.errors import RunError
from training.pretrained.data import ALL, LEFT_OUT, ReleaseData, add_data, gather_from
from training.pretrained.evaluate import (
    HEADLINE,
    by_hand,
    calibrate_by_collection,
    leave_one_collection_out,
    mean_over,
    score_collections,
    score_genres,
    score_pooled,
    scored_collections,
    softmax,
)
from training.pretrained.genre_head import evidence, fill_head, fit_head, track_weights
from training.pretrained.model_card import model_card
from training.teachers.windows import Windows

CONFIDENCE = 0.6  # the plugin's default, from which on a genre is written


def left_out_logits(data: ReleaseData, student: str = ALL) -> tuple[np.ndarray, list[str]]:
    """Predict every scored collection by a student and a head that have seen none of it.

    Parameters
    ----------
    data : ReleaseData
    student : str
        The tracks that this one is trained on take part.

    Returns
    -------
    logits : np.ndarray [shape=(n_tracks, n_genres)]
        NaN for other tracks.
    collections : list of str
    """
    rows, genres = data.shown_to(student), data.ontology.genres
    tracks = [data.tracks[i] for i in rows]
    collections = scored_collections(tracks, genres)
    if len(collections) < 2:
        raise RunError(
            "fewer than two collections have enough labelled tracks: none can be left out"
        )
    students = {name: data.student_without(name) for name in collections}

    def by_student(collection: str) -> np.ndarray:
        return data.evidence_by(students[collection])[rows]

    logits = np.full((len(data.tracks), len(genres)), np.nan)
    logits[rows] = leave_one_collection_out(tracks, genres, by_student, collections)
    return logits, collections


def score(
    data: ReleaseData, other_seeds: Mapping[int, ReleaseData] = MappingProxyType({})
) -> tuple[dict[str, Any], float]:
    """Score the recipe by leaving one collection out.

    Parameters
    ----------
    data : ReleaseData
    other_seeds : mapping of ReleaseData
        The same for other seeds, whose scores stand beside.

    Returns
    -------
    scores : dict
        As the model's description holds them.
    temperature : float
    """
    tracks, genres = data.tracks, data.ontology.genres

    def predict(data: ReleaseData) -> tuple[np.ndarray, float]:
        logits, collections = left_out_logits(data)
        return calibrate_by_collection(logits, tracks, genres, collections, CONFIDENCE)

    collections = scored_collections(tracks, genres)
    probabilities, temperature = predict(data)
    outputs = [track.classes for track in data.excerpts]
    teachers = evidence(outputs, data.ontology)
    by_teachers = leave_one_collection_out(tracks, genres, lambda _: teachers, collections)
    rows = {
        "this model": probabilities,
        **{f"this model, seed {seed}": predict(other)[0] for seed, other in other_seeds.items()},
        "its teachers": softmax(by_teachers),
        **{f"by hand, {name}": p for name, p in by_hand(outputs, data.ontology).items()},
    }
    scored = {
        name: score_collections(p, tracks, genres, collections, CONFIDENCE)
        for name, p in rows.items()
    }
    headline = [name for name in HEADLINE if name in collections]
    return {
        **score_pooled(probabilities, tracks, genres, headline or collections),
        "by_collection": scored["this model"],
        "means": {
            name: {
                "headline": mean_over(one, headline or collections),
                "all": mean_over(one, collections),
            }
            for name, one in scored.items()
        },
        "headline": headline,
        "confidence": CONFIDENCE,
        "genres": score_genres(probabilities, tracks, genres),
    }, temperature


def save_left_out(data: ReleaseData, student: str, output: Path) -> bundle_format.Bundle:
    """Save the model of a student that leaves out a group of collections; it has no scores."""
    logits, collections = left_out_logits(data, student)
    tracks, genres = data.tracks, data.ontology.genres
    _, temperature = calibrate_by_collection(logits, tracks, genres, collections, CONFIDENCE)
    return save_model(data, student, temperature, {}, output)


def save_model(
    data: ReleaseData, student: str, temperature: float, scores: dict[str, Any], output: Path
) -> bundle_format.Bundle:
    """Train a student, fit a head on the genres of the same tracks, and save the model."""
    rows, ontology, recipe = data.shown_to(student), data.ontology, data.recipe
    found, (trained, mean, std) = data.evidence_by(student)[rows], data.train(student)
    tracks = [data.tracks[i] for i in rows]
    targets = genre_targets(tracks, ontology.genres, weighted=True)
    labelled = np.flatnonzero(np.isfinite(targets).all(axis=1))
    counts = track_weights([tracks[i] for i in labelled], targets[labelled])
    head = ClassHead(trained.network.n_features, ontology.sizes)
    head.classes = trained.class_layer()
    fill_head(head, ontology, fit_head(found[labelled], targets[labelled], counts))
    network = GenreNet([trained.network.cpu()], head).eval()
    _fill_branch_head(network, [data.excerpts[i] for i in rows], mean, std)
    weighted = targets[labelled] * (counts / counts.mean())[:, None]
    metadata = bundle_format.Metadata(
        name="shipped" if student == ALL else f"without-{student}",
        labels=ontology.genres,
        tasks=network.n_classes,
        architecture={
            "networks": network.tasks,
            "width": recipe.width,
            "frames_pooled": recipe.frames_pooled,
            **head.architecture(),
        },
        input=recipe.input,
        mean=mean,
        std=std,
        temperature=temperature,
        prior=training_prior(weighted),
        styles=ontology.styles,
        recipe=recipe.to_dict(),
        trained_on={
            "tracks": len(tracks),
            "artists": count_artists(track.artist for track in tracks),
            "with_genre": len(labelled),
            "sources": dict(Counter(track.source for track in tracks)),
            "unlabelled": dict(Counter(track.source for track in data.music)),
            seen_artists.ARTIST_HASHES: seen_artists.hash_artists(track.artist for track in tracks),
        },
        scores=scores,
    )
    left_out = "".join(f"- {name}\n" for name in data.left_out[student])
    card = (
        model_card(metadata)
        if scores
        else f"# {metadata.name}\n\nFor studies. Trained without these collections:\n\n{left_out}"
    )
    files = {
        bundle_format.NETWORK: network_to_onnx(network, recipe.input),
        bundle_format.WEIGHTS: weights_to_safetensors(network, {}),
        bundle_format.CARD: card.encode(),
    }
    return bundle_format.save(output, metadata, files)


@torch.inference_mode()
def _fill_branch_head(
    network: GenreNet, windows: Sequence[Windows], mean: np.ndarray, std: np.ndarray
) -> None:
    """Let the branch's own head, where fine-tuning of networks starts, predict as the model does.

    A least-squares fit of the genre logits from the embedding.
    """
    rows = np.concatenate([track.log_mel[:2] for track in windows]).astype(np.float32)
    x = torch.from_numpy((rows - mean) / std)[:, None]
    embedding = torch.cat([network.features(part) for part in x.split(256)])
    logits = network.mlp(embedding)
    with_one = torch.cat([embedding, torch.ones(len(embedding), 1)], dim=1).double()
    ridge = torch.eye(with_one.shape[1], dtype=torch.float64)
    fit = torch.linalg.solve(with_one.T @ with_one + ridge, with_one.T @ logits.double()).float()
    branch = cast(Any, network.networks[0]).branch("g")
    layer = cast(nn.Linear, branch.head[-1])
    layer.weight.copy_(fit[:-1].T)
    layer.bias.copy_(fit[-1])


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_data(parser)
    parser.add_argument(
        "--output", type=Path, help="the model's folder; by default that of the shipped model"
    )
    parser.add_argument(
        "--other-seeds",
        type=seed_number,
        nargs="+",
        default=[],
        help="score the recipe with these, too",
    )
    parser.add_argument("--students", nargs="+", choices=LEFT_OUT, help="train these alone")
    parser.add_argument(
        "--model-of", choices=LEFT_OUT.keys() - {ALL}, help="save the model of this student alone"
    )
    arguments = parser.parse_args()
    if arguments.model_of and not arguments.output:
        parser.error("--model-of needs --output, the folder to save the model in")
    with one_line_errors():
        _release(arguments)


def _release(arguments: argparse.Namespace) -> None:
    data = gather_from(arguments, arguments.seed)
    if arguments.students:
        for student in arguments.students:
            data.train(student)
        return
    if arguments.model_of:
        model = save_left_out(data, arguments.model_of, arguments.output)
        print(f"saved {model.model_id} to {model.folder}")
        return
    others = {seed: gather_from(arguments, seed) for seed in arguments.other_seeds}
    scores, temperature = score(data, others)
    print(json.dumps(scores, indent=1))
    output = arguments.output or bundle_format.SHIPPED
    model = save_model(data, ALL, temperature, scores, output)
    print(f"saved {model.model_id} to {model.folder}")


if __name__ == "__main__":
    main()
