"""`beet agfsimilar` on generated music."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from beets import ui
from beets.dbcore.query import InvalidQueryError
from beets.util import displayable_path
from train_library import add, everything

from agf_core.inference.embeddings import EmbeddingStore


@pytest.fixture
def library(training_library):
    return training_library


@pytest.fixture
def music(library):
    """Twelve low and twelve high tracks, two by each artist, all analysed."""
    for i in range(24):
        kind = "LH"[i % 2]
        add(library, f"{kind}{i:02}", "", f"Artist {i // 4} {kind}", i)
    library.beet("agfgenre", "--explain", "-p", "-q")
    return library


def listed(music, capsys, *options):
    capsys.readouterr()
    music.beet("agfsimilar", "-f", "$title", *options)
    return capsys.readouterr().out.split()


def logged(music, text):
    return any(text in line for line in music.log.lines)


def test_what_sounds_alike_is_found_and_nothing_is_changed(music, capsys):
    before = everything(music)
    found = listed(music, capsys, "title:L00", "-n", "11")
    assert len(set(found)) == 11
    assert "L00" not in found
    assert all(title.startswith("L") for title in found[:8])
    assert listed(music, capsys, "title:L00", "-n", "3") == found[:3]
    assert everything(music) == before
    (line,) = listed(music, capsys, "title:L00", "-n", "1", "-f", "$title:$agf_similarity")
    title, similarity = line.split(":")
    assert title == found[0]
    assert 0 < float(similarity) <= 1


def test_a_track_without_a_name_is_listed_by_its_file(music, capsys):
    (nameless,) = music.lib.items("title:H01")
    nameless.update({"title": "", "artist": ""})
    nameless.store()
    capsys.readouterr()
    music.beet("agfsimilar", "title:H03", "-n", "30")
    lines = capsys.readouterr().out.splitlines()
    assert displayable_path(nameless.path) in lines
    assert sum(" - " in line for line in lines) == len(lines) - 1


def test_tracks_of_the_same_artist_are_left_out_on_demand(music, capsys):
    found = listed(music, capsys, "title:L00", "--not-same-artist", "-n", "30")
    assert "L02" not in found
    assert len(found) == 22
    assert logged(music, "only 22 tracks found that can be listed")


def test_a_query_that_matches_everything_leaves_nothing_to_list(music, capsys):
    assert listed(music, capsys, "title::.") == []
    assert logged(music, "besides the tracks of the query none can be listed")


def test_a_recording_is_listed_once(music, capsys):
    add(music, "Lcopy", "", "artist 0 l", 0)
    add(music, "Lother", "", "Artist 5 L", 20)
    for title, new in (("Lcopy", "L00"), ("Lother", "l20")):
        item = music.get(title)
        item.title = new
        item.store()
    music.beet("agfgenre", "--explain", "-p", "-q")
    found = listed(music, capsys, "title:L00", "-n", "30")
    assert "L00" not in found
    assert len([title for title in found if title.casefold() == "l20"]) == 1


def test_a_path_leads_from_one_track_to_the_other(music, capsys):
    found = listed(music, capsys, "title:L00", "--to", "title:H01", "-n", "8")
    assert (found[0], found[-1]) == ("L00", "H01")
    assert len(found) == len(set(found))
    assert 3 <= len(found) <= 8
    lows = [title.startswith("L") for title in found]
    assert lows == sorted(lows, reverse=True)


def test_a_playlist_is_written_whole_and_only_over_its_like(music):
    folder = Path(os.fsdecode(music.lib.directory))
    inside, outside = folder / "lists" / "near.m3u8", folder.parent / "near.m3u8"
    for path in (inside, outside):
        music.beet("agfsimilar", "title:L00", "-n", "3", "--playlist", str(path))
    assert logged(music, f"wrote 3 tracks to {outside}")
    lines = inside.read_text().splitlines()
    assert lines[0] == "#EXTM3U"
    assert [line.startswith("#") for line in lines[2:]] == [True, False] * 3
    for line in lines[3::2]:
        assert not Path(line).is_absolute()
        assert (inside.parent / line).is_file()
    for line in outside.read_text().splitlines()[3::2]:
        assert Path(line).is_absolute()
        assert Path(line).is_file()
    music.beet("agfsimilar", "title:L00", "-n", "2", "--playlist", str(inside))
    assert len(inside.read_text().splitlines()) == 6
    assert [path.name for path in inside.parent.iterdir()] == ["near.m3u8"]
    inside.write_text("#EXTM3U\nmine.mp3\n")
    with pytest.raises(ui.UserError, match="is no playlist of this plugin"):
        music.beet("agfsimilar", "title:L00", "--playlist", str(inside))
    assert inside.read_text() == "#EXTM3U\nmine.mp3\n"
    with pytest.raises(ui.UserError, match="cannot be written"):
        music.beet("agfsimilar", "title:L00", "--playlist", str(inside / "x.m3u8"))


def test_odd_names_do_not_break_a_playlist(music):
    folder = Path(os.fsdecode(music.lib.directory))
    odd = music.get("L04")
    odd.title = "two\nlines \x1b[2J"
    odd.store()
    item = music.get("L02")
    new = folder / "a\nb.wav"
    os.rename(os.fsdecode(item.path), new)
    item.path = os.fsencode(new)
    item.store()
    music.beet("agfgenre", "--explain", "-p", "-q")
    music.beet("agfsimilar", "title:L00", "-n", "30", "--playlist", str(folder / "a.m3u8"))
    assert logged(music, "has a line break in its name")
    playlist = (folder / "a.m3u8").read_text()
    assert "b.wav" not in playlist
    assert "two lines \\x1b[2J" in playlist
    assert len(playlist.splitlines()) == 2 + 2 * 22


def test_a_link_goes_on_pointing_to_the_playlist(music, tmp_path):
    link, target = tmp_path / "link.m3u8", tmp_path / "target.m3u8"
    link.symlink_to(target)
    for count in ("3", "4"):
        music.beet("agfsimilar", "title:L00", "-n", count, "--playlist", str(link))
        assert link.is_symlink()
        assert len(target.read_text().splitlines()) == 2 + 2 * int(count)


def test_tracks_without_names_stand_in_a_playlist_by_their_files(music, tmp_path):
    for item in music.lib.items():
        item.update({"artist": "", "albumartist": " ", "title": " "})
        item.store()
    music.beet("agfsimilar", "id:1", "--playlist", str(tmp_path / "a.m3u8"))
    lines = (tmp_path / "a.m3u8").read_text().splitlines()[2:]
    assert len(lines) == 20
    assert all(re.fullmatch(r"#EXTINF:\d+,[LH]\d\d\.wav", line) for line in lines[::2])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "a query is needed"),
        (["title:Absent"], "title:Absent: nothing matches"),
        (["title:L00", "--to", "title:Absent"], "title:Absent: nothing matches"),
        (["title:L00", "--to", "title:L00"], "both queries lead to the same track"),
        (["title:L00", "-n", "0"], "-n must be 1 or more"),
        (["title:L00", "--to", "title:L02", "-n", "1"], "-n must be 1 or more, and 2"),
        (["title:New"], "title:New: none that matches is analysed"),
    ],
)
def test_what_cannot_be_done_is_one_line(music, arguments, problem):
    add(music, "New", "", "Somebody", 99)
    with pytest.raises(ui.UserError, match=problem):
        music.beet("agfsimilar", *arguments)


def test_an_odd_query_is_one_line(music):
    for query in (["year:x"], ["title:L00", "--to", "year:x"], ["title:L00", "--to", "'"]):
        with pytest.raises((ui.UserError, InvalidQueryError)):
            music.beet("agfsimilar", *query)


def test_a_handful_of_tracks_that_all_sound_the_same_is_enough(library, capsys):
    for title in ("H1", "H2", "H3"):
        add(library, title, "", "", 7)
    library.beet("agfgenre", "--explain", "-p", "-q")
    assert listed(library, capsys, "title:H2") == ["H1", "H3"]
    assert listed(library, capsys, "title:H2", "--to", "title:H3") == ["H2", "H3"]


def test_an_older_model_without_embeddings_is_one_line(music, monkeypatch):
    table = EmbeddingStore.table

    def without(*arguments):
        found = table(*arguments)
        return replace(found, embeddings=found.embeddings[:, :0])

    monkeypatch.setattr(EmbeddingStore, "table", without)
    with pytest.raises(ui.UserError, match="is older than embeddings; use another one"):
        music.beet("agfsimilar", "title:L00")
