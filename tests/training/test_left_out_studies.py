"""Studies with models of students that have seen none of a library, from a release's folder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from releases import LOUD, fill_cache, make_tracks, with_epochs

from agf_core.bundle import format as bundle_format
from agf_core.data.tracks import Track
from agf_core.inference.tagger import GenreTagger
from training.datasets.collection import Collection, split_by_folds, write_csv
from training.pretrained import data as release_data
from training.pretrained import evaluate
from training.pretrained.data import ALL
from training.studies import left_out, mood, neighbours, wrong_genres
from training.teachers.windows import EXCERPT, Windows, cut_log_mel, samples_of

SOURCES = ("north", "south", "east")


@pytest.fixture
def options(tmp_path, monkeypatch):
    """Options of a study of the library north; students are trained in seconds."""
    made = make_tracks(SOURCES, per_artist=2)
    folders = dict(zip(LOUD, ("Q1", "Q3", "Q4"), strict=True))  # by genre, as moods are
    tracks = [
        replace(track, fold=i // 2 % 5, path=tmp_path / folders[track.genre] / f"{i}.wav")
        for i, track in enumerate(made)
    ]
    table, work = tmp_path / "table.csv", tmp_path / "work"
    write_csv(Collection("table", tuple(tracks), split_by_folds(tracks)), table)
    fill_cache(work, tracks)
    groups = dict(zip("abc", ((name,) for name in SOURCES), strict=True))
    monkeypatch.setattr(release_data, "LEFT_OUT", groups | {ALL: ()})
    monkeypatch.setattr(release_data, "OURS", with_epochs(1))
    monkeypatch.setattr(evaluate, "FEWEST_LABELLED", 10)
    monkeypatch.setattr(left_out, "LIBRARIES", {"North": ("north",)})
    return ["--table", str(table), "--work", str(work)]


def run(study, monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", [study.__name__, *arguments])
    study.main()


def test_wrong_genres_are_found_by_one_command(options, tmp_path, monkeypatch):
    for name, value in {
        "HEADLINE": ("north",),
        "MIN_TRACKS": 3,
        "RATES": (0.2,),
        "SEEDS": 1,
    }.items():
        monkeypatch.setattr(wrong_genres, name, value)
    page = tmp_path / "page.md"
    page.write_text(f"# Mine\n\nText.\n\n{wrong_genres.MARKER}\n\nold\n")
    run(wrong_genres, monkeypatch, *options, "--resamples", "2", "--page", str(page))
    text = page.read_text()
    assert text.startswith("# Mine\n\nText.\n")
    assert "old" not in text
    assert "- North: 18 tagged tracks of 18 by 9 artists, 3 genres" in text
    assert "| North | neighbour | audit - shipped | " in text
    assert "\n| north | 18 | 9 | " in text.split("## Small libraries")[1]


def test_neighbours_are_found_by_one_command(options, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)  # of the shipped model, whose windows are longer
    monkeypatch.setattr(
        neighbours, "features_by", lambda _, windows: (rng.normal(size=(len(windows), 4)),)
    )
    page = tmp_path / "page.md"
    page.write_text(f"# Mine\n\nText.\n\n{neighbours.MARKER}\n\nold\n")
    run(neighbours, monkeypatch, *options, "--page", str(page))
    text = page.read_text()
    assert text.startswith("# Mine\n\nText.\n")
    assert "old" not in text
    assert "## North\n\n18 tracks with a genre, by 9 artists." in text
    scores = {}
    for line in text.split("## North")[0].splitlines():
        if line.startswith("| ") and "genre, other" not in line:
            name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            scores[name] = [float(cell.split()[0]) for cell in cells]
    assert len(scores) == 1 + 4 * len(neighbours.WAYS)
    assert scores["chance"] == [0.294, 0.25, 0.059]  # 5 of 17, 4 of 16, 1 of 17
    # Loudness tells the genres here; of ten neighbours five can be right, or four.
    assert scores["our model, collection left out"][:2] == pytest.approx([0.5, 0.4], abs=0.02)
    assert scores["log-mel, mean and spread"][:2] == pytest.approx([0.5, 0.4], abs=0.02)
    assert scores["our model as it ships"][0] < 0.4


def test_moods_are_predicted_by_one_command(options, monkeypatch, capsys):
    monkeypatch.setattr(left_out, "LIBRARIES", {"MULT_TP2": ("north",)})
    run(mood, monkeypatch, *options)
    lines = capsys.readouterr().out.splitlines()
    assert "18 clips by 9 artists" in lines
    (ours,) = [line for line in lines if line.startswith("| our model")]
    quadrant, arousal, valence = (float(cell.split()[0]) for cell in ours.split("|")[2:5])
    assert 0.9 <= quadrant <= min(arousal, valence)
    monkeypatch.setattr(mood, "QUADRANTS", ("Q1", "Q2", "Q3"))
    with pytest.raises(SystemExit, match="are in the folder Q4"):
        run(mood, monkeypatch, *options)


def test_right_halves_count_where_the_quadrant_is_wrong():
    tracks = [Track(f"t{i}", Path(), f"artist {i}") for i in range(4)]
    found = mood.score_quadrants(
        np.array(["Q1", "Q1", "Q1", "Q1"]), np.array(["Q1", "Q2", "Q3", "Q4"]), tracks
    )
    assert found.values.tolist() == [0.25, 0.5, 0.5]


def test_a_library_that_the_table_lacks_is_one_line(options, monkeypatch, tmp_path):
    monkeypatch.setattr(left_out, "LIBRARIES", {"West": ("west", "far west")})
    with pytest.raises(SystemExit, match="no tracks of west, far west"):
        run(neighbours, monkeypatch, *options, "--page", str(tmp_path / "page.md"))


def test_features_of_windows_are_those_of_a_prediction_of_the_file(clips):
    model = bundle_format.load()
    (flac,) = (path for path in clips if path.suffix == ".flac")
    spec = model.metadata.input
    samples = samples_of(Track("t", flac, ""), EXCERPT, spec)
    windows = Windows(cut_log_mel(samples, spec), np.zeros((1, 250)), np.zeros((1, 698)))
    (embedding,), (log_probabilities,) = left_out.features_by(model, [windows])
    expected = GenreTagger(model).predict_one(flac).features
    np.testing.assert_allclose(embedding, expected.embedding, atol=0.02)
    np.testing.assert_allclose(log_probabilities, expected.log_probabilities, atol=0.02)
