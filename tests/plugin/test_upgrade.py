"""What version 0.2.0 wrote is used, and what a newer version wrote is one clear line."""

import json
import os
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from beets import util
from beets.ui import UserError
from beets_helpers import FakeTagger, open_library, summary
from mediafile import MediaFile

from agf_core.bundle import format as bundle_format
from agf_core.bundle.registry import ModelStore
from agf_core.errors import BundleError
from agf_core.features.cache import FeatureCache
from agf_core.inference.embeddings import EmbeddingStore
from agf_core.inference.tagger import GenreTagger
from beetsplug.agfgenre.database import folder_beside
from beetsplug.agfgenre.fields import genres_set_by_plugin

OLD = Path(__file__).parents[1] / "version_0_2_0"
GOLDEN = json.loads((OLD / "golden.json").read_text())
MODEL = OLD / "agfgenre" / "models" / "mine"


@pytest.fixture
def library(monkeypatch):
    """A library as 0.2.0 left it: eight tracks tagged in two runs."""
    content = json.loads((OLD / "library.json").read_text())
    for library in open_library(monkeypatch, FakeTagger(), on_disk=True):
        library.load_plugins()
        util.cached_classproperty.cache.clear()  # or its fields have no type
        for values in content["items"]:
            item = library.track(
                str(values["id"]), artist=values["artist"], genres=[values["genres"]]
            )
            assert item.id == values["id"]
            item.write()
            with library.lib.transaction() as transaction:
                transaction.mutate(
                    "UPDATE items SET added = ? WHERE id = ?", (values["added"], item.id)
                )
        with library.lib.transaction() as transaction:
            for row in content["flexible"]:
                transaction.mutate(
                    "INSERT INTO item_attributes (entity_id, key, value) VALUES (?, ?, ?)", row
                )
        folder = folder_beside(library.lib)
        folder.mkdir()
        for path in OLD.glob("*.jsonl"):
            music = os.fsdecode(library.lib.directory)
            (folder / path.name).write_text(path.read_text().replace("MUSIC", music))
        yield library


def genres(library) -> list[list[str]]:
    titles = [str(number) for number in range(1, 9)]
    assert list(map(library.genres, titles)) == list(map(library.file_genres, titles))
    return list(map(library.genres, titles))


# Fields and runs


def test_fields_are_read(library):
    item = library.get("1")
    assert genres_set_by_plugin(item) == ("Low",)
    assert item.agf_genres == ["Low"]
    assert item.agf_model == GOLDEN["model_id"]
    assert item.agf_confidence == pytest.approx(1, abs=0.01)


def test_genres_that_the_plugin_had_set_are_decided_on_again(library):
    library.tagger.sounds = {"1": {"Electronic": 0.9, "Rock": 0.1}}
    library.beet("agfgenre", "-r", "-q", "title:=1")
    assert library.genres("1") == ["Electronic"]


def test_stored_predictions_of_the_same_model_are_used(library):
    library.tagger.model_id = GOLDEN["model_id"]
    library.tagger.labels, library.tagger.styles = ("High", "Low"), ()
    library.beet("agfgenre", "-f", "-q")
    assert library.tagger.analysed == []
    assert "already right: 8 tracks" in summary(library)


def test_its_runs_are_undone(library):
    assert genres(library) == [["Low"], ["High"]] * 4
    library.beet("agfgenre", "--undo", "-q")
    assert genres(library) == [["Low"], ["Folk"]] * 4
    library.beet("agfgenre", "--undo", "-q")
    assert genres(library) == [[], ["Folk"]] * 4
    library.beet("agfgenre", "--undo", "-q")
    assert "there is nothing to restore" in summary(library)


def test_a_new_run_comes_after_its_runs(library):
    library.beet("agfgenre", "-f", "-q", "title:=1")
    assert library.genres("1") == ["Rock"]
    library.beet("agfgenre", "--undo", "-q")
    assert genres(library) == [["Low"], ["High"]] * 4


# Models and caches


def test_its_model_predicts_what_it_predicted():
    bundle = bundle_format.load(MODEL)
    assert bundle.model_id == GOLDEN["model_id"]
    rows = np.linspace(-60, 0, 200 * 32, dtype=np.float32).reshape(200, 32)
    prediction = GenreTagger(bundle).predict_log_mel(rows)
    np.testing.assert_allclose(prediction.probabilities, GOLDEN["probabilities"], atol=1e-4)


def test_its_model_is_listed_shown_and_used(library, capsys):
    home = Path(library.config.config_dir())
    shutil.copytree(OLD / "agfgenre", home / "agfgenre")
    assert ModelStore(home / "agfgenre").active == "mine"
    library.beet("agfmodels")
    listed = capsys.readouterr().out
    assert "mine" in listed
    library.beet("agfmodels", "show", "mine")
    shown = capsys.readouterr().out
    assert "High, Low" in shown
    assert "24 tracks by 12 artists" in shown
    accuracy = next(line for line in shown.splitlines() if line.startswith("accuracy"))
    assert "not stated" not in accuracy
    library.beet("agfmodels", "use", "shipped")
    library.beet("agfmodels", "remove", "mine")
    assert ModelStore(home / "agfgenre").names() == []


def test_its_features_are_found(tmp_path):
    path = Path(shutil.copy(OLD / "embeddings.db", tmp_path))
    store = EmbeddingStore(path)
    features = store.features(GOLDEN["base_id"], GOLDEN["sound"])
    assert store.problem == ""
    assert features is not None
    np.testing.assert_array_equal(features.embedding, GOLDEN["embedding"])
    np.testing.assert_array_equal(
        features.log_probabilities, np.float32(GOLDEN["log_probabilities"])
    )


def test_its_cache_is_read(tmp_path):
    shutil.copytree(OLD / "features", tmp_path / "features")

    def fail() -> np.ndarray:
        raise AssertionError("it is stored")

    stored = FeatureCache(tmp_path / "features").get("kind", "track", fail)
    np.testing.assert_array_equal(stored, np.arange(6))


# Files of a newer version


def test_a_run_of_a_newer_version_is_one_line(library):
    folder = folder_beside(library.lib)
    newest = sorted(folder.glob("*.jsonl"))[-1]
    lines = [json.dumps(json.loads(line) | {"mood": 1}) for line in newest.read_text().splitlines()]
    newest.write_text("\n".join(lines))
    with pytest.raises(UserError, match="a newer version of beets-agf has recorded the run"):
        library.beet("agfgenre", "--undo", "-q")
    assert genres(library) == [["Low"], ["High"]] * 4
    newest.unlink()
    library.beet("agfgenre", "--undo", "-q")
    assert genres(library) == [[], ["High"]] * 4


def test_a_model_of_a_newer_version_is_one_line(tmp_path):
    folder = Path(shutil.copytree(MODEL, tmp_path / "mine"))
    values = json.loads((folder / "model.json").read_text())
    values["format"] = 99
    (folder / "model.json").write_text(json.dumps(values))
    with pytest.raises(BundleError, match="a newer version of beets-agf") as raised:
        bundle_format.load(folder)
    assert len(str(raised.value).splitlines()) == 1


def test_features_of_a_newer_version_are_one_line(tmp_path):
    path = Path(shutil.copy(OLD / "embeddings.db", tmp_path))
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    before = path.read_bytes()
    store = EmbeddingStore(path)
    assert store.features(GOLDEN["base_id"], GOLDEN["sound"]) is None
    assert "newer version" in store.problem
    assert path.read_bytes() == before


def test_a_file_with_tags_of_0_2_0_is_written_in_place(library):
    path = Path(os.fsdecode(library.get("1").path))
    before = path.stat().st_ino
    library.beet("agfgenre", "-f", "-q", "title:=1")
    assert MediaFile(path).genres == ["Rock"]
    assert path.stat().st_ino == before
