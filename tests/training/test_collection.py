"""Collections, and the CSV by which any of them comes in."""

import errno
from dataclasses import replace
from pathlib import Path

import miniature_fma
import numpy as np
import pytest

from agf_core.audio import container, decode
from agf_core.data.tracks import Track
from agf_core.errors import CorpusError
from training.datasets import folders
from training.datasets.collection import (
    GIVEN,
    Collection,
    check_clip,
    read_csv,
    sift,
    split_by_folds,
    write_csv,
)
from training.errors import CollectionError, RunError

TABLE = """\
path,artist,album,genre,genres,split,split_b,mood
1.wav,anna,first,Doom,Metal; Doom,train,valid,sad
sub/2.wav,anna,,,Metal,valid,train,
"3,ü.wav",bert,,Chiptune,,test,,
4.wav,clara,c,Doom,Doom,,train,
"""


@pytest.fixture
def table(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("1.wav", "sub/2.wav", "3,ü.wav", "4.wav"):
        (tmp_path / name).write_bytes(b"RIFF")
    path = tmp_path / "mine.csv"
    path.write_bytes(("\ufeff" + TABLE.replace("\n", "\r\n")).encode())  # as Excel writes it
    return path


def test_a_csv_is_a_collection(table):
    collection = read_csv(table)
    assert collection.name == "mine"
    assert collection.genres == ("Chiptune", "Doom")
    first, second, third, fourth = collection.tracks
    assert first.path == table.parent / "1.wav"
    assert (first.track_id, first.artist, first.album) == ("1.wav", "anna", "first")
    assert (first.genre, first.labels) == ("Doom", ("Metal", "Doom"))
    assert (second.genre, second.labels, second.album) == ("", ("Metal",), "")
    assert (third.path.name, third.labels) == ("3,ü.wav", ())
    assert fourth.source == "mine"
    assert collection.splits == {
        GIVEN: ("train", "valid", "test", ""),
        "b": ("valid", "train", "", "train"),
    }
    np.testing.assert_array_equal(collection.part("b", "train"), [1, 3])
    assert collection.part("b", "test").shape == (0,)
    assert collection.divided_artists(GIVEN) == {"anna"}


def test_a_table_that_cannot_be_written_is_one_line(table, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CollectionError, match=r"copy.csv cannot be written \(.*\); make"):
        write_csv(read_csv(table), tmp_path / "file" / "copy.csv")


def test_folds_are_splits(tmp_path):
    made = [
        Track(f"t{i}", tmp_path / f"{i}.wav", f"artist {i // 2}", "Rock", fold=i // 2 % 3)
        for i in range(60)
    ]
    made[0] = replace(made[0], genre="", genre_weights=(("Pop", 0.5), ("R&B=Soul", 0.25)))
    table = tmp_path / "folds.csv"
    write_csv(Collection("folds", tuple(made), split_by_folds(made)), table)
    again = read_csv(table)
    assert [t.fold for t in again.tracks] == [t.fold for t in made]
    assert again.tracks[0].genre_weights == made[0].genre_weights
    for fold in range(3):
        split = f"fold{fold}"
        assert again.part(split, "test").tolist() == [i for i in range(60) if i // 2 % 3 == fold]
        assert len(again.part(split, "valid")) == 4  # of two of twenty artists
        assert again.divided_artists(split) == set()
    table.write_text(table.read_text().replace("t7,7.wav,artist 3,", "t7,7.wav,artist 2,"))
    with pytest.raises(CollectionError, match="has the artist artist 2 in several folds; put all"):
        read_csv(table)


def test_tables_of_the_development_corpora_become_a_collection(tmp_path, monkeypatch, capsys):
    head = "track_id,repository,file,artist_key,labels,genre,{}fold\n"
    clips, songs, table = (tmp_path / name for name in ("clips.csv", "songs.csv", "all.csv"))
    clips.write_text(
        head.format("genre_weights,")
        + "".join(f"c{i},me/clips,{i}.mp3,artist {i},Punk; Rock,Rock,Rock=1,{i}\n" for i in (0, 1))
        + "c2,me/clips,2.mp3,artist 2,,,Pop=0.5; Rock=0.5,1\n"
    )
    rows = (
        "s0,you/songs,a/0.mp3,,,Pop,0",
        "s1,you/songs,1.mp3,,,,",
        "s2,you/songs,2.mp3,Ärtist 0,,,1",
    )
    songs.write_text(head.format("") + "\n".join(rows) + "\n")
    options = [str(clips), str(songs), "--audio", str(tmp_path / "music"), "--table", str(table)]
    monkeypatch.setattr("sys.argv", ["folders", *options])
    folders.main()
    assert "all: 6 tracks by 5 artists, 2 main genres" in capsys.readouterr().out
    first, _, third, song, without_fold, accented = read_csv(table).tracks
    assert first.path.resolve() == tmp_path / "music/me/clips/0.mp3"
    assert (first.labels, first.source, first.fold) == (("Punk", "Rock"), "me/clips", 0)
    assert third.genre_weights == (("Pop", 0.5), ("Rock", 0.5))
    assert (song.artist, song.source, song.fold) == ("s0", "you/songs", 0)  # nobody else's
    assert without_fold.fold is None
    assert (accented.artist, accented.fold) == (first.artist, first.fold)
    clips.write_text("a,b\n1,2\n")
    with pytest.raises(SystemExit, match=r"lacks the columns artist_key, file, fold, .*; add them"):
        folders.main()


def test_artists_are_folded_as_in_the_plugin(tmp_path):
    names = ("The Beatles", "Beatles, The", "beatles", "Björk feat. Antony", "Bjork", "VA",
             "Various Artists", "Unknown Artist", "[unknown]")  # fmt: skip
    table = tmp_path / "mine.csv"
    rows = [
        f'{i}.wav,"{name}",,Doom,Doom,{"train" if i % 2 else "test"}'
        for i, name in enumerate(names)
    ]
    table.write_text("\n".join(["path,artist,album,genre,genres,split", *rows]), encoding="utf-8")
    collection = read_csv(table)
    artists = ["beatles"] * 3 + ["bjork"] * 2 + [""] * 4
    assert [track.artist for track in collection.tracks] == artists
    assert collection.divided_artists(GIVEN) == {"beatles", "bjork"}  # nobody is not divided
    assert "9 tracks by 2 artists" in collection.summary()
    write_csv(collection, tmp_path / "again.csv")
    again = read_csv(tmp_path / "again.csv")
    assert [track.artist for track in again.tracks] == artists
    names = {"beatles": "The Beatles", "bjork": "Björk feat. Antony"}
    assert again.artist_names == collection.artist_names == names


def test_an_artist_whose_name_is_no_artists_is_nobody_whatever_the_key(tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text(
        "path,artist,artist_name,album,genre,genres,split\n"
        "1.wav,17,Various Artists,,Doom,Doom,train\n"
        "2.wav,18,Unknown,,Doom,Doom,train\n"
        "3.wav,19,Can,,Doom,Doom,train\n"
        "4.wav,20,,,Doom,Doom,train\n"
    )
    collection = read_csv(table)
    assert [track.artist for track in collection.tracks] == ["", "", "19", "20"]
    assert collection.artist_names == {"19": "Can"}


def test_tracks_of_nobody_do_not_all_go_to_one_side():
    tracks = [
        Track(
            str(i), Path(f"{i}.wav"), artist="" if i % 2 else f"a{i}", genre="Doom", fold=i // 2 % 2
        )
        for i in range(400)
    ]
    for parts in split_by_folds(tracks).values():
        share = parts.count("valid") / (parts.count("valid") + parts.count("train"))
        assert 0.05 < share < 0.15


def test_nobody_may_be_in_several_folds(tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text(
        "path,artist,album,genre,genres,split_fold0,split_fold1\n"
        "1.wav,Various Artists,,Doom,Doom,test,train\n"
        "2.wav,VA,,Doom,Doom,train,test\n"
    )
    assert [track.fold for track in read_csv(table).tracks] == [0, 1]
    table.write_text(table.read_text().replace("Various Artists", "ABBA").replace("VA", "Abba"))
    with pytest.raises(CollectionError, match="has the artist abba in several folds"):
        read_csv(table)


def test_tracks_go_with_their_parts_and_the_reason_stays(table):
    less = read_csv(table).without({"sub/2.wav": "hums"})
    assert [track.artist for track in less.tracks] == ["anna", "bert", "clara"]
    assert less.splits["b"] == ("valid", "", "train")
    assert less.without({"4.wav": "buzzes"}).left_out == {"sub/2.wav": "hums", "4.wav": "buzzes"}
    assert less.summary().splitlines() == [
        "mine: 3 tracks by 3 artists, 2 main genres",
        "split given: 1 train, 0 valid, 1 test; 0 artists in more than one part",
        "split b: 1 train, 1 valid, 0 test; 0 artists in more than one part",
        "left out: hums",
    ]


def test_what_is_written_is_read_again(table, tmp_path):
    collection = read_csv(table)
    copy = tmp_path / "sub" / "mine.csv"
    write_csv(collection, copy)
    assert "../1.wav" in copy.read_text(encoding="utf-8")
    again = read_csv(copy)
    assert again.splits == collection.splits
    for one, other in zip(again.tracks, collection.tracks, strict=True):
        assert one.path.samefile(other.path)
        assert (one.track_id, one.artist, one.album) == (other.track_id, other.artist, other.album)
        assert (one.genre, one.labels) == (other.genre, other.labels)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("artist,album,", "artists,records,", "{} lacks the columns artist, album; add them."),
        ("split,split_b", "side,side_b", "{} lacks the columns split; add them."),
        (TABLE, "", "{} lacks the columns path, artist, album, genre, genres, split; add them."),
        (TABLE.split("\n", 1)[1], "", "{} has no tracks; add a row for each."),
        ("bert", "", "{}, line 4 has no artist; give one."),
        ("1.wav", "", "{}, line 2 has no path; give one."),
        (",train,valid", ",training,valid", "{}, line 2 has 'training' as split; write one of"),
        (",train,valid", ",train,x", "{}, line 2 has 'x' as split_b; write one of train, valid,"),
        (",sad", ",sad,sad", "{}, line 2 has not as many cells as there are columns."),
        (",sad", "", "{}, line 2 has not as many cells as there are columns."),
        ("4.wav", "1.wav", "{} has 1.wav more than once; take the others out."),
        ("4.wav", "5.wav", "{} names 1 files (of 4) that do not exist, such as "),
        ('"3,ü', '"3,\udcff', "{} is not a CSV in UTF-8 ("),
        ('ü.wav"', 'ü.wav"x', "{} is not a CSV in UTF-8 ("),
    ],
)
def test_a_table_that_will_not_do(table, old, new, message):
    assert old in TABLE
    text = TABLE.replace(old, new, 1)
    table.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(CollectionError) as caught:
        read_csv(table, audio_needed=True)
    assert str(caught.value).startswith(message.format(table))
    assert "\n" not in str(caught.value)


def test_no_such_table_split_or_part(table, tmp_path):
    with pytest.raises(CollectionError, match=r"none.csv does not exist; give the path of a CSV"):
        read_csv(tmp_path / "none.csv")
    collection = read_csv(table)
    with pytest.raises(CollectionError, match="mine has no split official; take one of given, b"):
        collection.part("official", "train")
    with pytest.raises(ValueError, match="training is none of train, valid, test"):
        collection.part("b", "training")


def test_short_and_damaged_clips(tmp_path):
    path = tmp_path / "clip.mp3"
    clip = miniature_fma.mp3(0, "Rock", 1, 30)
    path.write_bytes(clip)
    check_clip(29.0, ("1", path))
    check_clip(1.0, ("1", path))
    path.write_bytes(clip[: len(clip) // 3])
    with pytest.raises(decode.AudioTooShortError, match=r"clip.mp3 has only 1\d.\d s .* 29 s is"):
        check_clip(29.0, ("1", path))
    check_clip(1.0, ("1", path))
    path.write_bytes(b"no audio")
    with pytest.raises(decode.UnreadableAudioError, match=r"clip.mp3"):
        check_clip(1.0, ("1", path))


def test_clips_that_cannot_be_reached_are_not_left_out(tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    tracks = [Track(name, tmp_path / name, "a") for name in ("bad.wav", "gone.wav")]
    left = sift(Collection("c", tuple(tracks[:1]), {}), processes=1)
    assert not left.tracks
    assert "bad.wav is not audio" in left.left_out["bad.wav"]
    with pytest.raises(RunError, match=r"gone\.wav does not exist\. What is finished is kept"):
        sift(Collection("c", tuple(tracks), {}), processes=1)
    with pytest.raises(RunError, match="TypeError"):
        check_clip("29", ("bad.wav", tmp_path / "bad.wav"))


def test_music_that_cannot_be_reached_is_not_left_out(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "bad.wav").write_bytes(b"no audio")
    with pytest.raises(CorpusError, match="has no music"):
        folders.read_folder(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(container, "_File", Forbidden)
        with pytest.raises(RunError, match="may not be read by you"):
            folders.read_folder(tmp_path)


class Forbidden(container._File):
    """A file that may not be opened."""

    def __init__(self, path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))
