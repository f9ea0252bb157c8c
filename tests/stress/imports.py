"""Imports music with damaged files among it, `auto: yes`, as `beet import` does in threads.

python -m tests.stress.imports [--files 500] [--damaged 50] [--seed 0]

Twice: once in quiet mode, once with prompts, which are answered (beets finds no matches here, and
asks about every album). Each import must end; every file that beets can read must be in the
library; every intact one must have a genre, in the library; what beets writes to standard output
must be its own, and prompts must be whole.
"""

import argparse
import random
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path

from mediafile import MediaFile, UnreadableFileError

from tests.stress.damage import DAMAGES
from tests.stress.workplace import CLIPS, Workplace, clips, versions, workplace

OPTIONS = """
import: {copy: yes, write: yes, duplicate_action: keep}
threaded: yes
ui: {color: no}
agfgenre: {auto: yes, min_confidence: 0, force: yes}
"""
ALBUM = 10  # tracks
PROMPT = "as Tracks"  # stands in the question about an album


def prepare(incoming: Path, files: int, damaged: int, rng: random.Random) -> tuple[int, set[str]]:
    """Lay out albums; return how many files beets can read, and the titles of the intact ones."""
    sources = clips(CLIPS)
    broken = set(rng.sample(range(files), damaged))
    readable, intact = 0, set()
    for number in range(files):
        source = sources[number % len(sources)]
        path = incoming / f"{number // ALBUM:03}" / f"{number:04}{source.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, path)
        file = MediaFile(path)
        title = f"t{number:04}"
        file.update({"title": title, "artist": "A", "album": f"{number // ALBUM:03}"})
        file.genres = None
        file.save()
        if number in broken:
            other = rng.choice(sources).read_bytes()
            path.write_bytes(rng.choice(DAMAGES)(bytearray(path.read_bytes()), other, rng))
        else:
            intact.add(title)
        with suppress(UnreadableFileError):
            MediaFile(path)
            readable += 1
    return readable, intact


def check(
    place: Workplace, readable: int, intact: set[str], said: str, errors: str
) -> Counter[str]:
    """See that nothing is missing."""
    listed = place.listed("$genres\t$path\t$title")  # of which damaged titles may hold anything
    found = {line.split("\t")[-1]: line.split("\t")[0] for line in listed if "\t" in line}
    files = [path for path in place.music.rglob("*") if path.is_file()]
    assert len(files) == readable, f"{len(files)} files were imported, not {readable}"
    for title in intact:
        assert found.get(title), f"{title} is missing or has no genre"
    counts = Counter({"that beets can read, all in the library": readable})
    assert "agfgenre" not in said, "the plugin writes to standard output"
    assert "\r" not in errors, "the plugin draws over lines"
    assert "Traceback" not in errors, errors
    counts["with genres"] = sum(map(bool, found.values()))
    counts["lines that name a file without"] = errors.count("agfgenre: ")
    return counts


def run(files: int, damaged: int, seed: int = 0) -> dict[str, Counter[str]]:
    """Do both imports; `AssertionError` says what was wrong."""
    results = {}
    for mode in ("quiet", "prompting"):
        with workplace(options=OPTIONS) as place:
            incoming = place.home / "incoming"
            readable, intact = prepare(incoming, files, damaged, random.Random(seed))
            arguments = ["import", *(["-q", "-A"] if mode == "quiet" else []), str(incoming)]
            process = place.start(*arguments, stdin=-1)
            said, errors = process.communicate("U\n" * files)
            assert process.returncode == 0, errors
            if mode == "quiet":
                assert said == "", said
            else:
                assert said.count(PROMPT) >= files // ALBUM, "prompts are missing"
            results[mode] = check(place, readable, intact, said, errors)
    return results


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--damaged", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(versions())
    for mode, counts in run(**vars(arguments)).items():
        print(f"{arguments.files} files, {arguments.damaged} of them damaged, {mode}:")
        for what, count in counts.items():
            print(f"{count:7} {what}")


if __name__ == "__main__":
    main()
