"""The paper's experiments from archive to tables, on FMA in miniature and two worker processes."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import miniature_fma
import numpy as np
import pytest
import torch
from distributed import Client, LocalCluster
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agf_core import metrics
from agf_core.bundle import format as bundle_format
from agf_core.features.cache import FeatureCache
from agf_core.features.spectrogram import InputSpec
from agf_core.train import loop
from agf_core.train.amp import has_bfloat16
from agf_core.train.config import TrainConfig
from agf_core.train.dataset import SpectrogramAugmentation
from agf_core.train.export import network_from_bundle
from training import statistics
from training.datasets import fma
from training.datasets.fma_download import unpack
from training.errors import CollectionError, RunError
from training.paper import (
    cases,
    cluster,
    experiment,
    figures,
    groups,
    leak,
    prepare,
    reproduce,
    run,
    submit,
    tables,
)
from training.paper import cli as paper_cli
from training.paper.cases import MTN, STN, Case
from training.recipes import Recipe

TINY = Recipe(
    "tiny",
    width=0.25,
    input=InputSpec(8_000, 256, 512, 32, 0.0, 4_000.0, segment_frames=40, window_hop=160),
    networks=TrainConfig(epochs=6, batch_size=16, validate_every=3),
    transfer=TrainConfig(epochs=8, batch_size=16, validate_every=4),
)
PER_GENRE = {"train": 32, "valid": 10, "test": 10}
N_TRACKS = 4 * sum(PER_GENRE.values())


@pytest.fixture(scope="module")
def scheduler():
    """The address of a scheduler with two worker processes."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address=":0"
    ) as local:
        yield local.scheduler_address


@pytest.fixture(scope="module")
def folder(tmp_path_factory, scheduler):
    """A folder in which everything was done by the commands, one after the other."""
    folder = tmp_path_factory.mktemp("fma")
    archives = miniature_fma.make(folder, per_genre=PER_GENRE)
    unpack(archives.metadata, folder)
    unpack(archives.medium, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(paper_cli.RUN_RECIPES, "tiny", TINY)
        patch.setattr(statistics, "RESAMPLES", 40)
        work = ["--work", folder / "work"]
        tiny, away = ["--recipe", "tiny"], ["--scheduler", scheduler]
        table = folder / "fma-medium.csv"
        call(fma, folder, "--table", table, "--processes", 1)
        call(prepare, "--table", table, *work, *tiny, *away, "--sources", "")
        official = ["--splits", "official"]
        call(groups, *work, *tiny, *official, "--sources", "s", *away)
        everything = ["reproduce", *work, *tiny, "--sources", "gs", "--tables", 4, 5, *away]
        call(reproduce, *everything[1:], *official)
        page = ["--runs", "tiny", *official, "--output", folder / "docs" / "results.md"]
        call(figures, *work, *page)
        call(tables, *work, *page)
        call(leak, *work, *tiny, *official, "--tasks", "gs", "--output", folder / "leak.md")
    return folder


@pytest.fixture
def work(folder, monkeypatch):
    """Where the features and runs are; the recipe has a name."""
    monkeypatch.setitem(paper_cli.RUN_RECIPES, "tiny", TINY)
    return folder / "work"


def call(command, *arguments):
    """Call a command as from a terminal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [command.__name__, *map(str, arguments)])
        command.main()


def complaint(command, *arguments):
    """Call a command that ends with a line."""
    with pytest.raises(SystemExit) as ended:
        call(command, *arguments)
    message = str(ended.value)
    assert "\n" not in message
    return message


def test_some_cases_alone_can_be_trained():
    few = reproduce._cases([3, 4, 5], "gsm", ["gs", "w2"], stn=False)
    assert [case.name for case in few] == ["g", "g+s MTN", "g wSTN2"]
    assert len(reproduce._cases([4], "gsm")) == 7 + 4


def test_all_cases_of_the_tables_are_in_them(folder):
    page = (folder / "docs" / "results.md").read_text()
    assert "## Split official" in page
    assert "40 tracks by 20 artists, part test; seed 0; 6 epochs a task, recipe tiny." in page
    table4 = page.split("### Table 4")[1].split("### Table 5")[0]
    rows = {line.split(" | ")[0].strip("| "): line for line in table4.splitlines()}
    for tasks in ("g", "s", "gs"):
        assert len(re.findall(r"\d\.\d{3} \[", rows[tasks])) == (4 if len(tasks) > 1 else 2)
    assert "0.8891" in rows["g"]  # the paper's
    assert "ged" not in rows
    assert "![Scores" in page
    assert (folder / "docs" / "results" / "official.png").stat().st_size > 5_000
    with (folder / "docs" / "results" / "official.csv").open() as file:
        scores = {(row["case"], row["calibrated"]): row for row in csv.DictReader(file)}
    assert len(scores) == 2 * (3 + 1 + 1)
    assert float(scores["g", "0"]["accuracy"]) > 0.6  # by chance 0.25
    assert float(scores["g", "0"]["accuracy_gain"]) == 0


def test_a_case_leaves_all_there_is_to_know_of_it(folder):
    case = folder / "work" / "runs" / "tiny" / "official" / "seed-0" / "gs-MTN"
    made = json.loads((case / "run.json").read_text())
    assert made["recipe"]["networks"]["epochs"] == 6
    assert (made["seed"], made["case"]["tasks"], made["case"]["shared"]) == (0, "gs", True)
    assert made["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    curves = json.loads((case / "curves.json").read_text())
    assert [entry["epoch"] for entry in curves["gs"]] == [3, 6, 9, 12]
    assert {"loss", "g_log_loss", "s_accuracy"} <= curves["gs"][0].keys()
    assert len(curves["transfer"]) == 2
    shown = EventAccumulator(str(case)).Reload()
    drawn = {
        tag: [(e.step, e.value) for e in shown.Scalars(tag)] for tag in shown.Tags()["scalars"]
    }
    assert len(drawn) == 5 + 1
    for tag, points in drawn.items():
        network, name = tag.split("/")
        noted = [(entry["epoch"], pytest.approx(entry[name])) for entry in curves[network]]
        assert points == noted
    with np.load(case / "predictions.npz") as stored:
        assert stored["probabilities"].shape == (40, 4)
        np.testing.assert_allclose(stored["probabilities"].sum(axis=1), 1, rtol=1e-5)
        assert set(stored["artists"]).isdisjoint(
            miniature_artists(folder, "train") | miniature_artists(folder, "valid")
        )


def miniature_artists(folder, part):
    with (folder / "fma-medium.csv").open() as file:
        return {row["artist"] for row in csv.DictReader(file) if row["split_official"] == part}


def test_what_is_done_is_not_done_again(work, folder, scheduler, capsys):
    call(prepare, "--table", folder / "fma-medium.csv", "--work", work, "--recipe", "tiny",
         "--sources", "", "--scheduler", "tcp://127.0.0.1:1")  # fmt: skip
    call(reproduce, "--work", work, "--recipe", "tiny", "--sources", "gs", "--tables", 4, 5,
         "--splits", "official", "--scheduler", "tcp://127.0.0.1:1")  # fmt: skip
    assert "0 of 5 cases to do" in capsys.readouterr().out


def test_some_of_the_cases(work, capsys):
    arguments = ["--work", work, "--recipe", "tiny", "--sources", "gs", "--splits", "official",
                 "--scheduler", "tcp://127.0.0.1:1"]  # fmt: skip
    call(reproduce, *arguments, "--only", "w2")
    assert "0 of 4 cases to do" in capsys.readouterr().out  # g, s, gs side by side, and wide
    call(reproduce, *arguments, "--only", "gs", "--tables", 4)
    assert "0 of 4 cases to do" in capsys.readouterr().out  # the same, and gs in one network
    with pytest.raises(SystemExit):
        call(reproduce, *arguments, "--only", "gs", "gm", "w3")
    assert "--only gm w3: of these tables and sources there are gs w2" in capsys.readouterr().err


def test_stopped_by_ctrl_c_it_goes_on_and_learns_the_same(work):
    runs = work / "runs" / "stopped"
    arguments = ["--work", work, "--recipe", "tiny", "--runs", "stopped", "--sources", "gs",
                 "--tables", 4, "--splits", "official"]  # fmt: skip
    said = interrupted(arguments, once=runs / "official/seed-0/networks/network-g.safetensors")
    assert re.search(r"progress: http://\S+/status", said)
    assert said.endswith("stopped; what is finished is kept: run the command again to go on\n")
    assert len(list(runs.rglob("scores.json"))) < 4
    call(reproduce, *arguments, "--workers", 1)
    for case in ("g", "s-STN", "gs-STN", "gs-MTN"):
        whole, parts = (
            np.load(work / "runs" / name / "official/seed-0" / case / "predictions.npz")
            for name in ("tiny", "stopped")
        )
        np.testing.assert_allclose(parts["probabilities"], whole["probabilities"], atol=1e-3)


def test_groups_of_an_older_method_are_found_anew(work, tmp_path, capsys):
    for path in work.iterdir():
        if not path.name.startswith("groups"):
            (tmp_path / path.name).symlink_to(path)
    job = groups.GroupsJob(tmp_path, TINY.input, "official", 0, "s")
    now = groups.GroupsJob(work, TINY.input, "official", 0, "s")
    job.path.parent.mkdir(parents=True)
    with np.load(now.path) as stored:  # as it was written when bags were divided by tracks
        np.savez(job.path, **{k: stored[k] for k in stored if k != "method"})
    with pytest.raises(FileNotFoundError):
        job.targets()
    call(groups, "--work", tmp_path, "--recipe", "tiny", "--splits", "official", "--sources", "s",
         "--workers", 1)  # fmt: skip
    np.testing.assert_array_equal(job.targets(), now.targets())


def test_artists_are_shuffled_as_a_control(work, scheduler, capsys, tmp_path):
    call(reproduce, "--work", work, "--recipe", "tiny", "--sources", "gs", "--tables", 4,
         "--splits", "official", "--shuffled", "gs", "--scheduler", scheduler)  # fmt: skip
    assert "1 of 5 cases to do" in capsys.readouterr().out
    true, shuffled = (
        groups.GroupsJob(work, TINY.input, "official", 0, "s", which) for which in (False, True)
    )
    train = prepare.Prepared.open(work, TINY.input).collection.part("official", "train")
    assert (true.targets()[train] != shuffled.targets()[train]).any()
    case = Case("gs", shared=True, shuffled=True)
    folder = run.Setting(work, "tiny", TINY, "official", 0).case_folder(case)
    assert json.loads((folder / "run.json").read_text())["case"]["shuffled"]
    call(tables, "--work", work, "--runs", "tiny", "--splits", "official",
         "--output", tmp_path / "results.md")  # fmt: skip
    control = (tmp_path / "results.md").read_text().split("### Control")[1].split("###")[0]
    rows = [line.strip("| ").split(" | ") for line in control.splitlines() if "gs" in line]
    with_true, with_shuffled, difference = (float(row[2].strip("*").split()[0]) for row in rows)
    assert difference == pytest.approx(with_true - with_shuffled, abs=0.0011)


def interrupted(arguments, *, once):
    """Reproduce from a terminal, and press Ctrl-C when a file is there; return what was said."""
    command = [sys.executable, "-c", FROM_A_TERMINAL, json.dumps(TINY.to_dict()), *arguments]
    process = subprocess.Popen(
        [*map(str, command), "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # as a terminal has it: Ctrl-C reaches the workers, too
    )
    try:
        while not once.exists():
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 1
    return said


FROM_A_TERMINAL = """
import json, signal, sys
from training.paper import cli, reproduce
from training.recipes import Recipe

signal.signal(signal.SIGINT, signal.default_int_handler)  # what is started behind a shell has none
recipe = Recipe.from_dict(json.loads(sys.argv.pop(1)))
cli.RUN_RECIPES[recipe.name] = recipe
reproduce.main()
"""


def test_alone_or_side_by_side_a_case_learns_the_same(work):
    done = work / "runs" / "tiny" / "official" / "seed-0"
    setting = run.Setting(work, "alone", TINY, "official", 0, device="cpu")
    (setting.folder / "networks").mkdir(parents=True)
    for network in (done / "networks").glob("network-?.safetensors"):
        (setting.folder / "networks" / network.name).write_bytes(network.read_bytes())
    run.run(setting, [Case("gs")])
    one, other = (
        np.load(path / "predictions.npz")["probabilities"]
        for path in (setting.case_folder(Case("gs")), done / "gs-STN")
    )
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_submission_has_sixteen_probabilities_for_every_clip(work, folder):
    output = folder / "submission.csv"
    clips = folder / "clips"
    clips.mkdir()
    mp3s = sorted((folder / "fma_medium").glob("*/*.mp3"))[:3]
    for mp3 in mp3s:
        (clips / mp3.name).write_bytes(mp3.read_bytes())
    (clips / "silent.mp3").write_bytes(b"")
    arguments = ["--work", work, "--recipe", "tiny", "--split", "official"]
    call(submit, *arguments, "--tasks", "gs", "--network", "MTN", "--clips", clips,
         "--output", output)  # fmt: skip
    with output.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["file_id"] for row in rows] == sorted([*(mp3.stem for mp3 in mp3s), "silent"])
    assert list(rows[0]) == ["file_id", *submit.CHALLENGE]
    for row in rows:
        assert sum(float(row[genre]) for genre in submit.CHALLENGE) == pytest.approx(1, abs=1e-4)
    assert {float(rows[-1][genre]) for genre in submit.CHALLENGE} == {0, 0.25}
    call(submit, *arguments, "--network", "wSTN", "--wide", 2, "--clips", clips,
         "--output", output)  # fmt: skip
    wide = run.Setting(work, "tiny", TINY, "official", 0).case_folder(Case("g", wide=2))
    assert network_from_bundle(bundle_format.load(wide / "model")).n_classes == {"g": 4}
    message = complaint(submit, *arguments, "--tasks", "gsedm", "--clips", clips,
                        "--output", output)  # fmt: skip
    assert "gsedm-STN is not finished" in message


def test_the_columns_of_a_submission_are_the_genres_of_medium():
    genres = {row["genre_top"] for row in fma.read_splits().values()}
    assert tuple(sorted(genres)) == submit.CHALLENGE


def test_the_leak_is_measured_on_the_same_features(folder, work):
    setting = run.Setting(work, "tiny", TINY, "official", 0, device="cpu")
    predicted, truth, artists = leak.both(setting, [Case("g")])
    honest, leaky = predicted[Case("g")]
    assert (len(truth), len(set(artists))) == (40, 20)
    with np.load(setting.case_folder(Case("g")) / "predictions.npz") as stored:
        np.testing.assert_allclose(honest, stored["probabilities"], atol=1e-3)
    assert metrics.log_loss(leaky, truth) < metrics.log_loss(honest, truth)
    page = (folder / "leak.md").read_text()
    assert "40 tracks by 20 artists, official; seeds 0; recipe tiny; " in page
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| g")]
    assert [row[1] for row in rows[-3:]] == ["not trained on them", "trained on them",
                                             "second less first"]  # fmt: skip


def test_runs_of_one_name_have_one_recipe(work):
    message = complaint(run, "--work", work, "--recipe", "tiny", "--epochs", 7, "--split",
                        "official")  # fmt: skip
    assert "another recipe (networks.epochs was 6 and is 7); give these runs" in message


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (prepare, ["--table", "x.csv"]),
        (groups, ["--splits", "official"]),
        (run, ["--split", "official"]),
        (reproduce, ["--splits", "official"]),
        (leak, ["--splits", "official", "--tasks", "gs", "--output", "x.md"]),
        (submit, ["--split", "official", "--clips", "x", "--output", "x.csv"]),
    ],
)
def test_a_recipe_that_cases_cannot_follow_is_refused(command, arguments, work):
    message = complaint(command, "--work", work, "--recipe", "ours", *arguments)
    assert message.startswith("the paper's cases cannot be trained by the recipe ours, which has")
    for field in ("augmentation",):
        assert field in message
    assert not (work / "runs" / "ours").exists()


@pytest.mark.parametrize("command", [leak, submit])
def test_what_uses_finished_runs_has_their_recipe(command, work, tmp_path):
    """Otherwise networks would be trained anew, or damaged ones complained about."""
    arguments = ["--output", tmp_path / "x", "--epochs", 3]
    if command is leak:
        arguments += ["--splits", "official"]
    else:
        arguments += ["--split", "official", "--clips", tmp_path]
    message = complaint(command, "--work", work, "--recipe", "tiny", "--tasks", "gs", *arguments)
    assert "another recipe (networks.epochs was 6 and is 3); give these runs" in message


def test_the_leak_begins_when_all_is_there_and_goes_on_where_it_was(work, monkeypatch, tmp_path):
    arguments = ["--work", work, "--recipe", "tiny", "--tasks", "sg", "--output", tmp_path / "x.md"]
    monkeypatch.setattr(loop, "fit", lambda *_, **__: pytest.fail("something is trained"))
    message = complaint(leak, *arguments, "--splits", "official", "--seeds", 0, 5)
    assert "seed-5/g is not finished" in message
    monkeypatch.undo()
    monkeypatch.setitem(paper_cli.RUN_RECIPES, "tiny", TINY)
    monkeypatch.setattr(statistics, "RESAMPLES", 40)
    steps = []
    real = loop._train_epoch
    monkeypatch.setattr(loop, "_train_epoch", lambda *a: steps.append(a) or real(*a))
    call(leak, *arguments, "--splits", "official", "official", "--seeds", 0, 0)
    assert not steps  # all was trained for the page of `folder`
    assert (tmp_path / "x.md").read_text() == (work.parent / "leak.md").read_text()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--network", "wSTN", "--tasks", "gs"], "a wSTN is trained on g alone, not on gs"),
        (["--network", "wSTN", "--shuffled"], "g alone has no groups of artists to shuffle"),
        (["--shuffled"], "g alone has no groups of artists to shuffle"),
        (["--network", "MTN", "--tasks", "gs", "--wide", 2], "MTN has one width"),
        (["--tasks", ""], "is not a set of the letters"),
    ],
)
def test_options_that_would_not_be_followed_are_refused(options, line, work):
    arguments = ["--work", work, "--recipe", "tiny", "--split", "official", *options]
    assert line in complaint(run, *arguments)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (run, ["--epochs", 0]),
        (run, ["--epochs", -1]),
        (run, ["--seed", -1]),
        (run, ["--seed", 2**32]),
        (run, ["--device", "cud"]),
        (run, ["--device", "cuda:999"]),
        (groups, ["--seeds", -1]),
        (groups, ["--sources", ""]),
        (reproduce, ["--workers", 0]),
        (reproduce, ["--shuffled", "g"]),
        (reproduce, ["--sources", "e", "--tables", 3, "--without-stn"]),
    ],
)
def test_numbers_and_letters_that_mean_nothing_are_refused(command, options, work, capsys):
    split = "--split" if command is run else "--splits"
    before = sorted(work.iterdir()), sorted((work / "runs").iterdir())
    with pytest.raises(SystemExit) as ended:
        call(command, "--work", work, "--recipe", "tiny", split, "official", *options)
    assert ended.value.code == 2
    assert options[0] in capsys.readouterr().err.splitlines()[-1]
    assert before == (sorted(work.iterdir()), sorted((work / "runs").iterdir()))


@pytest.mark.parametrize("change", [{"augmentation": SpectrogramAugmentation(loudness=1.0)}])
def test_any_field_that_cases_do_not_follow_is_named(change, work):
    recipe = replace(TINY, name="other", **change)
    with pytest.raises(RunError, match=f"other, which has {next(iter(change))}; take"):
        run.run(run.Setting(work, "other", recipe, "official", 0), [Case("g")])


def test_a_run_records_the_recipe_that_was_followed(folder, work):
    seed = folder / "work" / "runs" / "tiny" / "official" / "seed-0"
    for name, tasks, shared in (("g", "g", False), ("gs-STN", "gs", False), ("gs-MTN", "gs", True)):
        recipe = Recipe.from_dict(json.loads((seed / name / "run.json").read_text())["recipe"])
        assert recipe == replace(TINY, tasks=tasks, shared=shared)
    wide = json.loads((seed / "g-wSTN2" / "run.json").read_text())["recipe"]
    assert wide["width"] > 0.25
    able = has_bfloat16(torch.device("cpu"))
    half = replace(TINY, networks=replace(TINY.networks, bfloat16=True))
    opened, _ = run.open_experiment(run.Setting(work, "half", half, "official", 0))
    assert opened.followed(Case("g")).networks.bfloat16 is able


def test_what_is_missing_is_named_with_a_remedy(work, folder, tmp_path):
    arguments = ["--work", work, "--recipe", "tiny", "--split"]
    assert "has no split artists; take one of official" in complaint(run, *arguments, "artists")
    message = complaint(run, *arguments, "official", "--tasks", "gd", "--network", "MTN")
    assert "task d has no groups for split official, seed 0; make them: python -m" in message
    assert "gx is not a set of the letters" in complaint(
        run, *arguments, "official", "--tasks", "gx"
    )
    message = complaint(run, "--work", tmp_path, "--recipe", "tiny", "--split", "official")
    assert "holds no prepared collection" in message
    other = folder / "other.csv"
    other.write_text((folder / "fma-medium.csv").read_text().replace("Techno", "House"))
    message = complaint(prepare, "--table", other, "--work", work, "--recipe", "tiny")
    assert "was prepared from another table" in message
    message = complaint(tables, "--work", work, "--runs", "tiny", "--splits", "random",
                        "--output", tmp_path / "x.md")  # fmt: skip
    assert "has no finished case g" in message
    with pytest.raises(RunError, match="no Dask scheduler answers"):
        connect_to_nobody()


def connect_to_nobody():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "SCHEDULER_TIMEOUT", "10ms")
        with cluster.connect("tcp://127.0.0.1:1", 1):
            pass


def test_a_gpu_without_memory_is_one_line_and_loses_nothing(work, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0")

    before = {path: path.read_bytes() for path in work.rglob("*.json")}
    monkeypatch.setattr(experiment, "train_networks", full)
    common = ["--work", work, "--recipe", "tiny"]
    for what, command, *arguments in (
        ("g wSTN4", run, "--split", "official", "--network", "wSTN", "--wide", 4),
        ("g, g+s STN", leak, "--splits", "official", "--tasks", "gs", "--output", work / "x.md"),
        ("g+s STN", submit, "--split", "official", "--tasks", "gs", "--clips", work,
         "--output", work / "x.csv"),
    ):  # fmt: skip
        message = complaint(command, *common, *arguments)
        assert message.startswith(f"{what}: the GPU has too little memory (CUDA out of memory)")
        assert "with --stream" in message
        message = complaint(command, *common, *arguments, "--stream")
        assert "--stream" not in message  # which would not help
        assert message.endswith("or on one with more memory")
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize(
    ("share", "asked", "streamed"), [(0.39, False, False), (0.41, False, True), (0.39, True, True)]
)
def test_what_a_gpu_has_no_room_for_stays_on_the_disk(work, monkeypatch, share, asked, streamed):
    rows = prepare.Prepared.open(work, TINY.input).spectrograms.rows
    gpu = SimpleNamespace(total_memory=rows.nbytes / share)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: gpu)
    monkeypatch.setattr(run, "SegmentDataset", lambda *_, device, stream: (device, stream))
    rows = run._rows.__wrapped__
    assert rows(work, TINY.input, "cuda:1", asked) == ("cuda:1", streamed)


def test_with_stream_features_stay_on_the_disk_too(work):
    done = work / "runs" / "tiny" / "official" / "seed-0"
    setting = run.Setting(work, "streamed", TINY, "official", 0, device="cpu", stream=True)
    (setting.folder / "networks").mkdir(parents=True)
    for network in (done / "networks").glob("network-?.safetensors"):
        (setting.folder / "networks" / network.name).write_bytes(network.read_bytes())
    opened, _ = run.open_experiment(setting)
    assert opened.features(Case("gs")).rows.dtype == torch.float16
    files = list(setting.folder.rglob("*.npy"))
    assert len(files) == 2
    del opened
    assert not any(path.exists() for path in files)
    run.run(setting, [Case("gs")])
    one, other = (
        np.load(path / "predictions.npz")["probabilities"]
        for path in (setting.case_folder(Case("gs")), done / "gs-STN")
    )
    np.testing.assert_allclose(one, other, atol=0.02)


def test_splits_share_the_rows_of_all_tracks(work):
    settings = [run.Setting(work, "tiny", TINY, s, 0, device="cpu") for s in ("official", "random")]
    one, other = (run.open_experiment(setting)[0].segments for setting in settings)
    assert one.rows.data_ptr() == other.rows.data_ptr()
    assert not torch.equal(one.mean, other.mean)
    prepared = prepare.Prepared.open(work, TINY.input)
    for segments, setting in zip((one, other), settings, strict=True):
        np.testing.assert_array_equal(segments.mean, prepared.normaliser(setting.split)[0])


def test_nothing_of_a_validation_track_reaches_the_targets(scheduler, tmp_path, write_wav):
    rng = np.random.default_rng(0)
    train = [0.1 * np.convolve(rng.normal(size=88_200), np.ones(1 + i)) for i in range(10)]
    targets, normalisers = [], []
    for other in (0.01, 0.5):
        table = tmp_path / f"{other}.csv"
        rows = ["path,artist,album,genre,genres,split"]
        for i, samples in enumerate([*train, other * rng.normal(size=88_200)]):
            write_wav(f"{other}-{i}.wav", samples)
            rows.append(f"{other}-{i}.wav,{i // 2},,Doom,Doom,{'train' if i < 10 else 'valid'}")
        table.write_text("\n".join(rows))
        work = tmp_path / f"work-{other}"
        made = prepare.prepare(table, work, TINY.input, sources="m", scheduler=scheduler)
        job = groups.GroupsJob(work, TINY.input, "given", 0, "m")
        job.make()
        targets.append(job.targets())
        normalisers.append(made.normaliser("given"))
    np.testing.assert_array_equal(targets[0][:10], targets[1][:10])
    assert not np.isnan(targets[0]).any()
    assert (targets[0][10] != targets[1][10]).any()
    np.testing.assert_array_equal(*normalisers)


def test_a_damaged_pack_is_named(work, tmp_path):
    for path in work.iterdir():
        if path.name != "spectrograms":
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "spectrograms").mkdir()
    for path in (work / "spectrograms").glob("*"):
        (tmp_path / "spectrograms" / path.name).write_bytes(path.read_bytes()[:200_000])
    with pytest.raises(CollectionError, match=r"npy is damaged .* run training"):
        prepare.Prepared.open(tmp_path, TINY.input)


def test_a_killed_worker_costs_its_task_a_retry_and_nothing_else(scheduler, tmp_path):
    jobs = [(tmp_path, number) for number in range(12)]
    with Client(scheduler) as client:
        done = {job: error for job, _, error in cluster.each(client, fragile, jobs)}
    assert done == dict.fromkeys(jobs)
    tried = [(tmp_path / f"{number}.txt").read_text().split() for number in range(12)]
    assert [len(tries) for tries in tried] == [2 if number == 5 else 1 for number in range(12)]
    assert tried[5][0] != tried[5][1]  # by another process


def fragile(job):
    """Make a feature as `prepare` does; in the middle of one the process is killed, once."""
    folder, number = job

    def compute():
        note = folder / f"{number}.txt"
        with note.open("a") as file:
            file.write(f"{os.getpid()} ")
        if number == 5 and len(note.read_text().split()) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.full(3, number)

    FeatureCache(folder).get("made", str(number), compute)


def test_the_papers_columns_are_what_it_prints():
    """They differ in the last digits from what its Table 4 gives."""
    paper = tables.read_paper()
    assert paper.table4.keys() == {*STN, *MTN}
    assert paper.table4[Case("gsedm")] == (0.7894, 0.6599)
    assert paper.table3 == {
        ("STN", False): (1.0079, 0.4932),
        ("MTN", False): (0.9618, 0.5168),
        ("STN", True): (0.8540, 0.6154),
        ("MTN", True): (0.8486, 0.6155),
    }
    assert len(paper.table5) == 12
    assert paper.table5["STN", 4] == (0.8211, 0.6352)
    assert paper.table5["STN", 5] == (0.7893, 0.6599)
    assert paper.table5["wSTN", 3] == (0.8546, 0.6629)
    assert paper.best("MTN", 1) == paper.best("STN", 1) == paper.best("wSTN", 1)
    for kind, known in (("STN", STN), ("MTN", MTN)):
        for inside in (False, True):
            mine = [paper.table4[case] for case in known if ("g" in case.tasks) == inside]
            mean = pytest.approx(np.mean(mine, axis=0), abs=1.1e-4)
            assert paper.table3[kind, inside] == mean


def test_tables_3_and_5_show_the_papers_columns_and_how_a_set_is_chosen(folder):
    page = (folder / "docs" / "results.md").read_text()
    table3, table5 = (page.split(f"### Table {n}")[1].split("###")[0].splitlines() for n in (3, 5))
    for row in ("without g | STN,", "with g | MTN,"):
        (line,) = [line for line in table3 if line.startswith(f"| {row}")]
        for cell in ("1.0079", "0.4932") if "without" in row else ("0.8486", "0.6155"):
            assert f"| {cell} |" in line
    (stn,) = [line for line in table5 if line.startswith("| 4 | STN |")]
    assert [cell.strip() for cell in stn.split("|")[4:8:2]] == ["0.8211", "0.6352"]
    assert "chosen on one half of the artists" in " ".join(table5)
    rows = {line[2:9]: line.split("|") for line in table5 if line.startswith("| 2")}
    for kind in ("STN", "MTN"):
        gains = rows[f"2 | {kind}"][-3:-1]
        assert all(re.fullmatch(r" (\*\*)?[+-]\d\.\d{3} \[.*\](\*\*)? ", gain) for gain in gains)
    assert rows["2 | wST"][-3:-1] == ["  ", "  "]


def test_a_line_of_the_figure_begins_at_a_single_task():
    assert figures.drawn("STN", 1) == figures.drawn("MTN", 1) == list(STN[:5])
    assert figures.drawn("wSTN", 1) == [Case("g")]
    assert figures.drawn("MTN", 5) == [Case("gsedm", shared=True)]


def test_names_of_folders_are_plain():
    assert {run.Setting.folder_name(case) for case in
            (*STN[:6], *MTN[:1], cases.WIDE[0], cases.SHUFFLED[0])} == {
        "g", "s-STN", "e-STN", "d-STN", "m-STN", "gs-STN", "gs-MTN", "g-wSTN2",
        "gs-MTN-artists-shuffled"
    }  # fmt: skip
