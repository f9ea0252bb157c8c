"""`beet agftrain` as it is by default: a small head upon stored features."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from train_library import add, everything, fill, models, train

from agf_core.bundle import format as bundle_format
from agf_core.inference.tagger import GenreTagger


@pytest.fixture
def library(training_library):
    return training_library


def fill_three(library):
    """Add tracks of three genres; the base model has two labels, too few to tell them apart."""
    fill(library, 40)
    for i in range(100, 120):
        add(library, f"M{i}", "Middle", f"Artist {i // 2} M", i)


def test_a_library_trains_a_light_model_and_renew_needs_no_second_analysis(
    library,
    capsys,
    monkeypatch,
):
    fill_three(library)
    add(library, "Hnew", "", "Somebody New", 1000)
    add(library, "Lnew", "", "Somebody Else", 1001)
    add(library, "Rare", "Polka", "Somebody Rare", 1002)
    library.configure(min_confidence=0)
    library.beet("agfgenre", "-W", "title::new")
    before = {p: c for p, c in everything(library).items() if p.endswith(".wav")}
    assert train(library, "--name", "mine") == 0
    out = capsys.readouterr().out
    assert "Блюз: 20 tracks by 10 artists" in out
    assert "accuracy with fewer artists to train on: " in out
    assert "2 tracks by 2 artists have no genre that you gave them" in out
    (line,) = [line for line in out.splitlines() if line.startswith("  beet ls ")]
    library.beet("ls", *line.split()[2:])
    listed = capsys.readouterr().out
    assert "Hnew" in listed
    assert "Lnew" in listed
    assert "Rare" not in listed  # the user has tagged it
    (end,) = library.log.having("full report: ")
    assert "report.html; `beet agfmodels show mine --open` opens it" in end
    assert library.log.having("training on 60 tracks")[0].endswith("60 tracks")
    assert {p: c for p, c in everything(library).items() if p.endswith(".wav")} == before

    folder = models(library) / "models" / "mine"
    report = json.loads((folder / "report.json").read_text())
    assert report["overall"]["this model"]["accuracy"][0] > 0.9
    assert (report["tracks"], report["artists"], report["folds"]) == (60, 30, 5)
    assert np.sum(report["confusion"]) == 60
    page = (folder / "report.html").read_text()
    assert "<svg" in page
    assert "Блюз" in page
    model = bundle_format.load(folder)
    assert model.metadata.labels == ("Middle", "Блюз", "🎹")
    base = bundle_format.load(bundle_format.SHIPPED)
    assert model.metadata.head.base_id == base.model_id
    assert model.network == base.network

    # What is stored is enough: a file need not even be there.
    monkeypatch.setattr(GenreTagger, "features_of_log_mel", None)
    library.beet("agfgenre", "-r", "-W", "title::new")
    assert library.genres("Lnew") == ["Блюз"]
    assert library.genres("Hnew") == ["🎹"]
    assert library.get("Hnew").agf_model == model.model_id
    library.beet("agfgenre", "--undo", "-W")
    library.beet("agfmodels", "show", "mine")
    assert str(folder / "report.html") in capsys.readouterr().out


def test_another_light_model_is_compared_with_the_active_one(library, capsys):
    fill_three(library)
    assert train(library, "--quick", "--name", "first") == 0
    for i in range(200, 220):
        add(library, f"M{i}", "Middle", f"Artist {i // 2}", i)
    assert train(library, "--name", "second") in (0, 3)
    assert "this model against first" in capsys.readouterr().out


def test_a_light_model_is_no_base_for_training(library):
    fill_three(library)
    assert train(library, "--name", "first") == 0
    library.configure(model=str(models(library) / "models" / "first"))
    for way in ([], ["--deep"]):
        assert train(library, *way) == 1
        assert "first is a light model, which cannot be trained" in library.log.lines[-1]


def test_a_store_that_cannot_be_written_is_a_line(library, tmp_path):
    fill_three(library)
    (tmp_path / "cache" / "embeddings.db").mkdir(parents=True)
    assert train(library, "--name", "first") == 0
    (line,) = library.log.having("features are not stored")
    assert "embeddings.db cannot be used" in line


def test_the_same_sound_twice_counts_once(library, capsys):
    fill_three(library)
    add(library, "L1 again", "Блюз", "Artist 0 L", 1)
    broken = add(library, "L2 broken", "Блюз", "Artist 0 L", 2)
    Path(os.fsdecode(broken.path)).write_bytes(b"no audio")
    assert train(library, "--name", "first") == 0
    why = "left out: 1 that cannot be analysed, 1 with the same sound as another"
    assert library.log.having(f"training on 60 tracks; {why}")
    report = json.loads((models(library) / "models" / "first" / "report.json").read_text())
    assert report["tracks"] == 60
