import csv
import sys

import numpy as np
import pytest

from training.studies import neighbours


@pytest.fixture
def table(tmp_path):
    """Two libraries of thirty tracks: three genres, two tracks by each artist."""
    rows = [
        {
            "path": f"{source}/{i}.mp3",
            "track_id": f"{source}-{i}",
            "artist": f"{source} artist {i // 2}",
            "album": "",
            "genre": f"genre {i % 6 // 2}",
            "genres": "",
            "split": "",
            "source": source,
        }
        for source in ("one", "two")
        for i in range(30)
    ]
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path / "table.csv", rows


def features(path, rows, of):
    rng = np.random.default_rng(0)
    values = [3 * of(row) + rng.normal(size=8) for row in rows]
    np.savez(path, track_ids=[row["track_id"] for row in rows], features=values)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["neighbours", *map(str, arguments)])
    neighbours.main()


def test_features_that_tell_genres_find_them_and_noise_does_not(table, tmp_path, monkeypatch):
    path, rows = table
    rng, genre_axes = np.random.default_rng(1), np.eye(8)
    artist_axes = {
        artist: 3 * rng.normal(size=8) for artist in sorted({row["artist"] for row in rows})
    }
    features(tmp_path / "genre.npz", rows, lambda row: 3 * genre_axes[int(row["genre"][-1])])
    features(tmp_path / "artist.npz", rows, lambda row: artist_axes[row["artist"]])
    page = tmp_path / "page.md"
    page.write_text(f"# Mine\n\nA text.\n\n{neighbours.MARKER}\n\nold\n")
    files = [f"{name}={tmp_path / name}.npz" for name in ("genre", "artist")]
    run(
        monkeypatch,
        *("--table", path, "--page", page, "--features", files[0], "--features", files[1]),
    )
    text = page.read_text()
    assert text.startswith("# Mine\n\nA text.\n\n<!--")
    assert "old" not in text
    assert text.count("30 tracks with a genre, by 15 artists.") == 2
    scores = {}
    for line in text.split("## one")[0].splitlines():
        if line.startswith("| ") and "genre, other" not in line:
            name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            scores[name] = [float(cell.split()[0]) for cell in cells]
    assert scores["chance"] == [0.310, 0.286, 0.034]  # 9 of 29, 8 of 28, 1 of 29
    assert scores["genre"][0] > 0.85  # of ten neighbours nine can be right
    assert scores["artist"][2] > 0.95
    assert abs(scores["artist"][1] - 0.286) < 0.1
    assert set(scores) == {"chance"} | {
        name + way for name in ("genre", "artist") for way in neighbours.WAYS
    }


def test_features_of_other_tracks_are_one_line(table, tmp_path, monkeypatch):
    path, _ = table
    np.savez(tmp_path / "other.npz", track_ids=["x"], features=np.zeros((1, 4)))
    with pytest.raises(SystemExit, match="has no features of these tracks"):
        run(
            monkeypatch,
            *("--table", path, "--page", tmp_path / "page.md"),
            *("--features", f"x={tmp_path / 'other.npz'}"),
        )
