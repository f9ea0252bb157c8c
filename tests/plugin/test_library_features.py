"""What is read of a library's stored features."""

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from beets import plugins, ui
from beets_helpers import silent_wav
from numpy.testing import assert_allclose
from test_light_training import fill_three
from train_library import add, fill, train

from agf_core.bundle import format as bundle_format
from agf_core.inference.tagger import GenreTagger
from beetsplug.agfgenre.library_features import read_features
from beetsplug.agfgenre.models import chosen_model, embedding_store


@pytest.fixture
def library(training_library):
    return training_library


class Log:
    def __init__(self):
        self.lines = []

    def warning(self, message, *values):
        self.lines.append(message.format(*values))


def test_features_of_a_query_are_those_of_its_files_in_its_order(library):
    fill(library, 6)
    library.beet("agfgenre", "--explain", "-p")
    add(library, "Lnew", "", "Somebody New", 1000)
    log, model = Log(), bundle_format.load()
    found = read_features(library.lib, ["title-"], model, log)
    titles = ["L5", "L3", "L1", "H4", "H2", "H0"]
    assert [item.title for item in found.items] == titles
    assert [values["title"] for values in found.items.values("title")] == titles
    assert [item.title for item in found.items.at([4, 1])] == ["H2", "L3"]
    assert found.n_missing == 1
    assert log.lines == [
        "not analysed yet and left out: 1 of 7 tracks; "
        "`beet agfgenre --explain -p title-` analyses them and changes nothing"
    ]
    tagger = GenreTagger(model)
    for i, item in enumerate(found.items):
        path = os.fsdecode(item.path)
        assert_allclose(found.embeddings[i], tagger.embed_file(path), rtol=2e-3, atol=1e-3)
        expected = tagger.predict_file(path).probabilities
        assert_allclose(found.probabilities(model.metadata)[i], expected, atol=1e-6)
    assert found.styles.shape == (6, 0)


def test_probabilities_are_those_of_the_light_model_in_use(library):
    fill_three(library)
    assert train(library, "--name", "mine") == 0
    model = chosen_model("")
    assert model.metadata.name == "mine"
    found = read_features(library.lib, [], model, Log())
    expected = [
        GenreTagger(model).predict_file(os.fsdecode(item.path)).probabilities
        for item in found.items.at([0, 59])
    ]
    assert_allclose(found.probabilities(model.metadata)[[0, 59]], expected, atol=1e-3)


def test_a_damaged_store_is_made_anew_with_a_line(library):
    fill(library, 2)
    library.beet("agfgenre", "--explain", "-p")
    path = embedding_store().path
    path.write_bytes(b"damaged" * 1000)
    with pytest.raises(ui.UserError, match="2 tracks match, and none is analysed yet"):
        library.beet("agfsimilar", "title:L1")
    (line,) = library.log.having("was damaged and is made anew")
    assert line.startswith(f"WARNING: {path}")
    library.beet("agfgenre", "--explain", "-p")
    assert sum(embedding_store().counts().values()) == 2
    assert len(library.log.having("was damaged")) == 1


def test_without_features_a_line_tells_how_to_get_them(library):
    fill(library, 2)
    model = bundle_format.load()
    with pytest.raises(ui.UserError, match="nothing in the library matches"):
        read_features(library.lib, ["title:Absent"], model, Log())
    with pytest.raises(ui.UserError, match="2 tracks match, and none is analysed yet; `beet agfg"):
        read_features(library.lib, [], model, Log())


def test_tracks_that_cannot_be_analysed_are_counted_apart(library):
    fill(library, 4)
    for name, change in (("H0", silent_wav), ("L1", Path.unlink)):
        change(Path(os.fsdecode(library.get(name).path)))
    Path(os.fsdecode(library.get("H2").path)).write_bytes(b"no audio")
    log, model = Log(), bundle_format.load()
    library.beet("agfgenre", "--explain", "-p")
    assert read_features(library.lib, [], model, log).n_missing == 3
    why = "`beet agfgenre --explain -p{}` tries again and shows why"
    assert log.lines == [f"could not be analysed and left out: 3 of 4 tracks; {why.format('')}"]
    with pytest.raises(ui.UserError) as problem:
        read_features(library.lib, ["title:H"], model, Log())
    assert str(problem.value) == (
        f"agfgenre: 2 tracks match, and none can be analysed; {why.format(' title:H')}"
    )
    shutil.copyfile(library.get("L3").path, library.get("H0").path)
    with pytest.raises(ui.UserError, match="2 tracks match, and none is analysed yet; `beet agfg"):
        read_features(library.lib, ["title:H"], model, Log())


def test_rows_of_other_sizes_and_of_impossible_numbers_are_missing(library):
    fill(library, 6)
    library.beet("agfgenre", "--explain", "-p")
    store, model = embedding_store(), bundle_format.load()
    with sqlite3.connect(store.path) as connection:
        keys = [sound for (sound,) in connection.execute("SELECT sound FROM tracks")]
        change = "UPDATE tracks SET {} = ? WHERE sound = ?"
        connection.execute(change.format("embedding"), (b"\0\0", keys[0]))
        connection.execute(change.format("log_probabilities"), (bytes(8), keys[1]))
        connection.execute(change.format("log_probabilities"), (b"\0", keys[2]))
    connection.close()
    found = read_features(library.lib, [], model, Log())
    assert found.n_missing == 3
    assert len(found.items) == len(found.embeddings) == 3
    assert np.isfinite(found.embeddings).all()


def test_a_store_that_cannot_be_read_is_an_error_of_one_line(library):
    fill(library, 2)
    path = embedding_store().path
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ui.UserError, match="made by a newer version of beets-agf"):
        read_features(library.lib, [], bundle_format.load(), Log())


def test_features_stay_known_when_beets_changes_and_moves_files(library):
    library.configure(min_confidence=0)
    library.lib.path_formats = [("default", "$artist/$title")]
    for i in range(3):
        path = os.fsdecode(add(library, f"H{i}", "", f"Artist {i}", i).path)
        os.utime(path, (1, 1))
    model = bundle_format.load()
    library.beet("agfgenre", "-w")  # writes tags to the files it has just analysed
    assert library.genres("H0")
    assert read_features(library.lib, [], model, Log()).n_missing == 0
    library.beet("modify", "-y", "title:H0", "artist=Another")
    assert b"Another" in library.get("H0").path
    library.beet("move", "title:H1")
    library.beet("write")
    library.beet("agfgenre", "--undo", "-w")
    found = read_features(library.lib, [], model, Log())
    assert found.n_missing == 0
    tagger = GenreTagger(model)
    for i, item in enumerate(found.items):
        expected = tagger.embed_file(os.fsdecode(item.path))
        assert_allclose(found.embeddings[i], expected, rtol=2e-3, atol=1e-3)
    # A change that beets knows nothing of makes a file unknown, until it is opened again.
    os.utime(os.fsdecode(library.get("H2").path), (2, 2))
    assert read_features(library.lib, [], model, Log()).n_missing == 1
    library.beet("agfgenre", "--explain", "-p")
    assert read_features(library.lib, [], model, Log()).n_missing == 0


def test_features_stay_known_through_an_import(library):
    library.configure(auto=True, min_confidence=0)
    model = bundle_format.load()
    folder = library.incoming / "album"
    folder.mkdir(parents=True)
    for i in range(2):
        item = add(library, f"H{i}", "", "Somebody", i)
        os.rename(os.fsdecode(item.path), folder / f"{i}.wav")
        item.remove()
    library.beet("import", "-A", "-q", "-c", str(folder))
    found = read_features(library.lib, [], model, Log())
    assert len(found.items) == 2
    assert found.n_missing == 0


INTERRUPTED = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
from agf_core.inference.embeddings import EmbeddingStore
from beetsplug.agfgenre import models
from beetsplug.agfgenre.file_changes import FileChanges

models.embedding_store = lambda: EmbeddingStore(Path(sys.argv[1]))
events = {}
FileChanges().listen(SimpleNamespace(register_listener=events.__setitem__))
for path in map(os.fsencode, sys.argv[2:]):
    events["write"](path=path)
    os.utime(path, (1, 1))
    events["after_write"](path=path)
raise SystemExit(130)
"""


def test_features_stay_known_when_ctrl_c_ends_a_run(library):
    fill(library, 6)
    library.beet("agfgenre", "--explain", "-p")
    paths = [os.fsdecode(item.path) for item in library.lib.items()]
    run = [sys.executable, "-c", INTERRUPTED, str(embedding_store().path), *paths]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")
    assert {os.stat(path).st_mtime for path in paths} == {1}
    assert read_features(library.lib, [], bundle_format.load(), Log()).n_missing == 0


def test_features_stay_known_when_another_plugin_changes_a_file_that_was_written(library):
    fill(library, 1)
    library.beet("agfgenre", "--explain", "-p")
    (item,) = library.lib.items()
    item.write()
    path = os.fsdecode(item.path)
    assert read_features(library.lib, [], bundle_format.load(), Log()).n_missing == 0
    os.utime(path, (1, 1))
    plugins.send("cli_exit", lib=library.lib)
    assert read_features(library.lib, [], bundle_format.load(), Log()).n_missing == 0
