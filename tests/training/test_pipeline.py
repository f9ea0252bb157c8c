"""From a collection to the model that ships, on generated clips."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_recipes import DISTILLED, TINY

from agf_core.bundle import format as bundle_format
from agf_core.features.cache import FeatureCache
from agf_core.inference.tagger import GenreTagger
from agf_core.train.export import groups_from_bundle, network_from_bundle
from training.datasets.collection import read_csv
from training.datasets.folders import genres_of, read_folder
from training.errors import RunError
from training.features import describe, spectrograms
from training.manifest import check_manifest
from training.pretrained.cross_validation import cross_validate
from training.pretrained.data import TrainingData
from training.pretrained.pipeline import train_recipe
from training.pretrained.pretrain import pretrain
from training.pretrained.release import main as command
from training.pretrained.release import ship
from training.recipes import COMPARED, OURS, PAPER, RECIPES, RENAMED, Recipe
from training.targets import task_targets
from training.teachers.features import N_FEATURES, TEACHERS


def test_from_a_collection_to_a_model_that_tags(corpus, tmp_path):
    cache = FeatureCache(tmp_path / "features")
    tracks, spectra = spectrograms(read_csv(corpus).tracks, TINY.input, cache)
    assert len(tracks) == 60
    model = ship(TrainingData(tracks, spectra, {}, TINY), tmp_path / "work", tmp_path / "model")
    scores = model.metadata.scores
    assert (scores["tracks"], scores["artists"]) == (40, 20)
    assert scores["overall"]["accuracy"][0] > 0.9
    assert scores["genres"]["Doom"]["tracks"] == 20
    card = (model.folder / bundle_format.CARD).read_text()
    assert "40 clips by 20 artists" in card
    assert "| Chiptune | 20 | 20 |" in card
    tagger = GenreTagger.load(model.folder)
    assert tagger.predict_file(tracks[0].path).top(1)[0][0] == "Doom"
    assert tagger.predict_file(tracks[1].path).top(1)[0][0] == "Chiptune"
    assert Recipe.from_dict(json.loads(json.dumps(model.metadata.recipe))) == TINY
    assert model.metadata.prior.tolist() == [0.5, 0.5]


def test_parts_can_be_trained_one_by_one(corpus, tmp_path, monkeypatch, capsys):
    options = ["--table", str(corpus), "--device", "cpu"]
    monkeypatch.setitem(RECIPES, "paper", TINY)

    def run(folder, *more):
        where = ["--work", str(tmp_path / folder), "--output", str(tmp_path / folder / "model")]
        monkeypatch.setattr(sys, "argv", ["ship", *options, *where, "--recipe", "paper", *more])
        command()
        return tmp_path / folder

    with pytest.raises(SystemExit, match=r"no part is called fold-9: there are fold-0, .*, final"):
        run("several", "--parts", "fold-9")
    work = run("several", "--parts", "fold-3", "final") / "tiny-0"
    assert {path.name for path in work.iterdir()} == {"fold-3", "final"}
    networks = [work / name / "network-g.safetensors" for name in ("fold-3", "final")]
    written = [path.stat().st_mtime_ns for path in networks]
    run("several")
    assert [path.stat().st_mtime_ns for path in networks] == written
    one, other = (
        bundle_format.load(folder / "model") for folder in (tmp_path / "several", run("once"))
    )
    assert one.model_id == other.model_id


@pytest.mark.parametrize("shared", [True, False])
def test_artist_groups_are_tasks_beside_the_genre(corpus, tmp_path, shared):
    recipe = replace(TINY, tasks="gsm", shared=shared, networks=replace(TINY.networks, epochs=2))
    cache = FeatureCache(tmp_path / "features")
    tracks, spectra = spectrograms(read_csv(corpus).tracks, recipe.input, cache)
    descriptors = describe(tracks, recipe.tasks, cache, fmax=4_000.0)
    genres = genres_of(tracks)
    cross_validate(TrainingData(tracks, spectra, descriptors, recipe), tmp_path / "work", only=[0])
    model = bundle_format.load(tmp_path / "work" / "fold-0" / "model")
    assert model.metadata.tasks == {"g": 2, "s": 2, "m": 2}
    assert model.metadata.architecture["networks"] == (
        [["g", "s", "m"]] if shared else [["g"], ["s"], ["m"]]
    )
    again = network_from_bundle(model)
    assert again.mlp.layers[1].in_features == 3 * 64
    groups = groups_from_bundle(model)
    assert {task: found.n_groups for task, found in groups.items()} == {"s": 2, "m": 2}
    artists = {track.artist for track in tracks if track.fold != 0}
    names, shares = groups["s"].transform([("a", "b")] * 2, ["new", "newer"])
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert names == ["new", "newer"]
    assert not artists & set(names)
    tagger = GenreTagger.load(model.folder)
    assert tagger.predict_file(tracks[0].path).labels == genres


def test_a_distilled_network_has_all_tasks_in_training_and_keeps_the_genre(corpus, tmp_path):
    cache = FeatureCache(tmp_path / "features")
    tracks, spectra = spectrograms(read_csv(corpus).tracks, DISTILLED.input, cache)
    with pytest.raises(
        ValueError,
        match=r"0\.wav has no features of the teachers; run python -m training.pretrained.extract",
    ):
        describe(tracks, "gst", cache, fmax=4_000.0)
    for track in tracks:
        for teacher in TEACHERS:
            features = np.full((1, teacher.n_features), len(track.genre), np.float32)
            cache.get(teacher.kind, track.track_id, lambda features=features: features)
    descriptors = describe(tracks, "gst", cache, fmax=4_000.0)
    assert descriptors["t"][1][0, 0] == len("Chiptune")
    genres = genres_of(tracks)
    material = TrainingData(tracks, spectra, descriptors, DISTILLED)
    predicted = cross_validate(material, tmp_path / "work", only=[0]).calibrated
    held_out = [i for i, track in enumerate(tracks) if track.fold == 0 and track.genre]
    assert [genres[k] for k in predicted[held_out].argmax(1)] == [tracks[i].genre for i in held_out]
    model = bundle_format.load(tmp_path / "work" / "fold-0" / "model")
    assert model.metadata.tasks == {"g": 2}
    assert groups_from_bundle(model) == {}
    assert network_from_bundle(model).mlp.layers[1].in_features == 64
    assert Recipe.from_dict(json.loads(json.dumps(model.metadata.recipe))) == DISTILLED


def test_music_of_pretraining_stays_in_the_training_set_with_replay(corpus, tmp_path, monkeypatch):
    cache = FeatureCache(tmp_path / "features")
    tracks, spectra = spectrograms(read_csv(corpus).tracks, DISTILLED.input, cache)
    rows = [np.full((1, N_FEATURES), len(track.genre), np.float32) for track in tracks]
    rng = np.random.default_rng(0)
    music = [rng.normal(-60, 9, spectra[0].shape).astype(np.float16) for _ in range(9)]
    recipe = replace(DISTILLED, pretraining=replace(DISTILLED.networks, epochs=1))
    below = pretrain(
        [replace(t, genre="") for t in tracks[:9]],
        music,
        [np.full((1, N_FEATURES), i, np.float32) for i in range(9)],
        recipe,
        tmp_path / "foundation.safetensors",
    )

    def first_layer(replay, name):
        like = replace(recipe, tasks="gt", replay=replay)
        trained = train_recipe(
            TrainingData(tracks, spectra, {"t": rows}, like, below),
            train=np.arange(40),
            valid=None,
            predicted=np.array([], int),
            folder=tmp_path / name,
        )
        return next(trained.network.networks.parameters())

    assert not torch.equal(first_layer(True, "with"), first_layer(False, "without"))
    below.features[0][:] = 99.0
    assert torch.equal(first_layer(False, "again"), first_layer(False, "without"))
    assert not torch.equal(first_layer(True, "anew"), first_layer(True, "with"))

    # Soft labels of that music are targets, where the recipe has soft labels.
    below.features[0][:], below.features[1][:] = len("Doom"), len("Chiptune")
    for share, soft in ((0.5, True), (0.0, False)):
        recipe = replace(recipe, soft_labels=share)
        given = {}
        monkeypatch.setattr(
            "training.pretrained.pipeline.train_distilled",
            lambda segments, spec, targets, *rest, given=given, **more: given.update(targets),
        )
        with pytest.raises(AttributeError):  # no network has been trained
            first_layer(True, str(share))
        of_music = given["g"][len(tracks) :]
        assert of_music.shape == (9, 2)
        assert np.isfinite(of_music).all() == soft
        if soft:
            assert [genres_of(tracks)[k] for k in of_music[:2].argmax(axis=1)] == [
                "Doom",
                "Chiptune",
            ]


def test_groups_come_from_training_artists_alone(corpus, tmp_path):
    cache = FeatureCache(tmp_path / "features")
    tracks = read_csv(corpus).tracks
    descriptors = describe(tracks, "sm", cache, fmax=4_000.0)
    train = np.array([i for i, track in enumerate(tracks) if track.fold])
    genres = genres_of(tracks)
    clean, groups = task_targets(tracks, descriptors, genres, "sm", train, seed=0)
    poisoned = {
        "m": [
            rows if t.fold else rows * 1e3 for rows, t in zip(descriptors["m"], tracks, strict=True)
        ],
        "s": [t.labels if t.fold else ("poison",) * 99 for t in tracks],
    }
    again, same = task_targets(tracks, poisoned, genres, "sm", train, seed=0)
    for task in "sm":
        np.testing.assert_array_equal(clean[task][train], again[task][train])
        for name, array in groups[task].to_arrays().items():
            np.testing.assert_array_equal(array, same[task].to_arrays()[name])


@pytest.mark.parametrize("recipe", [TINY, DISTILLED], ids=["paper's", "distilled"])
def test_nothing_of_a_fold_reaches_its_predictions(corpus, tmp_path, recipe):
    """All that is known of fold 0 is replaced by nonsense: the other side must not notice."""
    clean = read_csv(corpus).tracks
    tracks, spectra = spectrograms(clean, TINY.input, FeatureCache(tmp_path / "features"))
    genres = genres_of(tracks)
    recipe = replace(recipe, networks=replace(recipe.networks, epochs=1))
    rng = np.random.default_rng(1)
    described = {
        "s": [t.labels for t in tracks],
        "t": list(rng.normal(size=(len(tracks), 2, N_FEATURES))),
    }
    in_fold = [track.fold == 0 for track in tracks]
    poisoned_spectra = [
        rng.normal(1e4, 1e4, s.shape).astype(np.float32) if held else s
        for s, held in zip(spectra, in_fold, strict=True)
    ]
    poisoned_tracks = [
        replace(t, genre=genres[i % 2], labels=("poison",)) if held else t
        for i, (t, held) in enumerate(zip(tracks, in_fold, strict=True))
    ]
    poisoned = {
        "s": [t.labels for t in poisoned_tracks],
        "t": [1e3 * x if held else x for x, held in zip(described["t"], in_fold, strict=True)],
    }
    cross_validate(TrainingData(tracks, spectra, described, recipe), tmp_path / "clean", only=[0])
    odd = TrainingData(poisoned_tracks, poisoned_spectra, poisoned, recipe)
    cross_validate(odd, tmp_path / "odd", only=[0])
    one, other = (
        bundle_format.load(tmp_path / name / "fold-0" / "model") for name in ("clean", "odd")
    )
    weights = [(b.folder / bundle_format.WEIGHTS).read_bytes() for b in (one, other)]
    assert weights[0] == weights[1]
    assert one.metadata.to_dict() == other.metadata.to_dict()  # normaliser and temperature


def test_a_folder_of_music_has_each_long_file_once(tmp_path, write_wav):
    folder = tmp_path / "music"
    (folder / "game" / "sounds").mkdir(parents=True)
    noise = np.random.default_rng(0).normal(size=208_000) / 9
    song = write_wav("song.wav", noise, 8_000)
    song.rename(folder / "game" / "song.wav")
    write_wav("bang.wav", noise[:192_000], 8_000).rename(folder / "game" / "sounds" / "bang.wav")
    (folder / "game" / "gone.ogg").symlink_to("nowhere.ogg")
    (folder / "game" / "tune.wav").symlink_to("song.wav")
    (folder / "game" / "theme.wav").hardlink_to(folder / "game" / "song.wav")
    (folder / "game" / "torn.ogg").write_bytes(b"OggS" * 100_000)
    (folder / "game" / "README").write_text("words" * 100_000)
    (found,) = read_folder(folder)
    assert (found.path.name, found.source) == ("song.wav", "game")  # the first of its names
    assert not found.artist + found.genre
    folder.rename(tmp_path / "moved")
    assert read_folder(tmp_path / "moved")[0].track_id == found.track_id
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="no music"):
        read_folder(tmp_path / "none")


def test_checkpoints_of_another_recipe_or_other_tracks_are_refused(corpus, tmp_path):
    tracks, spectra = spectrograms(
        read_csv(corpus).tracks, TINY.input, FeatureCache(tmp_path / "features")
    )
    one = replace(TINY, networks=replace(TINY.networks, epochs=1))
    final = {"valid": None, "predicted": np.array([], int), "folder": tmp_path / "final"}
    train_recipe(TrainingData(tracks, spectra, {}, one), train=np.arange(40), **final)
    with pytest.raises(RunError, match=r"linear_head was None and is 1\.0"):
        train_recipe(
            TrainingData(tracks, spectra, {}, replace(one, linear_head=1.0)),
            train=np.arange(40),
            **final,
        )
    with pytest.raises(RunError, match=r"tracks was 40 .* and is 40"):
        train_recipe(TrainingData(tracks, spectra, {}, one), train=np.arange(1, 41), **final)
    rows = [np.zeros((1, N_FEATURES), np.float32)] * 60
    recipe = replace(DISTILLED, pretraining=replace(DISTILLED.networks, epochs=1))
    checkpoint = tmp_path / "foundation.safetensors"
    pretrain(tracks[:9], spectra[:9], rows[:9], recipe, checkpoint)
    with pytest.raises(RunError, match=r"tracks was 9 .* and is 9"):
        pretrain(tracks[1:10], spectra[1:10], rows[1:10], recipe, checkpoint)


def test_an_unreadable_clip_is_left_out_and_listed(corpus, tmp_path, capsys):
    (tmp_path / "7.wav").write_bytes(b"")
    tracks, spectra = spectrograms(
        read_csv(corpus).tracks, TINY.input, FeatureCache(tmp_path / "features")
    )
    assert len(tracks) == len(spectra) == 59
    assert "7.wav is empty" in capsys.readouterr().out


def test_recipes_of_models_and_runs_of_before_have_other_names_of_fields(tmp_path):
    before = {now: name for name, now in RENAMED.items()}
    old = {before.get(key, key): value for key, value in OURS.to_dict().items()}
    assert old.keys() > {"one_branch", "opinion", "foundation", "variants"}
    assert Recipe.from_dict(json.loads(json.dumps(old))) == OURS
    (tmp_path / "recipe.json").write_text(json.dumps(old))
    check_manifest(tmp_path / "recipe.json", OURS.to_dict(), "mend it")
    with pytest.raises(RunError, match=r"recipe \(soft_labels was 0.5 and is 0.4\); mend it"):
        check_manifest(
            tmp_path / "recipe.json", replace(OURS, soft_labels=0.4).to_dict(), "mend it"
        )


def test_recipes_are_the_papers_and_ours():
    assert PAPER.input.fmax == 22_050
    assert (PAPER.networks.epochs, PAPER.transfer.epochs) == (200, 50)
    assert PAPER.transfer.every_window
    assert not PAPER.networks.every_window
    assert PAPER.networks.l2_on_weights
    assert PAPER.transfer.l2_on_weights
    assert not OURS.transfer.every_window
    assert OURS.input.fmax == COMPARED.input.fmax == 8_000
    with pytest.raises(ValueError, match="epoch"):
        Recipe.from_dict(PAPER.to_dict() | {"networks": {"epoch": 3}})
    with pytest.raises(ValueError, match="colour"):
        Recipe.from_dict(PAPER.to_dict() | {"colour": 3})


def test_recipes_written_before_a_field_was_added_are_still_read():
    kept = json.loads(json.dumps(OURS.to_dict()))
    assert "every_window" not in kept["transfer"]  # so that what was made by it stays good
    assert Recipe.from_dict(kept) == OURS
    assert Recipe.from_dict(json.loads(json.dumps(PAPER.to_dict()))) == PAPER


def test_without_the_training_extra_one_line_says_what_to_install():
    code = (
        "import sys, runpy; sys.modules['onnxscript'] = None; sys.argv[1:] = ['--help'];"
        "import training; runpy.run_module('training.pretrained.release', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "training needs onnxscript: pip install 'beets-agf[train]'\n"
