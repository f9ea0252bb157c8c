"""What the model that ships is trained on, and the students that are trained on parts of it."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from agf_core.data.tracks import Track
from agf_core.errors import CorpusError
from agf_core.features.cache import FeatureCache
from training.cli import add_collection, add_device, add_unlabelled, seed_number
from training.datasets.collection import read_csv
from training.datasets.folders import read_folder
from training.errors import RunError
from training.manifest import check_manifest, manifest_of
from training.pretrained.genre_head import evidence
from training.pretrained.ontology import Ontology, read_ontology
from training.pretrained.student import StudentNet, predict_classes, train_student
from training.recipes import OURS, Recipe, seeded
from training.teachers.windows import Windows, excerpt_of, read_windows

Student = tuple[StudentNet, np.ndarray, np.ndarray]
"""A network, and mean and standard deviation of its input, (n_mels,) each."""

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
    left_out : mapping of sequence of str
        See `LEFT_OUT`.
    """

    tracks: list[Track]
    music: list[Track]
    cache: FeatureCache
    work: Path
    recipe: Recipe
    ontology: Ontology
    device: str = "cpu"
    left_out: Mapping[str, Sequence[str]] = field(default_factory=lambda: LEFT_OUT)

    _students: dict[str, Student] = field(default_factory=dict, init=False, repr=False)
    _evidence: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def excerpts(self) -> list[Windows]:
        """The windows of each track that a prediction analyses."""
        return [excerpt_of(track, self.cache) for track in self.tracks]

    def student_without(self, collection: str) -> str:
        """Return the student that leaves out a collection; `RunError` where none does."""
        for student, names in self.left_out.items():
            if collection in names:
                return student
        raise RunError(f"no student leaves out {collection}: add it to LEFT_OUT")

    def shown_to(self, student: str) -> list[int]:
        """Return the indices of the tracks that a student is trained on.

        They are of no collection that it leaves out, and by nobody who is in one.
        """
        left_out = self.left_out[student]
        artists = {track.artist for track in self.tracks if track.source in left_out} - {""}
        return [
            i
            for i, track in enumerate(self.tracks)
            if track.source not in left_out and track.artist not in artists
        ]

    def train(self, student: str) -> Student:
        """Train a student on the tracks that are `shown_to` it, and on the music without genres."""
        if student not in self._students:
            self._students[student] = self._train(student)
        return self._students[student]

    def _train(self, student: str) -> Student:
        shown = [self.tracks[i] for i in self.shown_to(student)] + self.music
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
        if student not in self._evidence:
            network, mean, std = self.train(student)
            classes = predict_classes(network, self.excerpts, mean, std)
            self._evidence[student] = evidence(classes, self.ontology)
        return self._evidence[student]


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


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add what `gather_from` reads."""
    add_collection(parser)
    add_unlabelled(parser)
    add_device(parser)
    parser.add_argument("--seed", type=seed_number, default=0)


def gather_from(arguments: argparse.Namespace, seed: int) -> ReleaseData:
    """Read the training data that a command's options name, with a seed of the recipe."""
    recipe = seeded(OURS, seed)
    return gather(arguments.table, arguments.unlabelled, arguments.work, recipe, arguments.device)
