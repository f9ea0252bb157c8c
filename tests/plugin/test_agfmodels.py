"""The models in a folder, and which of them is active."""

import json
import shutil
import unicodedata
from dataclasses import replace
from pathlib import Path

import confuse
import pytest
from beets import ui
from beets_helpers import FakeTagger, open_library

from agf_core import errors
from agf_core.bundle import format as bundle_format
from agf_core.bundle.registry import ModelStore
from beetsplug.agfgenre import models
from beetsplug.agfgenre.config import DEFAULTS, TrainSettings
from beetsplug.agfgenre.model_summary import NOT_STATED, accuracy, card_lines


@pytest.fixture
def store(tmp_path, tiny_parts, monkeypatch):
    shipped = bundle_format.save(tmp_path / "shipped", *tiny_parts).folder
    monkeypatch.setattr(bundle_format, "SHIPPED", shipped)
    store = ModelStore(tmp_path / "config" / "agfgenre")
    for name in ("2026-11-22", "mine"):
        bundle_format.save(store.path(name), *tiny_parts)
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
    (store.path("mine") / bundle_format.NETWORK).write_bytes(b"x")
    entry = store.entries()[-1]
    assert entry.model is None
    assert "is damaged" in entry.problem
    with pytest.raises(errors.BundleError, match="is damaged"):
        store.activate("mine")
    assert store.active == "shipped"


def test_a_model_of_a_newer_version_is_reported_as_such(store):
    path = store.path("mine") / bundle_format.METADATA
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    assert "newer version" in store.entries()[-1].problem


def test_an_active_model_that_is_gone_or_unreadable_counts_as_none(store):
    store.activate("mine")
    (store.folder / "active").write_bytes(b"\xff\xfe\x00")
    assert store.active == "shipped"
    (store.folder / "active").write_text("elsewhere\n")
    assert store.active == "shipped"


def test_an_active_model_that_is_gone_is_reported(store, monkeypatch, capsys):
    for library in open_library(monkeypatch, FakeTagger()):
        monkeypatch.setattr(models, "model_store", lambda: store)
        store.activate("mine")
        shutil.rmtree(store.path("mine"))
        gone = "the active model 'mine' is no longer in"
        with pytest.raises(errors.BundleError, match=gone):
            models.chosen_model("")
        library.beet("agfmodels")
        assert gone in capsys.readouterr().out
        library.beet("agfmodels", "use", "shipped")
        library.beet("agfmodels", "list")
        assert "no longer" not in capsys.readouterr().out
        assert models.chosen_model("").folder == bundle_format.SHIPPED


def test_names_with_spaces_need_no_quotes(store, tiny_parts, monkeypatch):
    bundle_format.save(store.path("my first"), *tiny_parts)
    for library in open_library(monkeypatch, FakeTagger()):
        monkeypatch.setattr(models, "model_store", lambda: store)
        library.beet("agfmodels", "use", "my", "first")
        assert store.active == "my first"
        library.configure(model=str(store.path("my first")))
        with pytest.raises(ui.UserError, match="remove that line first"):
            library.beet("agfmodels", "remove", "my", "first")
        library.configure(model="")
        library.beet("agfmodels", "remove", "my", "first")
        assert store.active == "shipped"


def test_names_may_be_typed_in_either_unicode_form(store, tiny_parts, monkeypatch):
    config = confuse.Configuration("test", read=False)
    config.set(DEFAULTS)
    decomposed = unicodedata.normalize("NFD", "Música")
    name = TrainSettings.from_config(config, {"name": decomposed}).name
    assert name == "Música"
    bundle_format.save(store.path(name), *tiny_parts)
    for library in open_library(monkeypatch, FakeTagger()):
        monkeypatch.setattr(models, "model_store", lambda: store)
        library.beet("agfmodels", "use", decomposed)
        assert store.active == "Música"


@pytest.mark.parametrize("name", ["", "shipped", "../x", "a/b", "a\\b", ".x", "x.", "a\nb", "C:x"])
def test_names_that_no_model_can_have(store, name):
    with pytest.raises(ValueError, match="no model can be called"):
        store.path(name)


def test_folders_that_are_no_models_are_not_listed(store, capsys):
    before = store.names()
    for name in ("old.", "shipped", ".hidden"):
        (store.folder / "models" / name).mkdir()
    assert store.names() == before
    assert [entry.name for entry in store.entries()] == ["shipped", *before]


def test_a_free_name_is_found(store):
    assert store.free_name("new") == "new"
    assert store.free_name("mine") == "mine-2"


def test_an_empty_place_has_the_shipped_model_alone(tmp_path):
    store = ModelStore(Path(tmp_path / "nowhere"))
    assert (store.names(), store.active) == ([], "shipped")


# What a model says of itself

SAID = {
    "trained_on": {
        "tracks": 90,
        "artists": 40,
        "with_genre": 60,
        "sources": {"one": 50, "two": 40},
    },
    "scores": {
        "tracks": 60,
        "artists": 1,
        "overall": {
            "accuracy": [0.5, 0.4, 0.6],
            "macro_f1": [0.45, 0.4, 0.5],
            "log_loss": [1.25, 1.0, 1.5],
        },
        "accuracy_by_fold": {"0": 0.5, "1": 0.5},
        "most_common_genre_accuracy": 0.25,
        "genres": {
            "Ambient": {"recall": 0.9},
            "Блюз": {"recall": 0.3},
            "R&B/Soul": {"recall": None},
        },
        "by_confidence": {
            "0.70": {"share_of_tracks": 0.25, "right": 0.875},
            "0.90": {"share_of_tracks": 0.0, "right": None},
        },
    },
}


def said(metadata, min_confidence=0.7) -> dict[str, str]:
    lines = card_lines(metadata, min_confidence)
    column = len("trained on  ")
    return {line[:column].strip(): line[column:] for line in lines}


def test_a_summary_has_what_the_card_has(tiny_parts):
    metadata = replace(tiny_parts[0], **SAID)
    assert said(metadata) == {
        "genres": "Ambient, Блюз, R&B/Soul",
        "trained on": "90 tracks by 40 artists, 60 of them with one main genre "
        "(50 of one, 40 of two)",
        "tested on": "60 tracks by 1 artist, each predicted by a model trained without its "
        "artist (2 folds; 95 % intervals)",
        "accuracy": "50.0% [40.0%, 60.0%]; always predicting the most common genre: 25.0%",
        "macro F1": "0.450 [0.400, 0.500]",
        "log loss": "1.250 [1.000, 1.500]",
        "weak": "Блюз, R&B/Soul (fewer than a third of its tracks are found)",
        "at 0.70": "25% of the tracks get a genre, 88% of these right",
    }
    assert said(metadata, 0.9)["at 0.90"] == "0% of the tracks get a genre"
    assert said(metadata, 0.72)["at 0.72"] == NOT_STATED
    good = {genre: {"recall": 0.5} for genre in metadata.labels}
    assert "weak" not in said(replace(metadata, scores=metadata.scores | {"genres": good}))


def test_the_shipped_model_states_everything():
    lines = card_lines(bundle_format.load().metadata, 0.7)
    assert len(lines) == 8
    assert not [line for line in lines if NOT_STATED in line]


ODD = [
    None,
    [],
    {},
    "x" * 10_000,
    "\x1b[2J",
    -1,
    10**400,
    1e300,
    float("nan"),
    True,
    {"\x1b[2J": 1},
    {f"source {i}": 1 for i in range(1_000)},
    [0.5, "\n", 10**400],
]


def everywhere(values, odd):
    """Yield the values with something odd in place of each of them, at any depth."""
    for key, value in values.items():
        yield values | {key: odd}
        if isinstance(value, dict):
            yield from (values | {key: inner} for inner in everywhere(value, odd))


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_whatever_a_model_states_is_printable(tiny_parts, odd):
    n = 0
    for values in everywhere(SAID, odd):
        if not all(isinstance(value, dict) for value in values.values()):
            continue  # `Metadata` refuses these
        n += 1
        metadata = replace(tiny_parts[0], **values)
        for line in [*card_lines(metadata, 0.7), accuracy(metadata)]:
            assert line.isprintable()
            assert len(line) < 500
    assert n > 20


def test_beet_agfmodels_shows_a_card(library, monkeypatch, tmp_path, tiny_parts, capsys):
    metadata, files = tiny_parts
    shipped = bundle_format.save(tmp_path / "shipped", replace(metadata, **SAID), files).folder
    monkeypatch.setattr(bundle_format, "SHIPPED", shipped)
    library.configure(min_confidence=0.9)
    library.beet("agfmodels", "show", "shipped")
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines == card_lines(bundle_format.load().metadata, 0.9)
    assert last == f"full model card: {shipped / bundle_format.CARD}"
    (shipped / bundle_format.CARD).write_text("broken")
    with pytest.raises(ui.UserError, match=r"agfmodels: the model in .* is damaged"):
        library.beet("agfmodels", "show", "shipped")
    with pytest.raises(ui.UserError, match="there is no model 'mine'"):
        library.beet("agfmodels", "show", "mine")
    with pytest.raises(ui.UserError, match="show needs the name of a model"):
        library.beet("agfmodels", "show")
