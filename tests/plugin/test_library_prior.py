"""The option `prior`: the class prior of a library, and predictions adjusted to it."""

import json
import os
from contextlib import suppress
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
from beetsplug.agfgenre.tag import library_prior, setup

TRAINED = np.array([0.7, 0.1, 0.1, 0.1])  # of Rock, Electronic, Hip-Hop, Soul-RnB
DOUBTFUL = {"Rock": 0.6, "Electronic": 0.4}


@pytest.fixture
def library(monkeypatch):
    tagger = FakeTagger()
    tagger.prior = TRAINED
    for library in open_library(monkeypatch, tagger, on_disk=True):
        library.configure(prior="library")
        yield library


def fill(library, electronic=30, unsure=1):
    """Add tracks that the user has tagged, and tracks without a genre."""
    for i in range(electronic):
        library.track(f"e{i}", genres=["Electronic"])
    for i in range(unsure):
        library.tagger.sounds[f"d{i}"] = DOUBTFUL
        library.track(f"d{i}")


def folder(library) -> Path:
    return Path(os.fsdecode(library.lib.path) + "-agfgenre")


def kept(library) -> list[Path]:
    return list(folder(library).glob("prior-*"))


def estimated(sounds, tagged, n_others) -> np.ndarray:
    """Return the prior of a library of tracks that sound like this, or have these tags."""
    rows = [[sound.get(label, 0) for label in FakeTagger.labels] for sound in sounds]
    counts = [tagged.count(label) for label in FakeTagger.labels]
    return label_shift.estimate(
        TRAINED, np.array(rows).reshape(len(rows), 4), np.array(counts, float), n_others
    )


def prior_in_use(library):
    return json.loads(kept(library)[0].read_text())["prior"]


ESTIMATES = "to estimate how common each genre is in the library"


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
def test_a_model_that_does_not_state_its_prior_is_used_as_it_is(library, tagger, wanted):
    tagger.prior = None
    library.configure(prior=wanted, min_confidence=0.5)
    fill(library)
    library.beet("agfgenre")
    item = library.get("d0")
    assert (item.agf_confidence, item.agf_model) == (0.6, "fake-1")
    assert tagger.analysed == ["d0"]
    lines = library.log.lines_at("WARNING")  # none of the default
    assert len(lines) == (wanted == "balanced")
    assert all("does not state its training prior, so `prior: balanced` has" in x for x in lines)


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


# The prior of the library


def test_tags_make_the_prior(library, tagger, capsys):
    fill(library)
    library.beet("agfgenre", "-p", "--explain", "title:d0")
    assert "Electronic 0.8" in capsys.readouterr().out
    assert library.log.having("estimated genres of the library: Electronic 5")
    library.beet("agfgenre")
    item = library.get("d0")
    assert item.genres == library.file_genres("d0") == ["Electronic"]
    wanted = estimated([DOUBTFUL], ["Electronic"] * 30, 1)
    assert prior_in_use(library) == pytest.approx(wanted.tolist())
    shares = label_shift.adjust_prior(np.array([0.6, 0.4, 0, 0]), TRAINED, wanted)
    assert item.agf_confidence == pytest.approx(shares.max(), abs=1e-4)
    assert item.agf_model.startswith("fake-1+library-")
    assert set(tagger.analysed) == {"d0"}  # no tagged track


def test_without_tags_predictions_of_the_run_itself_make_it(library, tagger):
    for i in range(40):
        tagger.sounds[f"e{i}"] = ELECTRONIC
        library.track(f"e{i}")
    fill(library, electronic=0)
    library.beet("agfgenre")
    assert sorted(tagger.analysed) == sorted(tagger.sounds)  # each of them once
    assert library.log.having(f"analysing 41 tracks {ESTIMATES}")
    wanted = estimated([ELECTRONIC] * 40 + [DOUBTFUL], [], 41)
    assert prior_in_use(library) == pytest.approx(wanted.tolist())
    assert library.genres("d0") == ["Electronic"]


def test_a_run_analyses_no_track_that_it_does_not_decide_on(library, tagger):
    for i in range(40):
        tagger.sounds[f"e{i}"] = ELECTRONIC
        library.track(f"e{i}")
    fill(library, electronic=0)
    library.beet("agfgenre", "title:d0")
    assert tagger.analysed == ["d0"]
    assert library.get("d0").agf_model == "fake-1"  # the sample of one moves nothing


def test_a_prior_that_is_not_used_is_not_explained(library, capsys):
    fill(library, electronic=0)
    library.beet("agfgenre", "-p", "--explain")
    assert "by sound alone" not in capsys.readouterr().out
    fill(library)
    library.beet("agfgenre", "-p", "--explain", "title:d0")
    out = capsys.readouterr().out
    assert "by sound alone: Rock 0.60, Electronic 0.40" in out
    assert "with the library prior: Electronic 0.8" in out


def test_what_has_been_analysed_before_counts(library, tagger):
    library.configure(prior="shipped")
    for i in range(40):
        tagger.sounds[f"e{i}"] = ELECTRONIC
        library.track(f"e{i}")
    library.beet("agfgenre", "-W")
    fill(library, electronic=0)
    tagger.analysed.clear()
    library.configure(prior="library")
    library.beet("agfgenre", "-W", "title:d0")
    assert tagger.analysed == ["d0"]
    wanted = estimated([ELECTRONIC] * 40 + [DOUBTFUL], [], 41)
    assert prior_in_use(library) == pytest.approx(wanted.tolist())
    assert library.genres("d0") == ["Electronic"]


def test_what_was_analysed_by_this_model_and_is_no_longer_stored_is_not_analysed(library, tagger):
    fill(library, electronic=40)
    library.beet("agfgenre", "-W")
    tagger.remembered.clear()
    tagger.analysed.clear()
    library.beet("agfgenre", "-W", "-f", "title:d0")
    assert tagger.analysed == []


def test_an_estimate_stays_where_stored_features_are_lost(library, tagger):
    for i in range(40):
        tagger.sounds[f"e{i}"] = ELECTRONIC
        library.track(f"e{i}")
    fill(library, electronic=0)
    library.beet("agfgenre", "-W")
    known = library.get("d0").agf_model
    before = kept(library)[0].read_bytes()
    tagger.remembered.clear()
    library.beet("agfgenre", "-W", "-f")
    assert library.get("d0").agf_model == known
    assert kept(library)[0].read_bytes() == before


def test_a_large_library_is_analysed_in_part(library, tagger, monkeypatch):
    monkeypatch.setattr(library_prior, "SAMPLE_TRACKS", 32)
    for i in range(60):
        tagger.sounds[f"e{i}"] = ELECTRONIC
        library.track(f"e{i}")
    library.beet("agfgenre", "-p")
    assert library.log.having(f"analysing 32 tracks {ESTIMATES}")
    drawn = tagger.analysed[:32]
    assert sorted(tagger.analysed) == sorted(tagger.sounds)
    tagger.analysed.clear()
    library.beet("agfgenre", "-p")
    assert tagger.analysed[:32] == drawn


@pytest.mark.parametrize("n", [1, 5, 12])
def test_a_small_library_moves_little(library, tagger, n):
    """With 12 tracks the genre that is predicted of all becomes hardly more common."""
    fill(library, electronic=0, unsure=n)
    library.beet("agfgenre")
    assert {item.genres[0] for item in library.lib.items() if item.genres} <= {"Rock"}
    assert all(0.5 < item.agf_confidence < 0.7 for item in library.lib.items())


def test_a_library_of_one_genre_leaves_others_possible(library, tagger):
    fill(library, electronic=500, unsure=0)
    tagger.sounds["r"] = {"Rock": 0.99, "Electronic": 0.01}
    library.track("r")
    library.beet("agfgenre", "title:r")
    assert library.genres("r") == ["Rock"]


def test_genres_that_the_model_does_not_have_are_no_tags(library, tagger):
    for i in range(40):
        tagger.sounds[f"m{i}"] = ROCK
        library.track(f"m{i}", genres=["Mariachi"])
    fill(library, electronic=2)
    library.beet("agfgenre", "title:d0")
    assert library.get("d0").agf_model == "fake-1"
    assert tagger.analysed == ["d0"]


def test_genres_that_the_plugin_has_set_are_no_tags(library, tagger):
    tagger.prior = np.full(4, 0.25)
    library.configure(prior="shipped", min_confidence=0.5)
    fill(library, electronic=0, unsure=40)
    library.beet("agfgenre")
    library.configure(prior="library")
    tagger.sounds["n"] = DOUBTFUL
    library.track("n")
    library.beet("agfgenre", "title:n")
    wanted = label_shift.estimate(tagger.prior, np.tile([0.6, 0.4, 0, 0], (41, 1)), np.zeros(4), 41)
    assert prior_in_use(library) == pytest.approx(wanted.tolist())


def test_a_fine_tuned_model_has_the_prior_of_the_library_already(library, tagger):
    tagger.fine_tuned = True
    fill(library)
    library.beet("agfgenre")
    assert library.get("d0").agf_model == "fake-1"
    assert not kept(library)


def test_an_estimate_stays_until_the_library_has_changed(library, tagger):
    fill(library, electronic=100)
    library.beet("agfgenre", "-W", "title:d0")
    first = library.get("d0").agf_model
    for i in range(3):
        library.track(f"n{i}", genres=["Rock"])
    library.beet("agfgenre", "-W", "-f", "title:d0")
    assert library.get("d0").agf_model == first
    assert tagger.analysed == ["d0"]
    for i in range(3, 40):
        library.track(f"n{i}", genres=["Rock"])
    library.beet("agfgenre", "-W", "-f", "title:d0")
    assert library.get("d0").agf_model != first
    assert library.get("d0").agf_model.startswith("fake-1+library-")


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
    assert not folder(library).exists()
    library.beet("agfgenre", "-W")
    (path,) = kept(library)
    before = path.stat().st_mtime_ns
    library.beet("agfgenre", "-p", "--explain", "title:d0")
    assert path.stat().st_mtime_ns == before


def test_files_that_fail_are_reported_and_tried_once(library, tagger):
    fill(library)
    tagger.sounds["x"] = UnreadableAudioError("x.wav cannot be read")
    library.track("x")
    library.beet("agfgenre")
    assert library.log.lines_at("WARNING") == ["WARNING: x.wav cannot be read"]
    assert tagger.analysed.count("x") == 1


def test_ctrl_c_changes_nothing(library, tagger):
    fill(library, electronic=0, unsure=40)
    tagger.interrupt_after = 20
    with pytest.raises(SystemExit, match="130"):
        library.beet("agfgenre")
    assert library.log.lines[-1] == "INFO: stopped, run again to continue"
    assert tagger.open == 0
    assert library.genres("d0") == []
    tagger.interrupt_after = None
    library.beet("agfgenre")
    assert library.get("d0").agf_model.startswith("fake-1+library-")


DAMAGE = {
    "cut off": lambda values: json.dumps(values)[:-10],
    "empty": lambda values: "",
    "nested": lambda values: "[" * 100_000,
    "a list": lambda values: "[]",
    "another model's": lambda values: values | {"model": "fake-2"},
    "no prior": lambda values: {k: v for k, v in values.items() if k != "prior"},
    "another size": lambda values: values | {"prior": [0.5, 0.5]},
    "no shares": lambda values: values | {"prior": [1, 1, 1, -2]},
    "not a number": lambda values: values | {"prior": [float("nan")] * 4},
    "nothing known": lambda values: values | {"known": None},
    "words": lambda values: values | {"prior": "even"},
    "a former version's": lambda values: {
        "model": "fake-1",
        "tracks": 31,
        "prior": [0.01, 0.01, 0.01, 0.97],
        "predictions": {"1": [1, 0, 0, 0]},
    },
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_kept_is_made_again_when_it_is_damaged(library, tagger, damage):
    fill(library)
    library.beet("agfgenre", "-W", "title:d0")
    (path,) = kept(library)
    whole = path.read_bytes()
    harmed = DAMAGE[damage](json.loads(whole))
    path.write_text(harmed if isinstance(harmed, str) else json.dumps(harmed))
    library.beet("agfgenre", "-W", "title:d0")
    assert path.read_bytes() == whole


def test_each_model_keeps_its_own(library, tagger):
    fill(library)
    for name in ("fake-1", "fake-2", "fake-1", "fake-2"):
        tagger.model_id = name
        library.beet("agfgenre", "-W", "title:d0")
    assert len(kept(library)) == 2
    assert len(library.log.having("estimated genres of the library")) == 2


def test_where_it_cannot_be_kept_one_line_says_so(library):
    fill(library)
    folder(library).write_text("in the way")
    with suppress(ui.UserError):  # the journal cannot be written either
        library.beet("agfgenre")
    (line,) = library.log.lines_at("WARNING")
    assert "cannot be written" in line
    assert "the next run estimates" in line


def test_a_library_in_memory_keeps_nothing(monkeypatch):
    tagger = FakeTagger()
    tagger.prior = TRAINED
    for library in open_library(monkeypatch, tagger):
        library.configure(prior="library")
        fill(library)
        library.beet("agfgenre")
        assert library.get("d0").agf_model.startswith("fake-1+library-")


def test_nothing_is_analysed_where_nothing_matches(library, tagger):
    fill(library)
    with pytest.raises(ui.UserError, match="nothing in the library matches"):
        library.beet("agfgenre", "title:nothing")
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


@pytest.mark.parametrize("tagged", [0, 30])
def test_imports_analyse_nothing_more(library, tagger, tagged):
    library.configure(prior="library", auto=True, min_confidence=0.5)
    fill(library, electronic=tagged, unsure=0)
    for i in range(40):
        library.track(f"r{i}")
    tagger.sounds["d0"] = DOUBTFUL
    item = run_import(library)
    assert tagger.analysed == ["d0"]
    if not tagged:
        assert (item.genres, item.agf_model) == (["Rock"], "fake-1")
        assert not folder(library).exists()
