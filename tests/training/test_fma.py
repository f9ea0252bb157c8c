"""FMA as a collection, from archives in its exact layout."""

import shutil
import sys
import zipfile

import miniature_fma
import pytest

from training.datasets import fma
from training.datasets.collection import PARTS, read_csv
from training.errors import CollectionError


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    return miniature_fma.make(tmp_path_factory.mktemp("archives"))


@pytest.fixture(scope="module")
def unpacked(miniature, tmp_path_factory):
    root = tmp_path_factory.mktemp("my fma")
    for archive in (miniature.metadata, miniature.medium):
        zipfile.ZipFile(archive).extractall(root)
    return root


@pytest.fixture
def root(unpacked, tmp_path):
    """A copy whose metadata may be spoilt, with links to the clips."""
    shutil.copytree(unpacked / "fma_metadata", tmp_path / "fma_metadata")
    (tmp_path / "fma_medium").symlink_to(unpacked / "fma_medium")
    return tmp_path


def edit(root, name, old, new):
    path = root / "fma_metadata" / name
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode())


def test_all_of_medium_has_genre_and_splits():
    published = fma.read_splits()
    assert len(published) == 25_000
    counts = {
        split: [sum(row[split] == part for row in published.values()) for part in PARTS]
        for split in fma.SPLITS
    }
    assert counts == {
        "official": [19_922, 2_505, 2_573],
        "random": [21_250, 3_750, 0],
        "album": [21_378, 3_622, 0],
        "date": [21_273, 3_727, 0],
    }
    assert len({row["genre_top"] for row in published.values()}) == 16
    assert published["2"] == {
        "genre_top": "Hip-Hop",
        "official": "train",
        "random": "valid",
        "album": "train",
        "date": "train",
    }


def test_medium(unpacked, miniature):
    collection = fma.read(unpacked)
    assert collection.name == "fma-medium"
    assert [*collection.left_out] == ["99134"]
    assert "99134" in collection.left_out["99134"]
    kept = [track_id for track_id in miniature.track_ids if track_id != "99134"]
    assert [track.track_id for track in collection.tracks] == kept
    assert collection.genres == ("Electronic", "Folk", "Hip-Hop", "Rock")
    published = fma.read_splits()
    for i, track in enumerate(collection.tracks):
        assert track.path.is_file()
        assert track.genre == published[track.track_id]["genre_top"]
        for split in fma.SPLITS:
            assert collection.splits[split][i] == published[track.track_id][split]
    first = next(track for track in collection.tracks if track.track_id == "2")
    assert first.path == unpacked / "fma_medium" / "000" / "000002.mp3"
    assert (first.artist, first.album) == ("2000002", "1000002")
    assert collection.artist_names[first.artist] == "Artist 2"
    assert {track.labels for track in collection.tracks if track.genre == "Rock"} == {
        ("Rock",),
        ("Punk", "Rock"),
        ("Noise-Rock", "Loud-Rock", "Rock"),
    }
    assert collection.divided_artists("official") == set()
    assert collection.divided_artists("date")
    assert [len(collection.part("official", part)) for part in PARTS] == [17, 8, 8]


def test_an_artist_of_fma_who_is_various_artists_is_nobody(root):
    edit(root, "tracks.csv", "Artist 2,", "Various Artists,")
    tracks = {track.track_id: track for track in fma.read(root).tracks}
    assert tracks["2"].artist == ""
    assert sum(track.artist == "" for track in tracks.values()) == 1
    assert all(name != "Various Artists" for name in fma.read(root).artist_names.values())


def test_small_is_found_among_the_clips_of_medium(unpacked):
    small, medium = fma.read(unpacked, "small"), fma.read(unpacked)
    assert 0 < len(small.tracks) < len(medium.tracks)
    assert set(small.tracks) < set(medium.tracks)


def test_large_has_tracks_without_top_genre_and_in_the_official_split_alone(root, unpacked):
    (root / "fma_medium").rename(root / "clips")
    shutil.copytree(unpacked / "fma_medium", root / "fma_large")
    for track_id in miniature_fma.OUTSIDE:
        shutil.copy(root / "fma_large/000/000002.mp3", root / f"fma_large/000/{track_id:0>6}.mp3")
    large = fma.read(root, "large")
    outside = [i for i, t in enumerate(large.tracks) if t.track_id in miniature_fma.OUTSIDE]
    assert len(outside) == 3
    for i in outside:
        assert large.tracks[i].genre == ""
        assert large.tracks[i].labels == ("Experimental Pop", "Singer-Songwriter", "Pop", "Folk")
        assert [large.splits[split][i] for split in fma.SPLITS] == ["train", "", "", ""]


def test_full_has_the_tracks_of_large_untrimmed(root, unpacked):
    (root / "fma_medium").rename(root / "clips")
    shutil.copytree(unpacked / "fma_medium", root / "fma_full")
    for track_id in miniature_fma.OUTSIDE:
        shutil.copy(root / "fma_full/000/000002.mp3", root / f"fma_full/000/{track_id:0>6}.mp3")
    full = fma.read(root, "full")
    assert full.name == "fma-full"
    assert {*miniature_fma.OUTSIDE, "99134", "98567"} < {t.track_id for t in full.tracks}
    assert not full.left_out  # what holds no sound as a clip is seen when it is read
    assert full.shortest < fma.SHORTEST_CLIP_SECONDS
    for subset in ("small", "medium", "large"):  # they are clips, which these are not
        with pytest.raises(CollectionError, match=f"fma_{subset} does not exist"):
            fma.read(root, subset)


def test_the_command_names_what_it_leaves_out_and_writes_a_table(
    unpacked, tmp_path, monkeypatch, capsys
):
    root, table = tmp_path / "fma", tmp_path / "medium.csv"
    shutil.copytree(unpacked, root)
    (root / "fma_medium/000/000002.mp3").write_bytes(b"")
    command = ["fma", str(root), "--table", str(table), "--processes", "1"]
    monkeypatch.setattr(sys, "argv", command)
    fma.main()
    assert capsys.readouterr().out.splitlines() == [
        "fma-medium: 31 tracks by 16 artists, 4 main genres",
        "split official: 15 train, 8 valid, 8 test; 0 artists in more than one part",
        "split random: 25 train, 6 valid, 0 test; 6 artists in more than one part",
        "split album: 25 train, 6 valid, 0 test; 2 artists in more than one part",
        "split date: 16 train, 15 valid, 0 test; 7 artists in more than one part",
        "left out: track 99134: its clip holds no sound in FMA as published",
        f"left out: track 2: {root}/fma_medium/000/000002.mp3 is empty;"
        " replace it with an intact copy.",
        f"left out: track 98567: {root}/fma_medium/098/098567.mp3 has only 0.50 s of audio;"
        " at least 1 s is needed.",
    ]
    again, direct = read_csv(table), fma.read(root).without({"2": "empty", "98567": "short"})
    assert again.splits == direct.splits
    assert dict(again.artist_names).items() <= dict(direct.artist_names).items()
    for one, other in zip(again.tracks, direct.tracks, strict=True):
        assert one.path.samefile(other.path)
        assert (one.track_id, one.artist, one.album) == (other.track_id, other.artist, other.album)
        assert (one.genre, one.labels) == (other.genre, other.labels)


def test_nothing_there_yet(tmp_path, unpacked):
    with pytest.raises(CollectionError, match=r"genres.csv does not exist; fetch it: python -m"):
        fma.read(tmp_path)
    shutil.copytree(unpacked / "fma_metadata", tmp_path / "fma_metadata")
    with pytest.raises(CollectionError) as caught:
        fma.read(tmp_path, "small")
    assert str(caught.value) == (
        f"{tmp_path}/fma_small does not exist; fetch it:"
        f" python -m training.datasets.fma_download small --to {tmp_path}"
    )


def test_half_the_clips(unpacked, tmp_path):
    root = tmp_path / "some fma"
    shutil.copytree(unpacked, root)
    for clip in sorted(root.glob("fma_medium/*/*.mp3"))[::2]:
        clip.unlink()
    with pytest.raises(CollectionError) as caught:
        fma.read(root)
    assert str(caught.value) == (
        f"{root}/fma_medium lacks 17 of 34 clips, such as 000/000002.mp3;"
        f" unpack the rest: python -m training.datasets.fma_download medium --to '{root}'"
    )


@pytest.mark.parametrize(
    ("name", "old", "new", "what"),
    [
        ("tracks.csv", "set,set", "set,sat", "it lacks set subset"),
        ("tracks.csv", "training", "learning", "track 2 has a split or genre not known"),
        ("tracks.csv", "Hip-Hop", "Punk", "the top genre of track 2, Punk"),
        ("tracks.csv", "Hip-Hop", "Rock", "track 2 should be Hip-Hop and in train;"),
        ("tracks.csv", ",training,", ",test,", "track 2 should be Hip-Hop and in train;"),
        ("tracks.csv", "large", "medium", "track 20 should not be in medium;"),
        ("tracks.csv", "small", "large", "track 2 should be in medium;"),
        ("tracks.csv", "\n2,", "\n2000,", "track 2000 should not be in medium;"),
        ("tracks.csv", "[21],[21]", "[21],[21", "track 2 has a split or genre not known"),
        ("tracks.csv", "[21],[21]", "[21],[2100]", "track 2 has a split or genre not known"),
        ("tracks.csv", "Title 2\n", "Title 2,1\n", "is not as long as the header"),
        ("genres.csv", "parent", "above", "KeyError: 'parent'"),
        ("genres.csv", "25,9261", "x,9261", "ValueError: .*'x'"),
    ],
)
def test_metadata_of_another_version(root, name, old, new, what):
    edit(root, name, old, new)
    with pytest.raises(CollectionError, match=what) as caught:
        fma.read(root)
    message = str(caught.value)
    assert message.startswith(f"{root}/fma_metadata/{name} is damaged, or of another version")
    assert message.endswith(
        f"fetch it anew: python -m training.datasets.fma_download metadata --to {root}"
    )
    assert "\n" not in message


def test_metadata_that_is_cut_off(root):
    path = root / "fma_metadata" / "tracks.csv"
    lines = path.read_bytes()
    for size in (0, 100, len(lines) // 2):
        path.write_bytes(lines[:size])
        with pytest.raises(CollectionError, match=r"tracks.csv is damaged"):
            fma.read(root)
    path.write_bytes(lines[: lines.index(b"\n26,") + 1])  # at the end of a row
    with pytest.raises(CollectionError, match="clips are not in it, such as"):
        fma.read(root)
