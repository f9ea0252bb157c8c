import json
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from agf_core.bundle import format as bundle_format
from agf_core.bundle.library_head import LibraryHead
from agf_core.data.tracks import Track
from agf_core.finetune.light import (
    LightConfig,
    LightData,
    LightTrainer,
    most_informative,
)
from agf_core.finetune.logistic import fit_logistic, log_softmax
from agf_core.inference.embeddings import EmbeddingStore, StoringTagger
from agf_core.inference.prediction import Features, FileResult, predict
from agf_core.inference.tagger import GenreTagger
from agf_core.inference.whitening import within_artist_whitening

LABELS = ("Ambient", "Блюз", "R&B/Soul")


@pytest.mark.parametrize("strength", [0.3, 3.0, 30.0])
def test_the_regression_is_that_of_scikit_learn(strength):
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(300, 12))
    classes = (inputs @ rng.normal(size=(12, 4)) + rng.gumbel(size=(300, 4))).argmax(axis=1)
    weights = rng.uniform(0.2, 2, size=300)
    own = fit_logistic(inputs, np.eye(4)[classes], strength, weights=weights, tolerance=1e-6)
    theirs = LogisticRegression(C=1 / strength, tol=1e-8, max_iter=5_000).fit(
        inputs, classes, sample_weight=weights
    )
    logs = log_softmax(inputs @ own[:, :-1].T + own[:, -1])
    assert_allclose(logs, theirs.predict_log_proba(inputs), atol=2e-3)
    assert_allclose(own[:, :-1], theirs.coef_, atol=5e-4)


def test_a_strong_regularisation_returns_the_weights_it_goes_towards():
    rng = np.random.default_rng(0)
    towards = rng.normal(size=(3, 6))
    fitted = fit_logistic(
        rng.normal(size=(20, 5)), np.eye(3)[rng.integers(3, size=20)], 1e6, towards=towards
    )
    assert_allclose(fitted[:, :-1], towards[:, :-1], atol=1e-3)


def learner(n_artists=40, per_artist=3, untagged=5, genres=("Drone", "Ambient"), seed=0):
    """Tracks whose genre is the sign of one direction, which the base model does not know."""
    rng = np.random.default_rng(seed)
    tracks, embeddings = [], []
    for a in range(n_artists + untagged):
        genre = a % len(genres)
        mean = rng.normal(size=8) + 3 * np.eye(8)[genre]
        for i in range(per_artist):
            name = genres[genre] if a < n_artists else ""
            track_id = f"{a}-{i}"
            tracks.append(Track(track_id, Path(track_id), f"Artist {a}", name, album=str(a)))
            embeddings.append(mean + 0.3 * rng.normal(size=8))
    base = np.log(rng.dirichlet(np.ones(3), size=len(tracks)))
    data = LightData(tracks, tuple(sorted(genres)), np.array(embeddings, np.float16), base)
    return LightTrainer(base_bundle(), data)


def base_bundle():
    from agf_core.features.spectrogram import InputSpec

    spec = InputSpec(8_000, 256, 128, 32, 0.0, 4_000.0, segment_frames=40, window_hop=20)
    metadata = bundle_format.Metadata(
        name="base",
        labels=LABELS,
        tasks={"g": 3},
        architecture={},
        input=spec,
        mean=np.zeros(32, np.float32),
        std=np.ones(32, np.float32),
        temperature=1.0,
    )
    return bundle_format.Bundle(Path("base"), metadata, "base-1", b"")


def test_a_head_learns_genres_that_the_base_model_lacks_and_is_tested_on_other_artists():
    light = learner()
    held_out = light.hold_out()
    n = light.data.n_tagged
    assert sorted(held_out.tracks.tolist()) == list(range(n))
    assert (held_out.fine_tuned.argmax(axis=1) == held_out.truth).mean() > 0.85
    assert (held_out.base.argmax(axis=1) == held_out.truth).mean() < 0.8
    head, temperature = light.finish(held_out)
    assert (head.base_id, head.n_embedding, temperature > 0) == ("base-1", 8, True)
    # The head gives, from features as they are stored, what the learner has fitted.
    logits = light._inputs @ light._fit(np.ones(n, bool), light._strength)[:, :-1].T
    logits += light._fit(np.ones(n, bool), light._strength)[:, -1]
    assert_allclose(
        head.probabilities(
            light.data.embeddings[:n].astype(np.float32), light.data.log_probabilities[:n]
        ),
        np.exp(log_softmax(logits)),
        atol=1e-3,
    )
    curve = light.learning_curve()
    assert curve[-1][0] == 32
    assert [artists for artists, _ in curve] == sorted(artists for artists, _ in curve)


def test_some_of_the_others_are_predicted_as_all_are_whatever_the_block(monkeypatch):
    light = learner(untagged=7)
    light.hold_out()
    for without_fold in (None, 2):
        everything = light.predict_others(without_fold=without_fold)
        assert len(everything) == len(light.data.tracks) - light.data.n_tagged
        chosen = np.arange(len(everything))[::-2]
        monkeypatch.setattr("agf_core.utils.blocks.ROWS_AT_ONCE", 3)
        found = light.predict_others(chosen, without_fold=without_fold)
        assert_allclose(found, everything[chosen], atol=1e-6)
        assert light.predict_others(chosen[:0]).shape == (0, everything.shape[1])


def test_no_artist_is_trained_on_and_tested_on(monkeypatch):
    light = learner()
    artists = np.array([t.artist for t in light.data.tracks[: light.data.n_tagged]])
    fit, seen = light._fit, []

    def noted(trained, strength, **options):
        seen.append(set(artists[trained]))
        return fit(trained, strength, **options)

    monkeypatch.setattr(light, "_fit", noted)
    light.hold_out()
    for fold in range(5):
        tested = set(artists[light._folds == fold])
        assert any(not tested & trained for trained in seen)
        assert all(tested <= trained or not tested & trained for trained in seen)


def test_without_anything_to_learn_from_the_head_predicts_as_the_base_model():
    light = learner(genres=("Ambient", "Блюз"))
    light.config = LightConfig(strengths=(1e9,))
    light._inputs[:, :8] = 0
    held_out = light.hold_out()
    base = np.exp(light.data.log_probabilities[held_out.tracks][:, :2])
    ratio = held_out.raw[:, 0] / held_out.raw[:, 1] / (base[:, 0] / base[:, 1])
    for fold in range(5):  # but for how common genres are here
        of_fold = ratio[light._folds[held_out.tracks] == fold]
        assert_allclose(of_fold, of_fold[0], rtol=1e-2)


@pytest.mark.parametrize("tagged_noise", [2, 3])
def test_what_is_no_music_gets_every_genre_alike_unless_such_tracks_were_tagged(tagged_noise):
    n_base, light = 14, learner()
    light.model = replace(
        light.model,
        metadata=replace(light.model.metadata, labels=tuple(f"genre {i}" for i in range(n_base))),
    )
    data = light.data
    logs = np.log(np.random.default_rng(0).dirichlet(np.full(n_base, 0.2), len(data.tracks)))
    logs[:tagged_noise] = np.log(1 / n_base)
    again = LightTrainer(light.model, replace(data, log_probabilities=logs.clip(-16)))
    head, _ = again.finish(again.hold_out())
    noise, music = head.probabilities(data.embeddings[[0, -1]].astype(np.float32), logs[[0, -1]])
    assert LibraryHead.from_dict(json.loads(json.dumps(head.to_dict()))).music_only == (
        tagged_noise == 2
    )
    assert (noise.max() == 0.5) == (tagged_noise == 2)
    assert music.max() > 0.9


def test_whitening_makes_the_tracks_of_an_artist_round():
    rng = np.random.default_rng(0)
    artists = [f"{i // 10}" for i in range(2_000)]
    stretch = np.diag([5.0, 1.0, 0.2])
    inner = rng.normal(size=(2_000, 3)) @ stretch
    embeddings = np.repeat(rng.normal(size=(200, 3)), 10, axis=0) + inner
    whitening = within_artist_whitening(embeddings, artists, 1e-6, 30)
    spread = (inner @ whitening).std(axis=0)
    assert spread.max() / spread.min() < 1.1
    assert_allclose(
        within_artist_whitening(embeddings, list(map(str, range(2_000))), 0.1, 30), np.eye(3)
    )


def test_what_to_tag_next_is_one_unsure_track_each_of_artists_of_whom_there_is_much():
    tracks = [Track(str(i), Path(), artist) for i, artist in enumerate("aaabbc")]
    unsure, sure = [0.5, 0.5], [0.99, 0.01]
    probabilities = np.array([sure, unsure, sure, unsure, unsure, sure])
    assert most_informative(probabilities, tracks, 2)[0] in (3, 4)
    assert most_informative(probabilities, tracks, 2)[1] == 1


def head(n_labels=2, n_embedding=4):
    rng = np.random.default_rng(0)
    return LibraryHead(
        "tiny-1",
        LABELS,
        1.5,
        rng.normal(size=(n_labels, n_embedding + 3)).astype(np.float32),
        rng.normal(size=n_labels).astype(np.float32),
    )


def test_a_head_is_the_same_after_json():
    values = json.loads(json.dumps(head().to_dict()))
    again = LibraryHead.from_dict(values)
    assert_allclose(again.weights, head().weights, rtol=1e-6)
    assert again.base_labels == LABELS
    with pytest.raises(ValueError, match="its head is impossible"):
        LibraryHead.from_dict(values | {"bias": [1.0]})
    with pytest.raises(ValueError, match="its head is impossible"):
        LibraryHead.from_dict(values | {"bias": [1.0, float("nan")]})


@pytest.fixture
def light_folder(tiny_folder, tmp_path):
    """A light model upon the tiny one."""
    base = bundle_format.load(tiny_folder)
    size = GenreTagger(base).embed_log_mel(np.zeros((40, 64), np.float32)).size
    metadata = replace(
        base.metadata,
        name="light",
        labels=("Drone", "Ambient"),
        head=replace(head(2, size), base_id=base.model_id),
        temperature=2.0,
    )
    files = {
        name: (base.folder / name).read_bytes()
        for name in (bundle_format.NETWORK, bundle_format.WEIGHTS, bundle_format.CARD)
    }
    return bundle_format.save(tmp_path / "models" / "light", metadata, files).folder


def test_a_light_model_predicts_from_audio_what_it_predicts_from_the_store(
    light_folder, tiny_folder, write_wav, tmp_path, monkeypatch
):
    path = write_wav("a.wav", 0.1 * np.random.default_rng(0).normal(size=22_050 * 3), 22_050)
    store = EmbeddingStore(tmp_path / "embeddings.db")
    base = StoringTagger(GenreTagger.load(tiny_folder, store=store), store)
    (first,) = base.predict_files([path])
    light = GenreTagger.load(light_folder, store=store)
    fresh = GenreTagger.load(light_folder).predict_file(path)
    monkeypatch.setattr("agf_core.inference.tagger.load_log_mel", None)  # nothing is decoded again
    (stored,) = StoringTagger(light, store).predict_files([path])
    assert stored.prediction.labels == fresh.labels == ("Drone", "Ambient")
    assert_allclose(stored.prediction.probabilities, fresh.probabilities, atol=1e-5)
    # Of a file that has moved, and by the base model itself.
    moved = path.rename(path.with_name("b.wav"))
    (again,) = base.predict_files([moved])
    assert_allclose(again.prediction.probabilities, first.prediction.probabilities, atol=1e-6)
    assert store.key_of(moved) == first.key
    assert not store.problem


def test_files_that_begin_with_the_same_megabyte_are_not_the_same_sound(
    tiny_folder, write_wav, tmp_path
):
    store = EmbeddingStore(tmp_path / "embeddings.db")
    noise = 0.1 * np.random.default_rng(0).normal(size=22_050 * 28)
    paths = [write_wav(f"{n}.wav", noise[: 22_050 * n], 22_050) for n in (27, 28)]
    tagger = GenreTagger.load(tiny_folder, store=store)
    first, second = (tagger.predict_one(path).key for path in paths)
    assert first != second


def test_a_head_for_other_embeddings_is_refused(light_folder):
    model = bundle_format.load(light_folder)
    wrong = replace(model.metadata, head=replace(head(2, 3), base_id="x"))
    with pytest.raises(bundle_format.BundleError, match="its embedding is not of 3 numbers"):
        GenreTagger(replace(model, metadata=wrong))


def results(tmp_path, n=3, size=5):
    made = []
    for i in range(n):
        path = tmp_path / f"{i}.mp3"
        path.write_bytes(b"x" * i)
        features = Features(
            np.full(size, i, np.float16), np.log(np.array([0.2, 0.3, 0.5])), np.array([0.25])
        )
        made.append(FileResult(path, None, features=features, key=f"{i:032x}"))
    return made


def test_the_store_gives_back_what_it_was_given(tmp_path):
    store = EmbeddingStore(tmp_path / "folder" / "embeddings.db")
    made = results(tmp_path)
    assert store.features("m-1", made[0].key) is None
    store.add("m-1", made)
    again = EmbeddingStore(store.path)
    found = again.features("m-1", made[2].key)
    assert_allclose(found.embedding, 2)
    assert_allclose(np.exp(found.log_probabilities), [0.2, 0.3, 0.5], atol=1e-6)
    assert found.style_probabilities.tolist() == [0.25]
    assert again.key_of(made[2].path) == made[2].key
    made[2].path.write_bytes(b"another sound")
    assert again.key_of(made[2].path) == ""
    assert again.key_of(tmp_path / "nothing") == ""
    assert again.features("m-2", made[2].key) is None
    table = again.table("m-1", [tmp_path / "nothing", made[1].path, made[0].path], 3)
    assert (table.files.tolist(), table.keys) == ([1, 2], [made[1].key, made[0].key])
    assert_allclose(table.embeddings, [[1] * 5, [0] * 5])
    assert_allclose(np.exp(table.log_probabilities), [[0.2, 0.3, 0.5]] * 2, atol=1e-6)
    assert not again.problem


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"no database",
        lambda content: content[: len(content) // 2],
        lambda content: content[:100] + bytes(len(content) - 100),
    ],
    ids=["foreign", "half", "zeros"],
)
def test_a_damaged_store_is_made_again(tmp_path, damage):
    store = EmbeddingStore(tmp_path / "embeddings.db")
    store.add("m-1", results(tmp_path, 200))
    store.close()
    store.path.write_bytes(damage(store.path.read_bytes()))
    again = EmbeddingStore(store.path)
    again.features("m-1", "0" * 32)
    again.add("m-1", results(tmp_path))
    assert not again.problem
    assert again.features("m-1", f"{1:032x}") is not None


def test_a_store_of_a_newer_version_is_left_alone_and_done_without(tmp_path):
    path = tmp_path / "embeddings.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    store = EmbeddingStore(path)
    store.add("m-1", results(tmp_path))
    assert store.features("m-1", "0" * 32) is None
    assert store.problem == f"{path} cannot be used (it was made by a newer version of beets-agf)"
    assert path.read_bytes() == before


def test_a_store_that_cannot_be_made_is_done_without(tmp_path):
    (tmp_path / "file").touch()
    store = EmbeddingStore(tmp_path / "file" / "embeddings.db")
    store.add("m-1", results(tmp_path))
    assert "cannot be used" in store.problem
    assert "\n" not in store.problem


def test_a_full_disk_ends_storing_and_nothing_else(tmp_path, monkeypatch):
    store = EmbeddingStore(tmp_path / "embeddings.db")
    store.add("m-1", results(tmp_path, 1))
    store._opened().execute("PRAGMA max_page_count = 6")
    store.add("m-1", results(tmp_path, 2_000))
    assert "full" in store.problem
    assert EmbeddingStore(store.path).features("m-1", "0" * 32) is not None


def test_another_process_that_holds_the_store_is_waited_for(tmp_path, monkeypatch):
    store = EmbeddingStore(tmp_path / "embeddings.db")
    store.add("m-1", results(tmp_path, 1))
    other = sqlite3.connect(store.path)
    other.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr("agf_core.inference.embeddings.LOCK_SECONDS", 0.1)
    held = EmbeddingStore(store.path)
    assert held.features("m-1", "0" * 32) is None
    assert "locked" in held.problem
    other.rollback()
    other.close()
    assert EmbeddingStore(store.path).features("m-1", "0" * 32) is not None


def test_stored_numbers_that_make_no_sense_are_not_used(tmp_path):
    store = EmbeddingStore(tmp_path / "embeddings.db")
    store.add("m-1", results(tmp_path))
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE tracks SET log_probabilities = x'00000000'")
        connection.execute("UPDATE tracks SET embedding = x'007c'")
    assert store.features("m-1", "0" * 32) is None
    assert not store.problem


@pytest.mark.parametrize("known", [{0, 1, 2, 3}, set(), {1, 2}, {0, 3}])
def test_files_are_analysed_once_and_results_keep_their_order(tmp_path, known):
    store, made = EmbeddingStore(tmp_path / "embeddings.db"), results(tmp_path, 4)
    metadata = replace(
        base_bundle().metadata, labels=LABELS, styles=(bundle_format.Style("x", "Ambient"),)
    )

    class Analyser:
        model_id = "m-1"

        def __init__(self):
            self.metadata, self.analysed = metadata, []

        def predict_files(self, paths):
            for path in paths:
                result = made[int(Path(path).stem)]
                self.analysed.append(int(Path(path).stem))
                yield replace(result, prediction=predict(metadata, result.features))

    store.add("m-1", [made[i] for i in known])
    analyser = Analyser()
    found = list(StoringTagger(analyser, store).predict_files([m.path for m in made]))
    assert [r.path for r in found] == [m.path for m in made]
    assert set(analyser.analysed) == {0, 1, 2, 3} - known
    assert_allclose([r.prediction.probabilities for r in found], 4 * [[0.2, 0.3, 0.5]], atol=1e-6)
    list(StoringTagger(analyser, store).predict_files([m.path for m in made]))
    assert len(analyser.analysed) == 4 - len(known)


def test_light_learning_needs_neither_torch_nor_scikit_learn():
    program = (
        "import sys; sys.modules.update(dict.fromkeys("
        "['torch', 'sklearn', 'scipy', 'librosa', 'essentia', 'matplotlib', 'filelock']));"
        "sys.path.insert(0, 'tests/core'); import test_light;"
        "light = test_light.learner(); light.finish(light.hold_out()); light.learning_curve();"
        "import beetsplug.agfgenre.train.light; print('done')"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "done", done.stderr


def test_a_thousand_tracks_are_trained_on_in_seconds():
    light = learner(n_artists=250, per_artist=4)
    began = time.process_time()
    light.finish(light.hold_out())
    assert time.process_time() - began < 10
