"""The study of fine-tuned models, without any training."""

from pathlib import Path

import pytest

from agf_core.bundle import format as bundle_format
from agf_core.data.tracks import Track
from agf_core.metrics import Score
from training.studies.finetuning import (
    draw,
    main,
    some_of,
    tagged_in_part,
    with_shuffled_artists,
)


@pytest.fixture
def tracks() -> list[Track]:
    """Two tracks by each of forty artists, in five folds."""
    return [Track(f"t{i}", Path(), f"artist {i // 2}", "Rock", fold=i // 2 % 5) for i in range(80)]


@pytest.mark.parametrize(("share", "artists"), [(0.25, 8), (1.0, 32), (0.0, 2)])
def test_a_share_of_the_training_artists_is_tagged(tracks, share, artists):
    order, n_tagged = tagged_in_part(tracks, 1, share, seed=0)
    assert sorted(order) == list(range(80))
    known, rest = ([tracks[i] for i in part] for part in (order[:n_tagged], order[n_tagged:]))
    assert sum(track.fold == 1 for track in known) == 16
    assert len({track.artist for track in known if track.fold != 1}) == artists
    assert not {track.artist for track in known} & {track.artist for track in rest}


def test_more_tagged_artists_are_those_of_before_and_others(tracks):
    def tagged(share: float) -> set[str]:
        order, n_tagged = tagged_in_part(tracks, 0, share, seed=3)
        return {tracks[i].artist for i in order[:n_tagged]}

    assert tagged(0.1) < tagged(0.25) < tagged(0.5)


def test_shuffled_artists_are_those_of_the_other_folds(tracks):
    shuffled = with_shuffled_artists(tracks, 2, seed=0)
    pairs = list(zip(tracks, shuffled, strict=True))
    assert all((a.artist == b.artist) for a, b in pairs if a.fold == 2)
    assert sum(a.artist == b.artist for a, b in pairs if a.fold != 2) < 10
    assert sorted(t.artist for t in tracks) == sorted(t.artist for t in shuffled)
    assert [t.track_id for t in tracks] == [t.track_id for t in shuffled]


def test_a_library_of_some_of_the_artists_has_all_their_tracks(tracks):
    chosen = some_of(tracks, 21, seed=0)
    assert len(chosen) == 22
    assert len({tracks[i].artist for i in chosen}) == 11


def test_the_figure_shows_a_line_for_each_kind_of_groups(tmp_path):
    scores = [Score(0.5, 0.4, 0.6), Score(0.6, 0.5, 0.7)]
    draw([0.1, 0.5], {"none": scores, "m": scores[::-1]}, tmp_path / "f.png")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_a_model_that_was_trained_on_the_library_is_refused(tmp_path, monkeypatch):
    table = tmp_path / "clips.csv"
    table.write_text("path,artist,album,genre,genres,split\na.wav,a,,Rock,Rock,train\n")
    where = ["x", "library", "--table", str(table), "--work"]
    where += [str(tmp_path), "--model"]
    shipped = bundle_format.load()
    (source, *_) = shipped.metadata.trained_on["sources"]
    monkeypatch.setattr("sys.argv", [*where, str(shipped.folder), "--library", source])
    with pytest.raises(SystemExit, match=f"was trained on {source}"):
        main()
    monkeypatch.setattr("sys.argv", [*where, str(shipped.folder), "--library", "another"])
    with pytest.raises(SystemExit, match="no clips of another"):
        main()
    monkeypatch.setattr("sys.argv", [*where, str(tmp_path / "none"), "--library", source])
    with pytest.raises(SystemExit, match="none"):
        main()
