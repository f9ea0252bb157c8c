"""Situations of the commands that work from stored features: light training, corrections, maps."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mutagen

from tests.stress import analysed, fixes, training, world_training
from tests.stress.situations import POWERLESS, Situations, give_odd_names, size_of, small_disk
from tests.stress.workplace import Workplace, sound
from tests.stress.world_training import small_model, training_place

situation = Situations()

TRACKS = 24
WRONG = TRACKS // analysed.WRONG_EVERY
ACCEPT = "a\n" * WRONG
GARBAGE = b"no music" * 1000


def train(place: Workplace, *arguments: str, **options) -> tuple[int, str]:
    """Run light training; return the exit status and what it says on standard error."""
    return world_training.train(place, *arguments, way=(), **options)


# Light training


@situation
def light_training_full_disk_of_the_cache(place: Workplace) -> None:
    """No room for features: one clear line, and training ends without storing them."""
    with training_place(place) as models:
        place.cache.mkdir(parents=True)
        with small_disk(place.cache, 8 * 1024):
            status, said = train(place)
        assert status == 0, said
        assert said.count("cannot be used (database or disk is full); features are not") == 1, said
        assert training.active(place) != "shipped"
        assert models.exists()


@situation
def light_training_read_only_cache(place: Workplace) -> None:
    """A cache that may not be written: one clear line, and training ends without it."""
    with training_place(place):
        place.cache.mkdir(parents=True)
        place.cache.chmod(0o555)
        status, said = train(place, under=POWERLESS)
        assert status == 0, said
        assert said.count("cannot be used (unable to open database file)") == 1, said
        assert training.active(place) != "shipped"


@situation
def light_training_full_disk_of_the_models(place: Workplace) -> None:
    """No room for the new model: one clear line, and the old one stays."""
    with training_place(place) as models:
        models.mkdir()
        with small_disk(models, 32 * 1024):
            status, said = train(place)
            assert training.active(place) == "shipped"
            assert not training.models_lying_about(place)
        assert status == 1, said
        assert said.count("the model cannot be saved") == 1, said
        assert "No space left on device" in said, said


@situation
def light_training_read_only_models(place: Workplace) -> None:
    """A folder of models that may not be written: one clear line, and the old one stays."""
    with training_place(place) as models:
        models.mkdir()
        models.chmod(0o555)
        status, said = train(place, under=POWERLESS)
        models.chmod(0o755)
        assert status == 1, said
        assert said.count("the model cannot be saved") == 1, said
        assert "Permission denied" in said, said
        assert training.active(place) == "shipped"


@situation
def light_training_two_at_once(place: Workplace) -> None:
    """Two trainings end well, each with a model of its own, one of which is active."""
    with training_place(place):
        names = ("one", "two")
        processes = [place.start("agftrain", "-q", "--name", name) for name in names]
        for process in processes:
            _, said = process.communicate()
            assert process.returncode in (0, 3), said  # 3: the other one's model is as good
            assert "Traceback" not in said, said
        assert training.active(place) in names
        assert analysed.stored(place) == training.TRACKS


@situation
def light_training_hostile_files(place: Workplace) -> None:
    """Odd names, files that are no music, and files that are gone: reported, and left out."""
    training.fill(place)
    give_odd_names(place)
    first, second, third, *_ = sorted(place.in_library())
    first.write_bytes(GARBAGE)
    second.write_bytes(b"")
    third.unlink()
    before = place.in_library(), training.contents(place)
    with small_model(place):
        status, said = train(place)
    assert status == 0, said
    assert said.count("agfgenre: /") == 3, said
    assert training.active(place) != "shipped"
    assert (place.in_library(), training.contents(place)) == before


# Corrections


def wrong_genres(place: Workplace) -> tuple[dict[Path, list[str]], dict[Path, str]]:
    """Fill the library, with some wrong genres; return all genres, and how files sound."""
    analysed.fill(place, TRACKS)
    return place.in_library(), {path: sound(path) for path in place.in_files()}


def whole(place: Workplace, sounds: dict[Path, str]) -> None:
    """Check that files sound as they did, and that nothing lies about."""
    assert {path: sound(path) for path in sounds} == sounds
    assert not place.leftovers(), place.leftovers()


def changed(old: dict[Path, list[str]], new: dict[Path, list[str]]) -> int:
    """Return how many genres are others."""
    return sum(new[path] != genres for path, genres in old.items())


@situation
def fix_read_only_files(place: Workplace) -> None:
    """Files that may not be written are reported and left as they are; the library is corrected."""
    old, sounds = wrong_genres(place)
    for path in old:
        path.chmod(0o444)
    status, said = fixes.fix(place, ACCEPT, under=POWERLESS)
    assert status == 0, said
    assert said.count("cannot be written (Permission denied; allow") == WRONG, said
    assert changed(old, place.in_library()) == WRONG
    assert place.in_files() == old
    whole(place, sounds)


@situation
def fix_read_only_library(place: Workplace) -> None:
    """A library that may not be written is one clear line, before any question."""
    old, sounds = wrong_genres(place)
    place.database.chmod(0o444)
    place.home.chmod(0o555)
    status, said = fixes.fix(place, ACCEPT, under=POWERLESS)
    place.home.chmod(0o755)
    assert status == 1, said
    assert said.count("cannot be written") == 1, said
    assert place.in_library() == place.in_files() == old
    whole(place, sounds)


@situation
def fix_full_disk_of_music(place: Workplace) -> None:
    """Files that need room for a copy are reported, and are what they were."""
    old, sounds = wrong_genres(place)
    for path in old:
        mutagen.File(path).save(padding=lambda _: 0)
    analysed.store_features(place)
    with small_disk(place.music, size_of(place.music) + 20_000):
        status, said = fixes.fix(place, ACCEPT)
        assert status == 0, said
        refused = said.count("cannot be written (No space left on device)")
        assert 0 < refused == WRONG - changed(old, place.in_files()), said
        whole(place, sounds)
    assert changed(old, place.in_library()) == WRONG


@situation
def fix_full_disk_of_the_library(place: Workplace) -> None:
    """No room to note what is replaced: one clear line, and nothing is replaced."""
    old, sounds = wrong_genres(place)
    with small_disk(place.home, size_of(place.home) + 64_000):
        free = os.statvfs(place.home)
        (place.home / "filler").write_bytes(bytes(free.f_bavail * free.f_bsize))
        status, said = fixes.fix(place, ACCEPT)
        assert status == 1, said
        assert said.count("cannot be") == 1, said
        assert place.in_library() == place.in_files() == old
        whole(place, sounds)


@situation
def fix_two_at_once(place: Workplace) -> None:
    """Two corrections of the same tracks end well; together they can be undone."""
    old, sounds = wrong_genres(place)
    with fixes.at_terminal(place, ACCEPT) as one, fixes.at_terminal(place, ACCEPT) as two:
        for process, _ in (one, two):
            _, said = process.communicate()
            assert process.returncode == 0, said
            assert "Traceback" not in said, said
    new = place.in_library()
    assert new == place.in_files()
    assert changed(old, new) == WRONG
    whole(place, sounds)
    for _ in range(2):
        place.beet("agfgenre", "--undo", "-q")
    assert place.in_library() == place.in_files() == old


@situation
def fix_hostile_files(place: Workplace) -> None:
    """Odd names are corrected; files that are gone or no music are reported, others are not."""
    wrong_genres(place)
    give_odd_names(place)
    analysed.store_features(place)
    old, sounds = place.in_library(), {path: sound(path) for path in place.in_files()}
    odd, *others = analysed.wrong(place)
    status = odd.stat()
    odd.write_bytes(GARBAGE[: status.st_size].ljust(status.st_size))
    os.utime(odd, ns=(status.st_atime_ns, status.st_mtime_ns))  # its features are still known
    garbage = odd.read_bytes()
    with fixes.at_terminal(place, "a\n") as (process, answer):
        fixes.wait_for_change(place, process)
        gone = others[-1]
        gone.unlink()
        answer(ACCEPT)
        _, said = process.communicate()
    assert process.returncode == 0, said
    assert "Traceback" not in said, said
    assert said.count("the library is changed, the file is not") == 2, said
    assert changed(old, place.in_library()) == WRONG
    assert odd.read_bytes() == garbage
    for path, samples in sounds.items():
        assert path in (odd, gone) or sound(path) == samples
    assert not place.leftovers(), place.leftovers()


# Maps


def draw(place: Workplace, page: Path, **options) -> tuple[int, str]:
    """Run `beet agfmap`; return the exit status and what it says on standard error."""
    process = place.start("agfmap", "-o", str(page), **options)
    _, said = process.communicate()
    assert "Traceback" not in said, said
    return process.returncode, said


@contextmanager
def drawn(place: Workplace) -> Iterator[Path]:
    """Draw a map of a library in a folder of its own; yield the page."""
    analysed.fill(place, TRACKS)
    page = place.home / "maps" / "map.html"
    page.parent.mkdir()
    assert draw(place, page)[0] == 0
    before = place.in_library(), training.contents(place)
    yield page
    assert (place.in_library(), training.contents(place)) == before


@situation
def map_full_disk(place: Workplace) -> None:
    """No room for the page: one clear line, and the old one stays."""
    with drawn(place) as page:
        old = page.read_bytes()
        with small_disk(page.parent, size_of(page.parent) + 64_000):
            status, said = draw(place, page)
            assert status == 1, said
            assert said.count("cannot be written (No space left on device)") == 1, said
            assert list(page.parent.iterdir()) == [page]
            assert page.read_bytes() == old


@situation
def map_read_only_folder(place: Workplace) -> None:
    """A folder that may not be written: one clear line, and the old page stays."""
    with drawn(place) as page:
        old = page.read_bytes()
        page.parent.chmod(0o555)
        status, said = draw(place, page, under=POWERLESS)
        assert status == 1, said
        assert said.count("cannot be written (Permission denied)") == 1, said
        assert page.read_bytes() == old


@situation
def map_read_only_cache(place: Workplace) -> None:
    """A cache that may not be written: a line that tracks may move, and the same page."""
    with drawn(place) as page:
        old = page.read_bytes()
        for path in sorted(place.cache.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        place.cache.chmod(0o555)
        status, said = draw(place, page, under=POWERLESS)
        assert status == 0, said
        assert page.read_bytes() == old
        process = place.start("agfmap", "--renew", "-o", str(page), under=POWERLESS)
        _, said = process.communicate()
        assert process.returncode == 0, said
        assert said.count("tracks may move in the next map") == 1, said
        assert page.read_bytes() == old


@situation
def map_full_disk_of_the_cache(place: Workplace) -> None:
    """No room for the layout: a line that tracks may move, and the same page."""
    with drawn(place) as page:
        old = page.read_bytes()
        for path in (place.cache / "map").iterdir():
            path.unlink()
        with small_disk(place.cache, size_of(place.cache) + 4096):
            free = os.statvfs(place.cache)
            (place.cache / "filler").write_bytes(bytes(free.f_bavail * free.f_bsize))
            status, said = draw(place, page)
        assert status == 0, said
        assert said.count("tracks may move in the next map") == 1, said
        assert page.read_bytes() == old


@situation
def map_two_at_once(place: Workplace) -> None:
    """Two maps drawn into the same page end well, and the page is whole."""
    with drawn(place) as page:
        old = page.read_bytes()
        processes = [place.start("agfmap", "--renew", "-o", str(page)) for _ in range(2)]
        for process in processes:
            _, said = process.communicate()
            assert process.returncode == 0, said
        assert page.read_bytes() == old
        assert list(page.parent.iterdir()) == [page]


@situation
def map_hostile_files(place: Workplace) -> None:
    """Odd names are shown, and files that are gone are left out with a line."""
    analysed.fill(place, TRACKS)
    give_odd_names(place)
    analysed.store_features(place)
    min(place.in_library()).unlink()
    page = place.home / "map.html"
    status, said = draw(place, page)
    assert status == 0, said
    assert f"1 of {TRACKS} tracks" in said, said
    assert f"a map of {TRACKS - 1} tracks" in said, said
    text = page.read_text(encoding="utf-8")
    assert "new\\\\nline" in text
    assert "caf\\\\xe9" in text
