"""What `beet agftrain` trains on, and what it leaves out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from beets import ui
from beets.library import Item
from beets_helpers import open_library
from train_library import add, everything, fill, train

from agf_core.data.tracks import Track
from beetsplug.agfgenre.train import prepare


@pytest.fixture
def library(training_library):
    return training_library


def test_pretending_says_what_would_be_trained_on_and_does_nothing(library, capsys, tmp_path):
    fill(library)
    before = everything(library)
    assert train(library, "-p") == 0
    out = capsys.readouterr().out
    assert "24 tracks, 12 artists" in out
    assert "🎹: 12 tracks by 6 artists (counted as 12 albums)" in out
    assert everything(library) == before
    assert not (tmp_path / "cache").exists()


def no_genres(library):
    fill(library, low="", high="")


def one_genre(library):
    fill(library, low="Doom", high="Doom")


def one_artist(library):
    for i in range(24):
        add(library, f"H{i}", "AB"[i % 2], "Artist", i)


def four_artists(library):
    for i in range(40):
        add(library, f"H{i}", "AB"[i % 2], f"Artist {i // 10}", i)


def fifteen_tracks(library):
    fill(library, 15)


def all_missing(library):
    fill(library)
    for item in library.lib.items():
        os.remove(item.path)


def genres_of_five(library):
    for i in range(300):
        item = Item(title=str(i), artist=f"Artist {i}", genres=[f"Genre {i // 5}"], path=b"/x")
        library.lib.add(item)


def unknown_artists(library):
    for i in range(24):
        add(library, f"H{i}", "AB"[i % 2], "Various Artists", i)


@pytest.mark.parametrize("way", [[], ["--deep"]], ids=["light", "deep"])
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda library: None, "nothing in the library matches"),
        (no_genres, "none of the 24 tracks that have an artist has a genre"),
        (one_genre, "there is only one genre, Doom"),
        (one_artist, "all tracks with a genre are by one artist"),
        (four_artists, "only 4 artists have tracks of these 2 genres, and 5 or more"),
        (fifteen_tracks, "fewer than two genres have enough tracks and artists (🎹: 8 tracks by"),
        (all_missing, "no track could be analysed, see above"),
        (genres_of_five, "(Genre 0: 5 tracks by 5 artists; "),
        (unknown_artists, "no track has an artist"),
    ],
)
def test_libraries_that_cannot_be_trained_on_are_a_sentence_each(library, make, sentence, way):
    make(library)
    before = everything(library)
    assert train(library, *way) == 1
    message = library.log.lines[-1]
    assert message.startswith("agftrain: ")
    assert sentence in message
    assert "\n" not in message
    assert everything(library) == before


def test_genres_that_the_plugin_has_set_are_not_trained_on(library, capsys):
    fill(library)
    library.load_plugins()
    for title, field in (("L1", "agf_set"), ("L3", "agf_genres")):  # L3 has no agf_set
        item = library.get(title)
        item[field] = ["Блюз"]
        item.store()
    train(library, "-p")
    assert "1 track left out: agfgenre has set their genre" in capsys.readouterr().out


def test_tracks_without_genre_are_counted(library, capsys):
    fill(library)
    library.load_plugins()
    library.track("bare")
    train(library, "-p")
    assert "  1 track without a genre\n" in capsys.readouterr().out


def test_only_relevant_tracks_are_analysed():
    tagged = Track("1", Path(), "a", "Rock", ("Rock",))
    same_artist, untagged = Track("2", Path(), "a"), Track("3", Path(), "b")
    set_aside = Track("4", Path(), "c", "", ("Zydeco",))
    tracks = [tagged, same_artist, untagged, set_aside]
    assert prepare.relevant(tracks, "") == [tagged]
    assert prepare.relevant(tracks, "s") == [tagged, same_artist, set_aside]
    for groups in ("m", "sd", "e"):
        assert prepare.relevant(tracks, groups) == tracks


def test_genres_that_no_model_can_hold_are_set_aside_before_learning(library, capsys):
    fill(library)
    long, singer = "x" * 101, "\N{WOMAN}\u200d\N{MICROPHONE}"
    for i in range(12):
        add(library, f"Hlong{i}", long, f"Long {i}", 100 + i)
        add(library, f"Lzwj{i}", singer, f"Singer {i}", 200 + i)
    library.configure(learn_as={singer: "Vocal"})
    train(library, "-p")
    out = capsys.readouterr().out
    assert "12 tracks left out: their genre has more than 100 characters, or invisible ones" in out
    assert "Vocal: 12 tracks by 12 artists" in out


def test_albums_count_once_and_genres_follow_mapping_and_tree(library, capsys, tmp_path):
    (tmp_path / "tree.yaml").write_text("- electronic:\n  - techno\n  - house\n")
    library.configure(
        canonical=str(tmp_path / "tree.yaml"), learn_as={"Shoegaze": "Rock", "Spoken": None}
    )
    for i in range(40):
        add(library, f"H{i}", "techno" if i % 2 else "House", f"Artist {i // 20}", i, album_id=7)
    for i in range(12):
        add(library, f"L{i}", "shoegaze", f"Band {i}", 100 + i)
    add(library, "Lx", "Spoken", "Band", 99)
    train(library, "-p")
    out = capsys.readouterr().out
    assert "Electronic: 40 tracks by 2 artists (counted as 2 albums)" in out
    assert "Rock: 12 tracks by 12 artists (counted as 12 albums)" in out
    assert "1 track left out: whitelist or learn_as excludes their genre" in out


@pytest.fixture
def on_disk(monkeypatch):
    yield from open_library(monkeypatch, None, on_disk=True)


def test_what_would_be_trained_on_is_shown_without_the_training_extra(on_disk, tmp_path):
    """PyTorch is a large thing to install before one knows whether there is enough to learn."""
    fill(on_disk)
    add(on_disk, "Zydeco 1", "Zydeco", "One", 50)
    (tmp_path / "config.yaml").write_text(
        f"plugins: [agfgenre]\nlibrary: {os.fsdecode(on_disk.lib.path)}\n"
    )
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'librosa', 'sklearn']));"
        "from beets.ui import main; main(['agftrain', '-p'])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"BEETSDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert "training on 24 tracks by 12 artists, 2 genres" in answer.stdout
    assert "Zydeco: 1 track by 1 artist, left out (all by one artist)" in answer.stdout


def test_pretending_quietly_says_only_what_is_wrong(library, capsys):
    fill(library)
    capsys.readouterr()
    assert train(library, "-p", "-q") == 0
    assert capsys.readouterr().out == ""
    library.configure(learn_as={"Блюз": None, "🎹": None})
    with pytest.raises(ui.UserError, match="has a genre to train on"):
        library.beet("agftrain", "-p", "-q")
