"""From a collection and the teachers' predictions to the model that ships.

    python -m training.pretrained.release --table collection.csv --unlabelled music --work work

trains a student for every group of collections that it leaves out, scores each collection by a
network and a head that have seen none of it, then trains on everything and saves the model with its
card. `training.pretrained.extract_teachers` has to be run before. Stopped, the command goes on
where it was. With

    --students a b

it trains these students alone (a, b, c: each leaves out a group; all: none) and keeps them in the
folder of work; without this option, it uses them.
"""

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from agf_core.bundle import format as bundle_format
from agf_core.bundle import seen_artists
from agf_core.data.tracks import Track, genre_targets
from agf_core.errors import CorpusError
from agf_core.features.cache import FeatureCache
from agf_core.label_shift import training_prior
from agf_core.train.class_head import ClassHead
from agf_core.train.export import network_to_onnx, weights_to_safetensors
from agf_core.train.networks import GenreNet
from training.cli import add_collection, add_device, add_unlabelled, one_line_errors
from training.datasets.collection import read_csv
from training.datasets.folders import read_folder
from training.errors import RunError
from training.manifest import check_manifest, manifest_of
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
from training.pretrained.genre_head import (
    evidence,
    fill_head,
    fit_head,
    track_weights,
)
from training.pretrained.model_card import model_card
from training.pretrained.ontology import Ontology, read_ontology
from training.pretrained.student import StudentNet, predict_classes, train_student
from training.recipes import OURS, Recipe, seeded
from training.teachers.windows import Windows, excerpt_of, read_windows

ALL = "all"  # the student that is trained on all
LEFT_OUT = {
    "a": (
        "Jan-Spalding/music",
        "karamlyy/karamlyy_music_player",
        "nikolassc/Guess-the-song-Android-App",
        "Khalid-Azmatullah/Rotify",
        "XWeiJin/Project_music",
        "David2013777/David2013777.github.io",
        "RohitJacob/MusicAnalysis",
    ),
    "b": (
        "Emiltayeb/Telem-music",
        "Thumbsy/ThumbsySimfiles",
        "emerixx/music_player_cli",
        "Aditya146699/song",
        "BIGJ42/not-ify",
        "TomeuPont/viatge-musical",
    ),
    "c": ("Famelgas/MULT_TP2",),
    ALL: (),
}
"""By student, the collections that no track and no artist of its training set is from.

A network for every collection would take hours; one for a group of them is stricter.
"""

CONFIDENCE = 0.6  # the plugin's default, from which on a genre is written


@dataclass(frozen=True, eq=False)
class ReleaseData:
    """Training data of the model that ships.

    Attributes
    ----------
    tracks : list of Track
        Of the collection, analysed by the teachers.
    music : list of Track
        Further music, without genres.
    cache : FeatureCache
    work : Path
        Keeps checkpoints.
    recipe : Recipe
    ontology : Ontology
    device : str
    """

    tracks: list[Track]
    music: list[Track]
    cache: FeatureCache
    work: Path
    recipe: Recipe
    ontology: Ontology
    device: str = "cpu"

    @lru_cache(maxsize=1)  # noqa: B019 - one per run
    def excerpts(self) -> list[Windows]:
        """Return the windows of each track that a prediction analyses."""
        return [excerpt_of(track, self.cache) for track in self.tracks]

    def train(self, student: str) -> tuple[StudentNet, np.ndarray, np.ndarray]:
        """Train a student without the collections that it leaves out, and without their artists.

        Returns
        -------
        network : StudentNet
        mean, std : np.ndarray [shape=(n_mels,)]
        """
        left_out = LEFT_OUT[student]
        artists = {track.artist for track in self.tracks if track.source in left_out} - {""}
        shown = [
            track
            for track in self.tracks
            if track.source not in left_out and track.artist not in artists
        ] + self.music
        check_manifest(
            self.work / f"student-{student}.json",
            manifest_of(self.recipe, shown),
            f"remove {self.work}, or give another folder to work in",
        )
        return train_student(
            [read_windows(track, self.cache) for track in shown],
            self.recipe.input,
            self.recipe.networks,
            self.recipe.augmentation,
            n_genres=len(self.ontology.genres),
            frames_pooled=self.recipe.frames_pooled,
            device=self.device,
            checkpoint=self.work / f"student-{student}.safetensors",
        )

    def evidence_by(self, student: str) -> np.ndarray:
        """Return the evidence of all tracks by a student; see `evidence`."""
        return evidence(predict_classes(*self._outputs(student)), self.ontology)

    def _outputs(self, student: str) -> tuple[StudentNet, list[Windows], np.ndarray, np.ndarray]:
        network, mean, std = self.train(student)
        return network, self.excerpts(), mean, std


def gather(table: Path, music: Path | None, work: Path, recipe: Recipe, device: str) -> ReleaseData:
    """Read a collection; tracks that the teachers have not analysed are listed and left out."""
    cache, tracks = FeatureCache(work / "features"), []
    for track in read_csv(table).tracks:
        try:
            excerpt_of(track, cache)
        except CorpusError as error:
            print(f"left out: {error}")
        else:
            tracks.append(track)
    if not tracks:
        raise RunError(
            f"the teachers have not analysed any track of {table}; run "
            "training.pretrained.extract_teachers first"
        )
    folder = work / f"{recipe.name}-{recipe.networks.seed}"
    more = read_folder(music) if music else []
    return ReleaseData(tracks, more, cache, folder, recipe, read_ontology(), device)


def left_out_logits(data: ReleaseData) -> tuple[np.ndarray, list[str]]:
    """Predict every scored collection by a student and a head that have seen none of it.

    Returns
    -------
    logits : np.ndarray [shape=(n_tracks, n_genres)]
        NaN for tracks of other collections.
    collections : list of str
    """
    tracks, genres = data.tracks, data.ontology.genres
    collections = scored_collections(tracks, genres)
    student_of = {name: student for student, names in LEFT_OUT.items() for name in names}
    if missing := [name for name in collections if name not in student_of]:
        raise RunError(f"no student leaves out {', '.join(missing)}: add them to LEFT_OUT")
    found = {one: data.evidence_by(one) for one in {student_of[name] for name in collections}}

    def by_student(collection: str) -> np.ndarray:
        return found[student_of[collection]]

    return leave_one_collection_out(tracks, genres, by_student, collections), collections


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
    outputs = [track.classes for track in data.excerpts()]
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


def train_final(
    data: ReleaseData, temperature: float, scores: dict[str, Any], output: Path
) -> bundle_format.Bundle:
    """Train on everything, and save the model."""
    tracks, ontology, recipe = data.tracks, data.ontology, data.recipe
    student, mean, std = data.train(ALL)
    rows = evidence(predict_classes(student, data.excerpts(), mean, std), ontology)
    targets = genre_targets(tracks, ontology.genres, weighted=True)
    labelled = np.flatnonzero(np.isfinite(targets).all(axis=1))
    counts = track_weights([tracks[i] for i in labelled], targets[labelled])
    head = ClassHead(student.network.n_features, ontology.sizes)
    head.classes = student.class_layer()
    fill_head(head, ontology, fit_head(rows[labelled], targets[labelled], counts))
    network = GenreNet([student.network.cpu()], head).eval()
    _fill_branch_head(network, data.excerpts(), mean, std)
    weighted = targets[labelled] * (counts / counts.mean())[:, None]
    metadata = bundle_format.Metadata(
        name="shipped",
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
            "artists": len({track.artist for track in tracks}),
            "with_genre": len(labelled),
            "sources": dict(Counter(track.source for track in tracks)),
            "unlabelled": dict(Counter(track.source for track in data.music)),
            seen_artists.ARTIST_HASHES: seen_artists.hash_artists(track.artist for track in tracks),
        },
        scores=scores,
    )
    files = {
        bundle_format.NETWORK: network_to_onnx(network, recipe.input),
        bundle_format.WEIGHTS: weights_to_safetensors(network, {}),
        bundle_format.CARD: model_card(metadata).encode(),
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


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add what `gather_from` reads."""
    add_collection(parser)
    add_unlabelled(parser)
    add_device(parser)
    parser.add_argument("--seed", type=int, default=0)


def gather_from(arguments: argparse.Namespace, seed: int) -> ReleaseData:
    """Read the training data that a command's options name, with a seed of the recipe."""
    recipe = seeded(OURS, seed)
    return gather(arguments.table, arguments.unlabelled, arguments.work, recipe, arguments.device)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_data(parser)
    parser.add_argument(
        "--output", type=Path, default=bundle_format.SHIPPED, help="the model's folder"
    )
    parser.add_argument(
        "--other-seeds", type=int, nargs="+", default=[], help="score the recipe with these, too"
    )
    parser.add_argument("--students", nargs="+", choices=LEFT_OUT, help="train these alone")
    arguments = parser.parse_args()
    with one_line_errors():
        _release(arguments)


def _release(arguments: argparse.Namespace) -> None:
    data = gather_from(arguments, arguments.seed)
    if arguments.students:
        for student in arguments.students:
            data.train(student)
        return
    others = {seed: gather_from(arguments, seed) for seed in arguments.other_seeds}
    scores, temperature = score(data, others)
    print(json.dumps(scores, indent=1))
    model = train_final(data, temperature, scores, arguments.output)
    print(f"saved {model.model_id} to {model.folder}")


if __name__ == "__main__":
    main()
