"""The study of the artists' context, on a made library whose artists keep to their genres."""

import numpy as np

from agf_core.label_shift import adjust_prior
from training.studies import library_context as study
from training.studies.library_prior import Library

TRAINED = np.array([0.5, 0.3, 0.2])


def library():
    rng = np.random.default_rng(0)
    artists = np.repeat(np.arange(40), 4)
    truth = artists % 3
    sounds = np.eye(3)[truth] + rng.normal(size=(160, 3))
    return Library("a", adjust_prior(np.exp(sounds), np.ones(3), TRAINED), truth, artists, TRAINED)


def test_each_part_helps_where_artists_keep_to_a_genre():
    found = {
        name: study.scored([library()], 0.5, **case)["a"] for name, case in study.CASES.items()
    }
    right = {name: rows[:, 1].mean() for name, rows in found.items()}
    alone = right["by sound alone"]
    assert right["with the artist's other predictions"] > alone + 0.03
    assert right["with the artist's other genres"] > alone + 0.1
    assert right["with both"] > alone + 0.1


def test_without_tags_there_are_predictions_alone():
    lines = "\n".join(study.tables([library()], {"a"})).splitlines()
    first = lines[lines.index("0% of the tracks tagged") :][:7]
    assert sum(line.startswith("| with ") for line in first) == 1


def test_what_is_written_without_tags_is_shown_by_collection_and_by_genre():
    lines = "\n".join(study.tables([library()], {"a"})).splitlines()
    (collection,) = (line for line in lines if line.startswith("| a | 160 | "))
    alone, with_artist = (float(cell) for cell in collection.split(" | ")[2:6:2])
    assert with_artist > alone > 0.4
    rows = study.every_genre([library()], ["x", "y", "z"]).splitlines()[2:]
    cells = np.array([row.strip("| ").split(" | ")[1:] for row in rows], float)
    tracks, predicted, right, written, of_written = cells.T
    assert tracks.tolist() == np.bincount(library().truth).tolist()
    assert predicted.sum() == 160
    assert (written < predicted).all()
    assert (of_written >= right).all()
    assert (of_written > right).any()
