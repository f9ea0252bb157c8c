"""`beet agfmap`: what the page has of a library, and where it is written."""

import errno
import json
import os
import re

import numpy as np
import pytest
from beets import ui
from beets_helpers import summary
from train_library import add, fill

from agf_core.inference import layout as layouts
from beetsplug.agfgenre.map.points import MapTracks, columns


@pytest.fixture
def library(training_library):
    return training_library


NASTY = "</script><img src=x onerror=alert(1)>&\n\u202eevil\u2029 \x07"


@pytest.fixture
def home(library, tmp_path, monkeypatch):
    """A current folder of its own."""
    monkeypatch.setattr("beetsplug.agfgenre.map.layout.cache_folder", lambda: tmp_path / "cache")
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def analyse(library):
    library.beet("agfgenre", "--explain", "-p")


def data_of(path) -> dict:
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def places(data) -> dict[int, tuple[int, int]]:
    return dict(zip(data["ids"], zip(data["x"], data["y"], strict=True), strict=True))


def test_the_map_has_every_analysed_track(library, home):
    fill(library, 8)
    analyse(library)
    add(library, "Lnew", "Jazz", "Somebody", 99)
    library.beet("agfmap")
    data = data_of(home / "agfmap.html")
    assert sorted(data["title"]) == ["H0", "H2", "H4", "H6", "L1", "L3", "L5", "L7"]
    assert data["genres"] == ["🎹", "Блюз"] or data["genres"] == ["Блюз", "🎹"]
    assert set(data["labels"]) == {"Chiptune", "Doom"}
    assert "map of 8 tracks" in summary(library).lower()
    assert library.log.having("not analysed yet and left out: 1 of 9 tracks")


def test_a_query_shows_its_tracks_where_they_are_in_the_whole_map(library, home):
    fill(library, 8)
    analyse(library)
    library.beet("agfmap", "-o", "whole.html")
    library.beet("agfmap", "-o", "part.html", "title::^L")
    whole, part = data_of(home / "whole.html"), data_of(home / "part.html")
    assert sorted(part["title"]) == ["L1", "L3", "L5", "L7"]
    # Each page scales its positions: distances keep their proportions.
    ids = part["ids"]
    shapes = [
        np.linalg.norm(p - np.roll(p, 1, axis=0), axis=1)
        for p in (np.array([places(d)[i] for i in ids], float) for d in (whole, part))
    ]
    np.testing.assert_allclose(shapes[0] / shapes[0].sum(), shapes[1] / shapes[1].sum(), atol=2e-3)


def test_the_map_of_a_query_does_not_replace_that_of_the_library(library, home):
    fill(library, 8)
    analyse(library)
    library.beet("agfmap")
    library.beet("agfmap", "title::^L")
    assert len(data_of(home / "agfmap.html")["ids"]) == 8
    assert len(data_of(home / "agfmap-query.html")["ids"]) == 4


def test_a_new_track_moves_no_other(library, home, tmp_path):
    fill(library, 8)
    analyse(library)
    library.beet("agfmap")
    (stored,) = (tmp_path / "cache" / "map").iterdir()
    before = np.load(stored, allow_pickle=False)
    add(library, "Lnew", "", "Somebody", 99)
    analyse(library)
    library.beet("agfmap")
    after = np.load(stored, allow_pickle=False)
    assert len(after) == len(before) + 1
    assert np.isin(before, after).all()
    library.beet("agfmap", "--renew")
    assert np.load(stored, allow_pickle=False)["fitted"].all()


def test_names_cannot_break_the_page(library, home):
    fill(library, 4)
    add(library, "Lx", NASTY, NASTY, 99)
    item = library.get("Lx")
    item.update({"title": NASTY})
    item.store()
    analyse(library)
    library.beet("agfmap")
    text = (home / "agfmap.html").read_text(encoding="utf-8")
    assert text.count("</script>") == 3
    assert "onerror=alert" not in text.replace("\\u003cimg src=x onerror=alert(1)\\u003e", "")
    shown = "</script><img src=x onerror=alert(1)>&\\n\\u202eevil\\u2029 \\x07"
    data = data_of(home / "agfmap.html")
    assert shown in data["title"]
    assert shown in data["artists"]


def test_an_untitled_track_has_the_name_of_its_file(library, home):
    fill(library, 2)
    item = add(library, "Lfile", "", "", 99)
    item.update({"title": ""})
    item.store()
    analyse(library)
    library.beet("agfmap")
    data = data_of(home / "agfmap.html")
    assert "Lfile.wav" in data["title"]
    assert "?" in data["artists"]


@pytest.mark.parametrize("n", [1, 3])
def test_few_tracks_are_a_map(library, home, n):
    fill(library, n)
    analyse(library)
    library.beet("agfmap")
    assert len(data_of(home / "agfmap.html")["ids"]) == n


def test_without_embeddings_the_way_to_them_is_told(library, home):
    fill(library, 3)
    with pytest.raises(ui.UserError, match=r"none is analysed yet; `beet agfgenre --explain -p`"):
        library.beet("agfmap")
    with pytest.raises(ui.UserError, match="nothing in the library matches"):
        library.beet("agfmap", "title:none")
    analyse(library)
    add(library, "Lnew", "", "Somebody", 99)
    with pytest.raises(ui.UserError, match="none of the tracks that match is analysed"):
        library.beet("agfmap", "title:Lnew")
    assert not list(home.iterdir())


def test_only_maps_are_replaced_unless_asked(library, home):
    fill(library, 3)
    analyse(library)
    target = home / "agfmap.html"
    target.write_text("mine")
    with pytest.raises(ui.UserError, match="exists and is no map"):
        library.beet("agfmap")
    assert target.read_text() == "mine"
    library.beet("agfmap", "--force")
    first = target.read_text(encoding="utf-8")
    library.beet("agfmap")
    assert target.read_text(encoding="utf-8") == first
    assert [file.name for file in home.iterdir()] == ["agfmap.html"]


def test_a_link_goes_on_pointing_to_the_page(library, home, tmp_path):
    fill(library, 3)
    analyse(library)
    target = tmp_path / "elsewhere.html"
    (home / "agfmap.html").symlink_to(target)
    for _ in range(2):
        library.beet("agfmap")
        assert (home / "agfmap.html").is_symlink()
        assert len(data_of(target)["title"]) == 3


def test_places_that_cannot_be_written_are_named(library, home):
    fill(library, 3)
    analyse(library)
    (home / "folder").mkdir()
    with pytest.raises(ui.UserError, match="folder is a folder"):
        library.beet("agfmap", "-o", "folder")
    with pytest.raises(ui.UserError, match="there is no folder"):
        library.beet("agfmap", "-o", "nowhere/map.html")


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_what_cannot_be_written_leaves_the_old_page(library, home, monkeypatch, error):
    fill(library, 3)
    analyse(library)
    library.beet("agfmap")
    before = (home / "agfmap.html").read_bytes()

    def refuse(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr("agf_core.utils.atomic.replace", refuse)
    with pytest.raises(ui.UserError, match=rf"agfmap.html cannot be written .{os.strerror(error)}"):
        library.beet("agfmap")
    assert [file.name for file in home.iterdir()] == ["agfmap.html"]
    assert (home / "agfmap.html").read_bytes() == before


def test_an_interrupt_ends_the_command_and_writes_nothing(library, home, monkeypatch):
    fill(library, 3)
    analyse(library)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(layouts, "lay_out", interrupted)
    with pytest.raises(SystemExit) as stop:
        library.beet("agfmap")
    assert stop.value.code == 130
    assert not list(home.iterdir())


def test_without_opentsne_a_line_tells_what_to_install(library, home, monkeypatch):
    fill(library, 24)
    analyse(library)
    monkeypatch.setattr(layouts, "method", lambda: "pca")
    library.beet("agfmap")
    assert library.log.having("pip install 'beets-agf[map]'")
    assert len(data_of(home / "agfmap.html")["ids"]) == 24


def test_a_page_opens_in_the_browser(library, home, monkeypatch):
    fill(library, 3)
    analyse(library)
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    library.beet("agfmap", "--open")
    assert opened == [(home / "agfmap.html").as_uri()]


def test_suspects_are_those_of_the_audit(library, home):
    fill(library, 48, "Doom", "Chiptune")
    wrong = add(library, "Lwrong", "Chiptune", "Somebody", 99)
    analyse(library)
    library.beet("agfmap")
    data = data_of(home / "agfmap.html")
    assert [data["ids"][i] for i in data["suspects"]] == [wrong.id]
    assert data["suggested"] == ["Doom"]
    library.beet("agfmap", "title::^H")
    assert data_of(home / "agfmap-query.html")["suspects"] == []


class Names:
    """A vocabulary that takes genres as they are."""

    def genres_of(self, genres):
        return list(genres)


def checked(n: int, own, probabilities) -> MapTracks:
    values = [
        {"id": i, "artist": "A", "albumartist": "", "title": str(i), "path": b"/x", "genres": []}
        for i in range(n)
    ]
    zeros = np.zeros((n, 0), np.float32)
    return MapTracks(
        values, np.zeros((n, 2)), ("a", "b"), np.array(probabilities), (), zeros, np.array(own), {}
    )


def test_tracks_in_one_place_are_spread():
    data = columns(checked(30, [0] * 30, [[1.0, 0.0]] * 30), Names())
    assert len(set(zip(data["x"], data["y"], strict=True))) == 30


def test_one_genre_is_one_colour_whatever_its_case_and_unicode_form():
    tracks = checked(4, [0] * 4, [[1.0, 0.0]] * 4)
    names = ["Yé-yé", "Ye\u0301-ye\u0301", "YÉ-YÉ", "Pop"]
    for value, name in zip(tracks.values, names, strict=True):
        value["genres"] = [name]
    data = columns(tracks, Names())
    assert (data["genres"], data["genre"]) == (["Yé-yé", "Pop"], [0, 0, 0, 1])
    assert (data["tagNames"], data["tags"]) == (["Yé-yé", "Pop"], [0, 0, 0, 1])
