"""The product tried whole: a beets library of held-out clips without genres, tagged in one run.

    python -m training.studies.trial --table collection.csv \
        --model work/first-0/fold-0/model --fold 0 --tracks 200

Use the model of the same fold: it has not met the artists of these clips.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import mediafile
import numpy as np

from agf_core.data.tracks import Track
from training.cli import one_line_errors
from training.datasets.collection import read_csv


def build_library(
    tracks: Sequence[Track], home: Path, options: str, *, tagged: Collection[str] = ()
) -> dict[str, str]:
    """Copy clips below `home`, import them, and return the environment to run beets in.

    Parameters
    ----------
    options : str
        Of the plugin, as YAML on one line.
    tagged : collection of str
        Track ids of the clips that keep their genres, the main one first.
    """
    music = home / "music"
    music.mkdir()
    for track in tracks:
        copy = music / f"{track.track_id}{track.path.suffix}"
        shutil.copyfile(track.path, copy)
        tags = mediafile.MediaFile(copy)
        tags.genres = (
            list(dict.fromkeys([track.genre, *track.labels])) if track.track_id in tagged else None
        )
        tags.artist, tags.title = track.artist, track.track_id
        tags.save()
    (home / "config.yaml").write_text(
        f"directory: {music}\nlibrary: {home}/library.db\nplugins: agfgenre\n"
        "import: {copy: no, quiet: yes, autotag: no, write: yes}\n"
        f"agfgenre: {options}\n"
    )
    environment = os.environ | {"BEETSDIR": str(home)}
    run_beet(environment, "import", str(music))
    return environment


def run_beet(environment: dict[str, str], *arguments: str) -> str:
    """Run beets and return what it printed."""
    return subprocess.run(
        [sys.executable, "-m", "beets", *arguments],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def report(environment: dict[str, str], home: Path, tracks: list[Track], seconds: float) -> None:
    """Compare what was heard and written with the clips' genres and print it."""
    truth = {track.track_id: track.genre for track in tracks if track.genre}
    listing = run_beet(environment, "ls", "-f", "$title\t$agf_genres\t$genres").splitlines()
    rows = [line.split("\t") for line in listing]
    heard = [(title, best.split("; ")[0], genres) for title, best, genres in rows if best]
    judged = [row for row in heard if row[0] in truth]
    right = np.array([best == truth[title] for title, best, _ in judged])
    written = np.array([bool(genres) for _, _, genres in judged])
    in_file = sum(bool(mediafile.MediaFile(path).genres) for path in (home / "music").iterdir())
    artists = len({track.artist for track in tracks})
    print(f"{len(heard)} clips by {artists} artists not learnt from, {seconds:.1f} s in all")
    print(f"with one main genre: {len(judged)}; the most probable is right: {right.mean():.3f}")
    print(f"of these written: {written.sum()} ({written.mean():.1%}); right: ", end="")
    print(f"{right[written].mean():.3f}" if written.any() else "-")
    print(f"files that now carry a genre: {in_file}")


@one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", type=Path, required=True, help="CSV of the clips")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--fold", type=int, required=True)
    parser.add_argument("--tracks", type=int, default=200)
    arguments = parser.parse_args()
    clips = read_csv(arguments.table).tracks
    in_fold = [track for track in clips if track.fold == arguments.fold]
    # Clips with several main genres fill up the library but are not judged.
    chosen = sorted(in_fold, key=lambda track: not track.genre)[: arguments.tracks]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        environment = build_library(chosen, home, f"{{model: {arguments.model.resolve()}}}")
        start = time.perf_counter()
        print(run_beet(environment, "agfgenre", "-q"), end="")
        report(environment, home, chosen, time.perf_counter() - start)


if __name__ == "__main__":
    main()
