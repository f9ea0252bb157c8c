"""The option `prior`: the class prior of a library, and predictions adjusted to it."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from beets import importer, ui
from beets.test.helper import AutotagStub
from beets_helpers import ELECTRONIC, ROCK, FakeTagger, open_library, silent_wav

from agf_core import label_shift
from agf_core.audio.decode import UnreadableAudioError
from agf_core.bundle import format as bundle_format
from agf_core.errors import BundleError
from beetsplug.agfgenre import database
from beetsplug.agfgenre.tag import library_prior, setup

LEARNT = np.array([0.7, 0.1, 0.1, 0.1])  # of Rock, Electronic, Hip-Hop, Soul-RnB
DOUBTFUL = {"Rock": 0.6, "Electronic": 0.4}


@pytest.fixture
def library(monkeypatch):
    tagger = FakeTagger()
    tagger.prior = LEARNT
    for library in open_library(monkeypatch, tagger, on_disk=True):
        library.configure(prior="library")
        yield library


def fill(library, electronic=30, rock=0, doubtful=1):
    """Add tracks; those that nobody asks about have genres."""
    for kind, sound, n in (("e", ELECTRONIC, electronic), ("r", ROCK, rock)):
        for i in range(n):
            library.tagger.sounds[f"{kind}{i}"] = sound
            library.track(f"{kind}{i}", genres=["Jazz"])
    for i in range(doubtful):
        library.tagger.sounds[f"d{i}"] = DOUBTFUL
        library.track(f"d{i}")


def folder(library) -> Path:
    return Path(os.fsdecode(library.lib.path) + "-agfgenre")


def kept(library) -> list[Path]:
    return list(folder(library).glob("prior-*"))


def estimated(*sounds) -> np.ndarray:
    """The prior of a library of tracks that sound like this."""
    rows = [[sound.get(label, 0) for label in FakeTagger.labels] for sound in sounds]
    return label_shift.estimate(np.array(rows), LEARNT)


TOLD = "to estimate the genres of the library"
TOO_FEW = "fewer than 30 tracks could be analysed, too few to estimate the genres of the library"


# What a prior does


def test_the_shipped_prior_leaves_everything_as_it_was(library, tagger):
    library.configure(prior="shipped", min_confidence=0.5)
    fill(library)
    library.beet("agfgenre")
    item = library.get("d0")
    assert (item.genres, item.agf_confidence, item.agf_model) == (["Rock"], 0.6, "fake-1")
    assert tagger.analysed == ["d0"]


def test_all_genres_alike(library, tagger, capsys):
    library.configure(prior="balanced")
    fill(library)
    library.beet("agfgenre", "--explain", "title:d0")
    item = library.get("d0")
    assert item.genres == library.file_genres("d0") == ["Electronic"]
    assert item.agf_confidence == pytest.approx(0.4 / (0.6 / 7 + 0.4), abs=1e-4)
    assert item.agf_model == "fake-1+balanced"
    assert "Electronic 0.82, Rock 0.18" in capsys.readouterr().out
    assert tagger.analysed == ["d0"]
    assert not kept(library)


def test_tracks_predicted_under_another_prior_are_predicted_again(library, tagger):
    fill(library)
    for wanted in ("shipped", "balanced", "balanced", "shipped"):
        library.configure(prior=wanted, min_confidence=0.99)
        library.beet("agfgenre")
    assert tagger.analysed == ["d0"] * 3


@pytest.mark.parametrize("wanted", ["balanced", "library"])
def test_a_model_that_does_not_know_its_prior_is_reported_and_used_as_it_is(
    library, tagger, wanted
):
    tagger.prior = None
    library.configure(prior=wanted, min_confidence=0.5)
    fill(library)
    library.beet("agfgenre")
    item = library.get("d0")
    assert (item.agf_confidence, item.agf_model) == (0.6, "fake-1")
    assert tagger.analysed == ["d0"]
    (line,) = library.log.lines_at("WARNING")
    assert line.endswith(
        f"the model fake-1 does not state its training prior, so `prior: {wanted}` has no effect"
    )


def test_albums_are_decided_on_by_what_it_means_in_all_their_tracks(library, tagger):
    library.configure(prior="balanced", albums=True)
    tagger.sounds |= {"a": DOUBTFUL, "b": {"Rock": 1.0}}
    album = library.album("ab")
    library.beet("agfgenre")
    album.load()
    assert album.agf_model == "fake-1+balanced"
    assert album.agf_confidence == pytest.approx((1 + 0.6 / 7 / (0.6 / 7 + 0.4)) / 2, abs=1e-4)


def test_a_real_model_and_real_clips(monkeypatch, tiny_parts, tmp_path, clips):
    metadata, files = tiny_parts
    shares = np.array([0.2, 0.3, 0.5])
    confidences = {}
    for name, prior in (("without", None), ("with", shares)):
        model = bundle_format.save(tmp_path / name, replace(metadata, prior=prior), files)
        for library in open_library(monkeypatch, None):
            library.configure(prior="balanced", model=str(model.folder))
            item = library.add_item(title="a", path=clips[0], genres=[])
            library.beet("agfgenre", "-W")
            item.load()
            confidences[name] = item.agf_confidence
            assert item.agf_model == model.model_id + ("+balanced" if name == "with" else "")
    assert confidences["with"] != confidences["without"]


# Finding out how the library is made up


def test_the_library_is_analysed_once_and_the_estimate_is_stored(library, tagger):
    fill(library)
    library.beet("agfgenre", "title:d0")
    assert sorted(tagger.analysed) == sorted(tagger.sounds)  # d0, which was drawn, once
    assert library.log.having(f"analysing 31 tracks {TOLD}")
    assert library.log.having("estimated genres of the library: Electronic 64%, Rock 28%")
    item = library.get("d0")
    assert item.genres == ["Electronic"]
    shares = json.loads(kept(library)[0].read_text())["prior"]
    assert shares == pytest.approx(estimated(*[ELECTRONIC] * 30, DOUBTFUL).tolist())
    there = label_shift.adjust_prior(np.array([0.6, 0.4, 0, 0]), LEARNT, np.array(shares))
    assert item.agf_confidence == pytest.approx(there.max(), abs=1e-4)
    assert item.agf_model.startswith("fake-1+library-")

    library.configure(prior="library", min_confidence=0.99)
    library.beet("agfgenre", "-f")
    assert len(tagger.analysed) == 31 + 30  # those that were not asked about before
    assert {i.agf_model for i in library.lib.items()} == {item.agf_model}
    assert len(library.log.having(TOLD)) == 1


def test_a_large_library_is_analysed_in_part(library, tagger, monkeypatch):
    monkeypatch.setattr(library_prior, "SAMPLE_TRACKS", 32)
    fill(library, electronic=40)
    library.beet("agfgenre", "-p", "title:d0")
    drawn = tagger.analysed[:32]
    assert set(tagger.analysed) == {*drawn, "d0"}
    tagger.analysed.clear()
    library.beet("agfgenre", "-p", "title:d0")
    assert tagger.analysed[:32] == drawn


def test_quiet_says_nothing_of_it(library, capsys):
    fill(library)
    library.beet("agfgenre", "-q")
    assert capsys.readouterr().out == ""
    assert not library.log.having("genres of the library")
    assert kept(library)


def test_pretending_keeps_nothing_but_takes_what_is_kept(library, tagger):
    fill(library)
    library.beet("agfgenre", "-p")
    assert library.log.having("would tag 1 track")
    assert len(tagger.analysed) == 31
    assert not folder(library).exists()
    library.beet("agfgenre", "-W")
    (path,) = kept(library)
    before = path.stat().st_mtime_ns
    tagger.analysed.clear()
    library.beet("modify", "-y", "-M", "-W", "title:d0", "genres=")
    library.beet("agfgenre", "-p", "--explain", "title:d0")
    assert tagger.analysed == ["d0"]
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("why", ["few tracks", "failures"])
def test_too_few_tracks_tell_nothing(library, tagger, why):
    library.configure(prior="library", min_confidence=0.5)
    fill(library, electronic=28)
    if why == "failures":
        for i in range(9):
            tagger.sounds[f"x{i}"] = UnreadableAudioError(f"x{i}.wav cannot be read")
            library.track(f"x{i}", genres=["Jazz"])
    library.beet("agfgenre")
    assert library.get("d0").agf_model == "fake-1"
    assert library.genres("d0") == ["Rock"]
    (line,) = library.log.lines_at("WARNING")  # files that do not match are not reported
    assert TOO_FEW in line
    assert tagger.analysed.count("d0") == (1 if why == "few tracks" else 2)


def test_files_that_fail_are_reported_if_they_matched_and_tried_once(library, tagger):
    fill(library)
    tagger.sounds["x"] = UnreadableAudioError("x.wav cannot be read")
    library.track("x")
    library.beet("agfgenre")
    assert library.log.lines_at("WARNING") == ["WARNING: x.wav cannot be read"]
    assert tagger.analysed.count("x") == 1


@pytest.mark.parametrize("after", [3, 20])
def test_ctrl_c_loses_nothing(library, tagger, after):
    fill(library, electronic=40)
    tagger.interrupt_after = after
    with pytest.raises(SystemExit, match="130"):
        library.beet("agfgenre", "title:d0")
    assert library.log.lines[-1] == "INFO: stopped, run again to continue"
    assert tagger.open == 0
    assert library.genres("d0") == []
    tagger.interrupt_after = None
    library.beet("agfgenre", "title:e0")
    assert sorted(tagger.analysed) == sorted(tagger.sounds)
    assert library.log.having(f"analysing {41 - after} tracks {TOLD}")
    shares = json.loads(kept(library)[0].read_text())["prior"]
    assert shares == pytest.approx(estimated(*[ELECTRONIC] * 40, DOUBTFUL).tolist())


def test_a_run_that_is_killed_loses_the_last_few_tracks_at_most(library, tagger, monkeypatch):
    fill(library, electronic=40)
    tagger.interrupt_after = 2 * database.BATCH_SIZE + 1
    write = library_prior.StoredEstimate.write

    def write_unless_dead(self, path, tagger):
        if len(tagger.analysed) != tagger.interrupt_after:
            write(self, path, tagger)

    monkeypatch.setattr(library_prior.StoredEstimate, "write", write_unless_dead)
    with pytest.raises(SystemExit, match="130"):
        library.beet("agfgenre")
    assert len(json.loads(kept(library)[0].read_text())["predictions"]) == 2 * database.BATCH_SIZE


def test_a_library_that_has_grown_by_half_is_estimated_again(library, tagger):
    fill(library, electronic=39)
    library.beet("agfgenre", "-W", "title:d0")
    first = library.get("d0").agf_model
    tagger.analysed.clear()
    for i in range(19):
        tagger.sounds[f"n{i}"] = ROCK
        library.track(f"n{i}", genres=["Jazz"])
    library.beet("agfgenre", "-W", "-f", "title:d0")
    assert tagger.analysed == []
    library.track("n19", genres=["Jazz"])
    library.beet("agfgenre", "-W", "-f", "title:d0")
    assert sorted(tagger.analysed) == sorted([*(f"n{i}" for i in range(20)), "d0"])
    assert library.get("d0").agf_model.startswith("fake-1+library-")
    assert library.get("d0").agf_model != first


def test_what_was_known_stays_where_nothing_more_can_be_analysed(library, tagger):
    fill(library)
    library.beet("agfgenre", "-W", "title:d0")
    known = library.get("d0").agf_model
    for item in library.lib.items("title::^e"):
        item.remove()
    library.beet("modify", "-y", "-M", "-W", "title:d0", "genres=")
    values = json.loads(kept(library)[0].read_text())
    kept(library)[0].write_text(json.dumps(values | {"tracks": 0}))
    library.beet("agfgenre", "-W", "-f", "title:d0")
    assert library.get("d0").agf_model == known
    assert not library.log.lines_at("WARNING")


DAMAGE = {
    "cut off": lambda values: json.dumps(values)[:-10],
    "empty": lambda values: "",
    "nested": lambda values: "[" * 100_000,
    "a list": lambda values: "[]",
    "another model's": lambda values: values | {"model": "fake-2"},
    "no prior": lambda values: {k: v for k, v in values.items() if k != "prior"},
    "another size": lambda values: values | {"prior": [0.5, 0.5]},
    "no shares": lambda values: values | {"prior": [1, 1, 1, -2]},
    "words": lambda values: values | {"prior": "even"},
    "no tracks": lambda values: values | {"tracks": None},
    "endless": lambda values: values | {"tracks": float("inf")},
    "no predictions": lambda values: values | {"predictions": {}},
    "no such track": lambda values: values | {"predictions": {"x": [1, 0, 0, 0]}},
    "impossible": lambda values: values | {"predictions": {"1": [2, 0, 0, 0]}},
    "not a number": lambda values: values | {"predictions": {"1": [float("nan")] * 4}},
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_kept_is_made_again_when_it_is_damaged(library, tagger, damage):
    fill(library)
    library.beet("agfgenre", "-W", "title:d0")
    (path,) = kept(library)
    whole = path.read_bytes()
    harmed = DAMAGE[damage](json.loads(whole))
    path.write_text(harmed if isinstance(harmed, str) else json.dumps(harmed))
    tagger.analysed.clear()
    library.beet("agfgenre", "-W", "title:d0")
    assert len(tagger.analysed) == 31
    assert path.read_bytes() == whole


def test_each_model_keeps_its_own(library, tagger):
    fill(library)
    for name in ("fake-1", "fake-2", "fake-1", "fake-2"):
        tagger.model_id = name
        library.beet("agfgenre", "-W", "title:d0")
    assert len(kept(library)) == 2
    assert len(library.log.having(TOLD)) == 2


def test_where_it_cannot_be_kept_one_line_says_so(library):
    fill(library)
    folder(library).write_text("in the way")
    with pytest.raises(ui.UserError, match=r"cannot be written .*nothing is changed"):
        library.beet("agfgenre")
    assert library.genres("d0") == []


def test_a_library_in_memory_keeps_nothing(monkeypatch):
    tagger = FakeTagger()
    tagger.prior = LEARNT
    for library in open_library(monkeypatch, tagger):
        library.configure(prior="library")
        fill(library)
        library.beet("agfgenre")
        assert library.get("d0").agf_model.startswith("fake-1+library-")


def test_nothing_is_analysed_where_nothing_matches(library, tagger):
    fill(library)
    library.beet("agfgenre", "title:nothing")
    assert "nothing in the library matches" in library.log.lines_at("INFO")[-1]
    assert tagger.analysed == []


def test_a_model_that_cannot_be_run_is_one_line(library, tagger, monkeypatch):
    def fail(path):
        raise BundleError("the network cannot be run")

    monkeypatch.setattr(tagger, "_result", fail)
    fill(library)
    with pytest.raises(setup.ModelError, match="agfgenre: the network cannot be run"):
        library.beet("agfgenre")


def test_undoing_is_not_disturbed(library):
    fill(library)
    library.beet("agfgenre")
    library.beet("agfgenre", "--undo")
    assert library.genres("d0") == []
    library.beet("agfgenre", "--undo")
    assert library.log.having("there is nothing to restore")
    assert kept(library)


# Imports


def run_import(library):
    place = library.incoming / "new"
    place.mkdir(parents=True)
    silent_wav(place / "d0.wav")
    library.load_plugins()
    session = library.setup_importer(place)
    session.default_choice = importer.Action.APPLY
    stub = AutotagStub(AutotagStub.IDENT).install()
    session.run()
    stub.restore()
    return library.lib.items("added-").get()


def test_imports_take_what_is_kept(library, tagger):
    library.configure(prior="library", auto=True)
    fill(library)
    library.beet("agfgenre", "-W", "title:d0")
    tagger.analysed.clear()
    known = library.get("d0").agf_model
    item = run_import(library)
    assert (item.genres, item.agf_model) == (["Electronic"], known)
    assert tagger.analysed == ["d0"]


def test_imports_do_not_analyse_the_library(library, tagger):
    library.configure(prior="library", auto=True, min_confidence=0.5)
    fill(library, doubtful=0)
    tagger.sounds["d0"] = DOUBTFUL
    item = run_import(library)
    assert (item.genres, item.agf_model) == (["Rock"], "fake-1")
    assert tagger.analysed == ["d0"]
    assert not folder(library).exists()
