"""The pretrained model's recipe, on generated windows: ontology, student, head, scores."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from releases import LOUD, SPEC, fill_cache, make_tracks, with_epochs

from agf_core.bundle import format as bundle_format
from agf_core.inference.tagger import GenreTagger
from agf_core.train.class_head import ClassHead
from training.errors import RunError
from training.pretrained import data as release_data
from training.pretrained import evaluate, release
from training.pretrained.data import ALL, ReleaseData
from training.pretrained.genre_head import evidence, fill_head, fit_head, track_weights
from training.pretrained.ontology import class_names, read_ontology
from training.pretrained.student import StudentNet


def make_data(tmp_path, left_out, epochs):
    """Return tracks of collections that one student each leaves out."""
    tracks = make_tracks([name for names in left_out.values() for name in names])
    cache, recipe = fill_cache(tmp_path, tracks), with_epochs(epochs)
    return ReleaseData(tracks, [], cache, tmp_path, recipe, read_ontology(), left_out=left_out)


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path, {"a": ("north",), "b": ("south",), ALL: ()}, epochs=6)


def test_the_ontology_is_made_of_classes_that_teachers_have_and_names_lastgenre_knows():
    ontology = read_ontology()
    assert len(ontology.genres) == 14
    assert 60 <= len(ontology.styles) <= 90
    assert (ontology.table.sum(axis=0).reshape(2, 14).sum(axis=0) > 0).all()
    rock = ontology.genres.index("Rock")
    assert ontology.table[class_names().index("as:Grunge"), 14 + rock] == 1
    assert ontology.table[class_names().index("msd:jazz"), rock] == 0
    reggae, filled = ontology.genres.index("Reggae"), ontology.evidence_table
    assert not ontology.table[:, reggae].any()  # musicnn has no such tag
    np.testing.assert_array_equal(filled[:, reggae], ontology.table[:, 14 + reggae])
    np.testing.assert_array_equal(filled[:, rock], ontology.table[:, rock])


def test_a_class_that_no_teacher_has_is_named(tmp_path):
    path = tmp_path / "styles.yaml"
    path.write_text("Rock:\n  classes: [msd:rock, msd:polka]\n  styles: {}\n")
    with pytest.raises(RunError, match="msd:polka"):
        read_ontology(path)


def test_a_fitted_head_predicts_in_torch_what_it_does_in_numpy():
    ontology, rng = read_ontology(), np.random.default_rng(0)
    outputs = [rng.normal(-3, 2, (3, len(class_names()))).astype(np.float32) for _ in range(40)]
    rows = evidence(outputs, ontology)
    targets = np.eye(14)[rng.integers(0, 14, 40)]
    numbers = fit_head(rows, targets, np.ones(40))
    head = ClassHead(8, ontology.sizes)
    fill_head(head, ontology, numbers)
    head.music_weights.zero_()  # all is music
    head.music_bias.fill_(30.0)
    logits = torch.stack([head.genres(torch.from_numpy(one)).mean(dim=0) for one in outputs])
    np.testing.assert_allclose(logits, numbers.logits(rows), atol=1e-4)


def test_collections_count_alike_and_rare_genres_more():
    tracks = [replace(t, source="x") for t in make_tracks()[:9]] + [make_tracks()[-1]]
    targets = np.eye(3)[[0] * 6 + [1] * 3 + [2]]
    counts = track_weights(tracks, targets)
    assert counts[0] < counts[6]  # the same collection, a rarer genre
    assert counts[-1] > counts[:9].sum() * 0.7


def test_nothing_of_a_collection_or_its_artists_is_fitted_on():
    tracks = make_tracks()
    tracks[-1] = replace(tracks[-1], artist=tracks[0].artist)
    targets = np.ones((len(tracks), 3))
    targets[-2] = np.nan
    kept = evaluate.leave_out(tracks, "north", targets)
    assert kept.tolist() == list(range(18, 34))


def test_a_temperature_is_fitted_on_the_other_collections():
    tracks = make_tracks()
    genres = tuple(LOUD)
    logits = np.eye(3)[[genres.index(t.genre) for t in tracks]] * 4.0
    wrong = slice(18, 24)  # of the south
    logits[wrong] = logits[wrong][:, [1, 0, 2]]
    p, _ = evaluate.calibrate_by_collection(logits, tracks, genres, ["north", "south"], 0.6)
    assert p[18].max() > p[0].max()  # the north is all right, so the south gets to be sure


def test_a_model_is_trained_scored_and_saved(data, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "FEWEST_LABELLED", 10)
    scores, temperature = release.score(data, {1: data})
    assert scores["means"]["this model, seed 1"] == scores["means"]["this model"]
    assert list(scores["by_collection"]) == ["north", "south"]
    assert scores["means"]["this model"]["all"][0] > 0.9
    assert scores["means"]["its teachers"]["all"][0] > 0.9
    model = release.save_model(data, ALL, temperature, scores, tmp_path / "model")
    assert model.metadata.labels == read_ontology().genres
    card = (model.folder / bundle_format.CARD).read_text()
    assert "| north | 18 | 18 |" in card
    tagger = GenreTagger(model)
    quiet = np.full((64, SPEC.n_mels), LOUD["Classical"], np.float32)
    quiet += np.random.default_rng(1).normal(0, 3, quiet.shape)
    prediction = tagger.predict_log_mel(quiet)
    assert prediction.top(1)[0][0] == "Classical"
    assert prediction.top_styles("Classical")[0][0] == "opera"
    assert tagger.embed_log_mel(quiet).shape == (256,)


def test_nothing_of_the_model_of_a_student_depends_on_genres_that_it_must_not_see(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluate, "FEWEST_LABELLED", 10)
    monkeypatch.setattr(release, "network_to_onnx", lambda *_: b"made of the same weights")
    left_out = {"a": ("north",), "b": ("south",), "c": ("east",), ALL: ()}
    data = make_data(tmp_path, left_out, epochs=1)
    data.tracks[-1] = replace(data.tracks[-1], artist=data.tracks[0].artist)
    model = release.save_left_out(data, "a", tmp_path / "model")
    assert model.metadata.name == "without-a"
    assert model.metadata.trained_on["sources"] == {"south": 18, "east": 17}
    assert "- north\n" in (model.folder / bundle_format.CARD).read_text()
    other = {"Rock": "Jazz", "Jazz": "Classical", "Classical": "Rock"}
    for i in (*range(18), -1):
        data.tracks[i] = replace(data.tracks[i], genre=other[data.tracks[i].genre])
    assert release.save_left_out(data, "a", tmp_path / "again").model_id == model.model_id
    data.tracks[20] = replace(data.tracks[20], genre=other[data.tracks[20].genre])
    assert release.save_left_out(data, "a", tmp_path / "third").model_id != model.model_id


def test_the_model_of_a_student_never_replaces_the_one_that_ships(monkeypatch, capsys):
    arguments = ["release", "--table", "t.csv", "--work", "work", "--model-of", "a"]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit):
        release.main()
    assert "--model-of needs --output" in capsys.readouterr().err


def test_a_student_has_seen_nothing_that_it_is_tested_on(data, monkeypatch):
    shown = []
    monkeypatch.setattr(
        release_data, "train_student", lambda windows, *_, **__: shown.append(windows)
    )
    data.train("a")
    data.train(ALL)
    assert [len(windows) for windows in shown] == [18, 36]


def test_a_collection_that_no_student_leaves_out_is_an_error(data, monkeypatch):
    monkeypatch.setattr(evaluate, "FEWEST_LABELLED", 10)
    with pytest.raises(RunError, match="no student leaves out south"):
        release.score(replace(data, left_out={"a": ("north",), ALL: ()}))


def test_the_class_layer_gives_logits_as_they_are():
    net = StudentNet(3, [2], [1], np.array([1.0, -2.0]), np.array([2.0, 0.5]), frames_pooled=1)
    x = torch.randn(4, net.network.n_features)
    expected = net.predictor(x) * net.std + net.mean
    with torch.inference_mode():
        np.testing.assert_allclose(net.class_layer()(x), expected, atol=1e-5)
