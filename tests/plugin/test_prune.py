"""`beet agfmodels prune`: stored features of models that are gone."""

import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from beets import ui
from test_light_training import fill_three
from train_library import fill, train

from agf_core.bundle import format as bundle_format
from agf_core.inference.embeddings import EmbeddingStore
from agf_core.inference.prediction import Features, FileResult
from beetsplug.agfgenre.models import chosen_model, embedding_store, model_store


@pytest.fixture
def library(training_library):
    return training_library


def add_features(store, model_id, tmp_path, n=200):
    results = []
    for i in range(n):
        path = tmp_path / f"{model_id}-{i}.mp3"
        path.touch()
        features = Features(np.zeros(256, np.float16), np.log(np.array([0.5, 0.5])))
        results.append(FileResult(path, None, features=features, key=f"{i:032x}"))
    store.add(model_id, results)


def test_features_of_models_that_are_gone_are_removed_and_no_others(
    library,
    tmp_path,
):
    fill_three(library)
    assert train(library, "--name", "mine") == 0  # a light model on the shipped one
    base = bundle_format.load().model_id
    assert chosen_model("").base_id == base
    store = embedding_store()
    kept = store.counts()
    assert kept == {base: 60}
    add_features(store, "gone-1", tmp_path)
    size = store.path.stat().st_size
    library.beet("agfmodels", "prune")
    assert any("removed what gone-1 had stored of 200 tracks" in x for x in library.log.lines)
    assert store.counts() == kept
    assert store.path.stat().st_size < size
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("SELECT count(*) FROM files").fetchone() == (60,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    library.beet("agfmodels", "prune")
    assert any("nothing had to be removed" in x for x in library.log.lines)
    # A light model whose base is another than the shipped one keeps that one's features.
    light = chosen_model("")
    head = replace(light.metadata.head, base_id="other-1")
    files = {
        name: (light.folder / name).read_bytes()
        for name in (bundle_format.NETWORK, bundle_format.WEIGHTS, bundle_format.CARD)
    }
    other = bundle_format.save(tmp_path / "other", replace(light.metadata, head=head), files)
    add_features(store, "other-1", tmp_path)
    library.configure(model=str(other.folder))
    library.beet("agfmodels", "prune")
    assert store.counts() == kept | {"other-1": 200}


def test_a_model_that_cannot_be_read_stops_it(library, tmp_path):
    add_features(embedding_store(), "gone-1", tmp_path)
    folder = model_store().path("broken")
    folder.mkdir(parents=True)
    with pytest.raises(ui.UserError, match="broken cannot be read"):
        library.beet("agfmodels", "prune")
    library.configure(model=str(tmp_path / "nowhere"))
    folder.rmdir()
    with pytest.raises(ui.UserError, match="no model in"):
        library.beet("agfmodels", "prune")
    assert embedding_store().counts() == {"gone-1": 200}


def test_without_a_store_there_is_nothing_to_do(library):
    fill(library, 1)
    library.beet("agfmodels", "prune")
    assert not embedding_store().path.exists()
    assert any("nothing had to be removed" in x for x in library.log.lines)


def test_on_a_full_disk_features_are_removed_though_the_file_stays(tmp_path, monkeypatch):
    store = EmbeddingStore(tmp_path / "embeddings.db")
    add_features(store, "gone-1", tmp_path)
    size = store.path.stat().st_size

    class Full(sqlite3.Connection):
        def execute(self, sql, *values):
            if sql == "VACUUM":
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(sql, *values)

    store.close()
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, factory=Full, **k))
    store.remove(["gone-1"])
    assert not store.problem
    assert store.counts() == {}
    assert store.path.stat().st_size == size
