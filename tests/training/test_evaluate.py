"""Folds and other sources, and the sheet of scores that they make, on generated clips."""

from dataclasses import replace

import numpy as np
import pytest
from small_recipes import DISTILLED, TINY

from agf_core.bundle import format as bundle_format
from agf_core.calibration import apply_temperature
from agf_core.features.cache import FeatureCache
from training.augment import augmented_copies
from training.datasets.collection import read_csv
from training.datasets.folders import genres_of, read_folder
from training.errors import RunError
from training.features import spectrograms
from training.pretrained import evaluate
from training.pretrained.cross_validation import cross_validate, predict_split
from training.pretrained.data import TrainingData
from training.pretrained.evaluate import by_bundle, by_teacher, predict_tests, table
from training.pretrained.linear_head import track_means
from training.splits import across_sources
from training.targets import truth_of
from training.teachers import features


def test_across_sources_no_artist_is_shared_and_only_shared_genres_are_tested(corpus, tmp_path):
    tracks = [
        replace(t, source="north" if int(t.artist) < 10 else "south")
        for t in read_csv(corpus).tracks
    ]
    tracks[0] = replace(tracks[0], genre="Polka")  # of the north alone
    tracks[-2] = replace(tracks[-2], artist="0")  # of both
    splits = across_sources(tracks, seed=0)
    assert list(splits) == ["north-to-south", "south-to-north"]
    for name, part in splits.items():
        trained_on, tested_on = name.split("-to-")
        known = np.concatenate([part.train, part.calibration])
        assert {tracks[i].source for i in known} == {trained_on}
        assert {tracks[i].source for i in part.test} == {tested_on}
        assert {tracks[i].genre for i in part.test} == {"Doom", "Chiptune"}
        assert not {tracks[i].artist for i in known} & {tracks[i].artist for i in part.test}
        assert not {tracks[i].artist for i in part.train} & {
            tracks[i].artist for i in part.calibration
        }


def test_a_score_sheet_of_a_recipe_and_of_the_teacher(corpus, tmp_path, monkeypatch):
    cache = FeatureCache(tmp_path / "features")
    tracks, spectra = spectrograms(read_csv(corpus).tracks, TINY.input, cache)
    tracks = [replace(t, source="north" if int(t.artist) < 10 else "south") for t in tracks]
    genres = genres_of(tracks)
    label = np.array([[len(t.genre)] for t in tracks], float)  # a teacher that has the genre
    baseline = by_teacher(tracks, label, genres)
    lines = table(
        tracks, genres, predict_tests(tracks, baseline, seed=0, with_folds=True)
    ).splitlines()
    assert lines[2].startswith("| folds | 40 | 20 | 1.000 [1.000, 1.000] | 1.000")
    assert lines[3].startswith("| north-to-south | 20 | 10 | 1.000")
    assert lines[4].startswith("| south-to-north | 20 | 10 | 1.000")

    def by_recipe(part, name):
        return predict_split(material, part, name, tmp_path / "work")[1]

    material = TrainingData(tracks, spectra, {}, TINY)

    ours = table(tracks, genres, predict_tests(tracks, by_recipe, seed=0, with_folds=False))
    assert len(ours.splitlines()) == 4
    assert float(ours.splitlines()[2].split("|")[4].split()[0]) > 0.9
    monkeypatch.setattr(
        "training.pretrained.cross_validation.train_recipe", None
    )  # nothing is trained twice
    assert ours == table(tracks, genres, predict_tests(tracks, by_recipe, seed=0, with_folds=False))
    model = bundle_format.load(tmp_path / "work" / "north-to-south" / "model")
    judged, found = by_bundle(tracks, model)["all"]
    assert judged.tolist() == [i for i, track in enumerate(tracks) if track.genre]
    assert (found.argmax(axis=1) == truth_of(tracks, judged, genres)).mean() > 0.9


def test_the_command_keeps_a_sheet_of_a_recipe_and_of_a_model(corpus, tmp_path, monkeypatch):
    lines = enumerate(corpus.read_text().splitlines())
    sources = [line.replace(",here,", ",north," if i < 31 else ",south,") for i, line in lines]
    corpus.write_text("\n".join(sources))
    music = tmp_path / "music" / "package"
    music.mkdir(parents=True)
    for i in range(9):
        (music / f"{i}.wav").symlink_to(tmp_path / f"{i}.wav")
    monkeypatch.setattr("training.datasets.folders.SHORTEST", 0.1)
    quick = replace(
        DISTILLED,
        pretraining=replace(DISTILLED.networks, epochs=2),
        replay=True,
        augmented_copies=1,
        linear_head=0.01,
        linear_head_share=0.6,
    )
    monkeypatch.setattr(evaluate, "RECIPES", {"quick": quick})
    cache = FeatureCache(tmp_path / "work" / "features")
    rng = np.random.default_rng(0)
    game = read_folder(tmp_path / "music")
    known = [*read_csv(corpus).tracks, *game]
    for track in [*known, *augmented_copies(known, game, 1)]:
        for one in features.TEACHERS:
            rows = rng.normal(len(track.genre), 1, (1, one.n_features)).astype(np.float32)
            cache.get(one.kind, track.track_id, lambda rows=rows: rows)
    where = ["sheet", "--table", str(corpus), "--work"]
    where += [str(tmp_path / "work"), "--output", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", [*where, "--recipe", "quick"])
    with pytest.raises(SystemExit, match="--unlabelled"):
        evaluate.main()
    monkeypatch.setattr(
        "sys.argv", [*where, "--recipe", "quick", "--unlabelled", str(tmp_path / "music")]
    )
    directly = []
    monkeypatch.setattr(
        "training.pretrained.pipeline.track_means",
        lambda rows: directly.append(len(rows)) or track_means(rows),
    )
    evaluate.main()
    # All clips with a genre of the other folds are used; copies are not, mixed or not.
    assert directly[:5] == [32] * 5
    page = (tmp_path / "out" / evaluate.SHEET).read_text()
    assert "| folds | 40 | 20 | " in page
    assert "| north-to-south | 20 | 10 | " in page
    assert "| Doom | 20 | 20 | " in page
    assert " MB; " in page
    assert (tmp_path / "out" / evaluate.PICTURE).stat().st_size > 1_000
    model = tmp_path / "work" / "tiny-0" / "north-to-south" / "model"
    trained_on = bundle_format.load(model).metadata.trained_on
    assert trained_on["tracks"] == 27  # copies are no tracks
    assert trained_on["unlabelled"] == {"package": 9}
    monkeypatch.setattr("sys.argv", [*where, "--bundle", str(model)])
    evaluate.main()
    page = (tmp_path / "out" / evaluate.SHEET).read_text()
    assert "| all | 40 | 20 | " in page
    assert "It was trained on north: this is not a test of it." in page


def test_finished_folds_are_not_trained_again(corpus, tmp_path, monkeypatch):
    tracks, spectra = spectrograms(
        read_csv(corpus).tracks, TINY.input, FeatureCache(tmp_path / "features")
    )
    recipe = replace(TINY, networks=replace(TINY.networks, epochs=1))
    material, work = TrainingData(tracks, spectra, {}, recipe), tmp_path / "work"
    first = cross_validate(material, work)
    monkeypatch.setattr("training.pretrained.cross_validation.train_recipe", None)
    np.testing.assert_array_equal(cross_validate(material, work).calibrated, first.calibrated)
    has_genre = [bool(track.genre) for track in tracks]
    np.testing.assert_array_equal(np.isfinite(first.calibrated).all(axis=1), has_genre)
    for fold in sorted({track.fold for track in tracks}):
        own = bundle_format.load(work / f"fold-{fold}" / "model").metadata.temperature
        mine = [track.fold == fold and bool(track.genre) for track in tracks]
        assert own != 1
        np.testing.assert_array_equal(
            first.calibrated[mine], apply_temperature(first.raw[mine], own)
        )
    with pytest.raises(RunError, match=r"recipe \(soft_labels was 0.0 and is 0.1\); remove"):
        cross_validate(replace(material, recipe=replace(recipe, soft_labels=0.1)), work)
    with pytest.raises(RunError, match=r"tracks was"):
        cross_validate(TrainingData(tracks[3:], spectra[3:], {}, recipe), work)
