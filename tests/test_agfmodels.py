"""The models in a folder, and which of them is active."""

import json
from pathlib import Path

import pytest

from agf_core import bundle
from agf_core.model_store import ModelStore


@pytest.fixture
def store(tmp_path, tiny_parts, monkeypatch):
    shipped = bundle.save(tmp_path / "shipped", *tiny_parts).folder
    monkeypatch.setattr(bundle, "SHIPPED", shipped)
    store = ModelStore(tmp_path / "config" / "agfgenre")
    for name in ("2026-11-22", "mine"):
        bundle.save(store.path(name), *tiny_parts)
    return store


def test_models_are_listed_with_the_shipped_one_first(store):
    assert [entry.name for entry in store.entries()] == ["shipped", "2026-11-22", "mine"]
    assert all(entry.model for entry in store.entries())


def test_the_shipped_model_is_active_until_another_is(store):
    assert store.active == "shipped"
    store.activate("mine")
    assert ModelStore(store.folder).active == "mine"
    store.activate("shipped")
    assert store.active == "shipped"


def test_removing_the_active_model_brings_the_shipped_one_back(store):
    store.activate("mine")
    store.remove("mine")
    assert store.active == "shipped"
    assert store.names() == ["2026-11-22"]


def test_a_damaged_model_is_listed_as_such_and_cannot_be_activated(store):
    (store.path("mine") / bundle.NETWORK).write_bytes(b"x")
    entry = store.entries()[-1]
    assert entry.model is None
    assert "is damaged" in entry.problem
    with pytest.raises(bundle.BundleError, match="is damaged"):
        store.activate("mine")
    assert store.active == "shipped"


def test_a_model_of_a_newer_version_is_named_as_such(store):
    path = store.path("mine") / bundle.METADATA
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    assert "newer version" in store.entries()[-1].problem


def test_an_active_model_that_is_gone_or_unreadable_counts_as_none(store):
    store.activate("mine")
    (store.folder / "active").write_bytes(b"\xff\xfe\x00")
    assert store.active == "shipped"
    (store.folder / "active").write_text("elsewhere\n")
    assert store.active == "shipped"


@pytest.mark.parametrize("name", ["", "shipped", "../x", "a/b", "a\\b", ".x", "x.", "a\nb", "C:x"])
def test_names_that_no_model_can_have(store, name):
    with pytest.raises(ValueError, match="no model can be called"):
        store.path(name)


def test_a_free_name_is_found(store):
    assert store.free_name("new") == "new"
    assert store.free_name("mine") == "mine-2"


def test_an_empty_place_has_the_shipped_model_alone(tmp_path):
    store = ModelStore(Path(tmp_path / "nowhere"))
    assert (store.names(), store.active) == ([], "shipped")
