"""The command that inspects artist groups, on generated clips."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sounds import coloured_noise

from agf_core.groups import lda
from training.studies import inspect_groups

ROOT = Path(__file__).parents[2]


@pytest.fixture
def corpus(tmp_path, write_wav):
    """Forty clips by twenty artists: low noise is Doom, white noise Chiptune, some neither."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(40):
        artist = i // 2
        genre = ("Doom", "Chiptune")[artist % 2]
        write_wav(f"{i}.wav", coloured_noise("L-"[artist % 2], 2 * 44_100, rng))
        genre, labels = ("", "") if artist > 17 else (genre, f"{genre}; {genre}core")
        name = f"artist | {artist}" if artist else "$a_0^b"  # nothing that Markdown or TeX reads
        rows.append((i, f"{i}.wav", name, "", genre, labels, "train"))
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("track_id", "path", "artist", "album", "genre", "genres", "split"))
        writer.writerows(rows)
    return table


def command(corpus, *more):
    folder = corpus.parent
    return ["groups", "--table", str(corpus), "--work", str(folder / "w"),
            "--output", str(folder / "out"), *more]  # fmt: skip


def test_figures_and_a_table_that_say_what_groups_are(corpus, monkeypatch, capsys):
    monkeypatch.setattr(lda, "ARTISTS_PER_GROUP", 5)
    monkeypatch.setattr(sys, "argv", command(corpus, "--sources", "ms"))
    inspect_groups.main()
    out = corpus.parent / "out"
    for source in "ms":
        figure = (out / f"{source}.png").read_bytes()
        assert figure.startswith(b"\x89PNG")
        assert len(figure) < 100_000
    page = (out / "README.md").read_text()
    assert "40 clips by 20 artists" in page
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| m | ")]
    assert rows[0][2:4] == ["20", "4"]
    assert float(rows[0][6].split("%")[0]) > 80  # of the genre, and by chance much less
    assert float(rows[0][6].split("(")[1].split("%")[0]) < 30
    assert "artist 10" in page
    genres = {line.split(" | ")[3].split()[0] for line in page.splitlines() if "a 0 b" in line}
    assert genres == {"Doom"}  # artist 0 is among the most typical of Doom's groups

    noted = page.replace(inspect_groups.MARKER, "They mean something.\n\n" + inspect_groups.MARKER)
    (out / "README.md").write_text(noted)
    inspect_groups.main()
    assert (out / "README.md").read_text() == noted
    assert capsys.readouterr().err.count("descriptors (m)") > 0


def test_without_essentia_a_line_says_what_is_left_out(corpus):
    code = (
        "import sys, runpy; sys.modules['essentia'] = None;"
        "runpy.run_module('training.studies.inspect_groups', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command(corpus, "--sources", "es")[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("task e is left out")
    assert not (corpus.parent / "out" / "e.png").exists()
    assert (corpus.parent / "out" / "s.png").exists()


def test_information_is_all_or_nothing():
    kinds = np.eye(2)[np.arange(200) % 2]
    known, chance = inspect_groups.information(kinds, kinds)
    assert known == pytest.approx(1)
    assert chance < 0.05
    known, chance = inspect_groups.information(np.full((200, 2), 0.5), kinds)
    assert known == pytest.approx(0, abs=1e-9)
    half_known = np.where(np.arange(200)[:, None] < 100, kinds, 0)
    assert inspect_groups.information(kinds, half_known)[0] == pytest.approx(1)
    assert inspect_groups.perplexity(
        np.array([[0.5, 0.5, 0], [1, 0, 0]])
    ).tolist() == pytest.approx([2, 1])


def test_unknown_sources_are_refused(corpus, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", command(corpus, "--sources", "mx"))
    with pytest.raises(SystemExit):
        inspect_groups.main()
    assert "unknown sources: x" in capsys.readouterr().err
