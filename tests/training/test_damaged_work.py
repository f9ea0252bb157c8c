"""Folders of work with damaged files, and with features of other tracks than before."""

import errno
import json
import shutil
import sys

import numpy as np
import pytest
from scipy.io import wavfile
from small_recipes import TINY

from agf_core.utils import atomic
from training import markdown, statistics
from training.errors import RunError
from training.paper import cli as paper_cli
from training.paper import groups, prepare, run, submit, tables
from training.paper.cases import Case


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder of work with everything of one case."""
    folder = tmp_path_factory.mktemp("original")
    rng = np.random.default_rng(0)
    rows = ["path,artist,album,genre,genres,split"]
    parts = ["train"] * 8 + ["valid"] * 4 + ["test"] * 4
    for i, part in enumerate(parts):
        write_wav(folder / f"{i}.wav", rng.normal(size=16_000))
        rows.append(f"{i}.wav,artist {i // 2},,{'AB'[i % 2]},{'AB'[i % 2]}; C,{part}")
    (folder / "mine.csv").write_text("\n".join(rows))
    prepare.prepare(folder / "mine.csv", folder / "work", TINY.input, sources="", workers=1)
    groups.GroupsJob(folder / "work", TINY.input, "given", 0, "s").make()
    run.check_runs(folder / "work", "tiny", TINY)
    run.run(setting(folder / "work"), [Case("g")])
    return folder


def write_wav(path, samples):
    """Write a sound of two seconds."""
    wavfile.write(path, 8_000, (3_000 * samples).astype(np.int16))


def setting(work):
    return run.Setting(work, "tiny", TINY, "given", 0, device="cpu")


@pytest.fixture
def folder(original, tmp_path, monkeypatch):
    """A copy that may be damaged."""
    monkeypatch.setitem(paper_cli.RUN_RECIPES, "tiny", TINY)
    copy = tmp_path / "copy"
    shutil.copytree(original, copy)
    return copy


def again(folder):
    """Prepare the same table again."""
    return prepare.prepare(folder / "mine.csv", folder / "work", TINY.input, sources="", workers=1)


def cut(path):
    """Damage a file as a full disk or a power failure does; return it."""
    path.write_bytes(path.read_bytes()[:60])
    return path


def spectrograms(folder, ending):
    (path,) = (folder / "work" / "spectrograms").glob(f"*{ending}")
    return path


@pytest.mark.parametrize("ending", ["0.json", "0.npy"])
@pytest.mark.parametrize("gone", [False, True])
def test_what_is_damaged_of_the_spectrograms_is_made_anew(folder, ending, gone):
    path = spectrograms(folder, ending)
    before = path.read_bytes()
    cut(path)
    if gone:  # as one may do by oneself
        path.unlink()
    assert len(again(folder).spectrograms) == 16
    assert path.read_bytes() == before


def test_a_damaged_normaliser_is_fitted_anew(folder):
    path = spectrograms(folder, ".given.npy")
    before = np.load(path)
    cut(path)
    np.testing.assert_array_equal(again(folder).normaliser("given"), before)


def test_damaged_groups_are_made_anew_or_named(folder):
    job = groups.GroupsJob(folder / "work", TINY.input, "given", 0, "s")
    before, whole = job.targets(), job.path.read_bytes()
    cut(job.path)
    assert not job.made
    groups.make_all([job], None, 1)
    np.testing.assert_array_equal(job.targets(), before)
    spoilt = bytearray(whole)
    place = whole.index(b"targets.npy") + 200
    spoilt[place : place + 8] = b"spoilt!!"
    job.path.write_bytes(spoilt)
    with pytest.raises(RunError, match=r"s\.npz is damaged .*; delete it and run training\.paper"):
        job.targets()


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("prepared.json", "delete it and run the command again"),
        ("runs/tiny/recipe.json", "give these runs another name"),
        ("runs/tiny/given/seed-0/g/scores.json", "delete its folder and run"),
        ("runs/tiny/given/seed-0/g/predictions.npz", "delete its folder and run"),
        ("runs/tiny/given/seed-0/g/mlp.safetensors", "delete its folder and run"),
    ],
)
def test_what_is_damaged_and_cannot_be_made_anew_is_named(folder, name, remedy, monkeypatch):
    damaged = cut(folder / "work" / name)
    work = ["--work", folder / "work"]
    commands = {
        "prepared.json": (prepare, "--table", folder / "mine.csv", *work, "--recipe", "tiny"),
        "predictions.npz": (
            *(tables, *work, "--runs", "tiny", "--splits", "given"),
            *("--output", folder / "x.md"),
        ),
        "mlp.safetensors": (
            *(submit, *work, "--recipe", "tiny", "--split", "given", "--clips", folder),
            *("--output", folder / "x.csv"),
        ),
    }
    other = (run, *work, "--recipe", "tiny", "--split", "given")
    command, *arguments = commands.get(damaged.name, other)
    monkeypatch.setattr(sys, "argv", [command.__name__, *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        command.main()
    message = str(ended.value)
    assert message.startswith(f"{damaged} is damaged (")
    assert remedy in message
    assert "\n" not in message


def test_groups_and_runs_of_other_tracks_are_not_taken_for_theirs(folder, original):
    """A clip that could not be read then can be read now, or the other way round."""
    (folder / "3.wav").write_bytes(b"no sound")
    for path in (folder / "work" / "features").rglob("3.wav.npy"):
        path.unlink()
    before = (folder / "work" / "tracks.csv").read_bytes()
    with pytest.raises(RunError, match=r"groups or runs of the 16 .* now 15 can be read; delete"):
        again(folder)
    assert (folder / "work" / "tracks.csv").read_bytes() == before
    shutil.rmtree(folder / "work" / "runs")
    (derived,) = (folder / "work").glob("groups-*")
    shutil.rmtree(derived)
    normaliser = np.load(spectrograms(folder, ".given.npy"))
    fewer = again(folder)
    assert len(fewer.collection.tracks) == len(fewer.spectrograms) == 15
    assert np.abs(fewer.normaliser("given")[0] - normaliser[0]).max() > 0
    shutil.copy(original / "3.wav", folder / "3.wav")
    (folder / "work" / "runs").mkdir()
    with pytest.raises(RunError, match=r"of the 15 tracks .* now 16 can be read"):
        again(folder)
    known = json.loads(spectrograms(folder, "0.json").read_text())
    assert len(known["track_ids"]) == 15


def test_a_seed_that_is_not_yet_done_in_every_split_does_not_count(folder, monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 5)
    runs = folder / "work" / "runs" / "tiny"
    shutil.copytree(runs / "given", runs / "other")
    shutil.copytree(runs / "given" / "seed-0", runs / "given" / "seed-1")
    assert tables.read_results(folder / "work", "tiny", "given+other").seeds == (0,)
    assert tables.read_results(folder / "work", "tiny", "given").seeds == (0, 1)
    assert tables.read_results(folder / "work", "tiny", "given+given").tracks == 4


def test_a_full_disk_leaves_the_page_as_it_is(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    markdown.write(page, "", "<!-- below -->", ["first\n"])
    page.write_text(f"By a person.\n{page.read_text()}")
    before = page.read_text()

    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        markdown.write(page, "", "<!-- below -->", ["second\n"])
    assert page.read_text() == before
