"""Libraries of a release's collections, and what students that have seen none of them make of them.

Everything comes from the folder of work of `training.pretrained.release`: the windows that a
prediction analyses, the teachers' outputs, and the students that leave out groups of collections.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import numpy as np

from agf_core.bundle import format as bundle_format
from agf_core.data.tracks import Track
from agf_core.errors import CorpusError
from agf_core.inference.tagger import GenreTagger
from training.pretrained.data import LEFT_OUT, ReleaseData
from training.pretrained.release import save_left_out
from training.teachers.windows import Windows

MUSIC_ANALYSIS, MULT_TP2 = "RohitJacob/MusicAnalysis", "Famelgas/MULT_TP2"
LIBRARIES = {
    "MusicAnalysis": (MUSIC_ANALYSIS,),
    "MULT_TP2": (MULT_TP2,),
    "folders, first half": tuple(name for name in LEFT_OUT["a"] if name != MUSIC_ANALYSIS),
    "folders, second half": LEFT_OUT["b"],
}
"""By name, the collections that make up a library; one student leaves out all of them.

Clips of two collections, and whole songs of people's own music folders in two halves.
"""


@dataclass(frozen=True, eq=False)
class Library:
    """Tracks of a library with their features by a model that has seen none of them.

    Attributes
    ----------
    name : str
    tracks : list of Track
    embeddings : np.ndarray [shape=(n_tracks, n_embedding), dtype=float16]
    log_probabilities : np.ndarray [shape=(n_tracks, n_labels)]
    base : bundle.Bundle
        That model; its folder is gone.
    windows : list of Windows
        Of each track, those that a prediction analyses.
    """

    name: str
    tracks: list[Track]
    embeddings: np.ndarray
    log_probabilities: np.ndarray
    base: bundle_format.Bundle
    windows: list[Windows]

    @property
    def tagged(self) -> np.ndarray:
        """Indices of the tracks that have a genre."""
        return np.flatnonzero([bool(track.genre) for track in self.tracks])

    def part(self, name: str, rows: Iterable[int]) -> Self:
        """Return some of the tracks as a library by itself."""
        rows = list(rows)
        return replace(
            self,
            name=name,
            tracks=[self.tracks[i] for i in rows],
            embeddings=self.embeddings[rows],
            log_probabilities=self.log_probabilities[rows],
            windows=[self.windows[i] for i in rows],
        )

    def collection(self, source: str) -> Self:
        """Return the tracks of one of its collections."""
        return self.part(source, (i for i, t in enumerate(self.tracks) if t.source == source))


def features_by(
    model: bundle_format.Bundle, windows: Sequence[Windows]
) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings and log probabilities of tracks, each (n_tracks, ...), by a model."""
    tagger, n_mels = GenreTagger(model), model.metadata.input.n_mels
    found = [tagger.features_of_log_mel(one.log_mel.reshape(-1, n_mels)) for one in windows]
    return (
        np.stack([one.embedding for one in found]),
        np.stack([one.log_probabilities for one in found]),
    )


def libraries_of(data: ReleaseData, names: Iterable[str] | None = None) -> list[Library]:
    """Analyse libraries, all by default, by the models of the students that leave them out.

    Raises
    ------
    CorpusError
        When the table has no tracks of a library.
    """
    models: dict[str, bundle_format.Bundle] = {}
    libraries = []
    for name in LIBRARIES if names is None else names:
        sources = LIBRARIES[name]
        rows = [i for i, track in enumerate(data.tracks) if track.source in sources]
        if not rows:
            raise CorpusError(f"the table has no tracks of {', '.join(sources)}")
        student = data.student_without(sources[0])
        if student not in models:
            with TemporaryDirectory() as folder:
                models[student] = save_left_out(data, student, Path(folder, student))
        windows = [data.excerpts[i] for i in rows]
        features = features_by(models[student], windows)
        tracks = [data.tracks[i] for i in rows]
        libraries.append(Library(name, tracks, *features, models[student], windows))
    return libraries
