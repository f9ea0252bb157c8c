"""`beet agftrain` and `beet agfmodels`, on generated music and a tiny base model."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from beets import ui
from train_library import PLAN, add, everything, fill, models, train

from agf_core.bundle import format as bundle_format
from agf_core.features import descriptors
from agf_core.inference.tagger import GenreTagger
from beetsplug.agfgenre.train import prepare, workspace


@pytest.fixture
def library(training_library):
    return training_library


def test_a_model_is_trained_on_a_library_and_agfgenre_uses_it(library, capsys):
    fill(library, 40)
    add(library, "Hnew", "", "Somebody New", 1000)
    add(library, "Lnew", "", "Somebody Else", 1001)
    add(library, "Hodd", "Zydeco", "Clifton", 1002)
    before = {p: c for p, c in everything(library).items() if p.endswith(".wav")}
    assert train(library, "--deep", "--name", "mine") == 0
    report = capsys.readouterr().out
    assert "Блюз: 20 tracks by 10 artists" in report
    assert "Zydeco: 1 track by 1 artist, left out" in report
    assert library.log.having("mine is better and is used from now on")
    after = everything(library)
    assert {p: c for p, c in after.items() if p.endswith(".wav")} == before

    folder = models(library) / "models" / "mine"
    stored = json.loads((folder / "report.json").read_text())
    assert stored["overall"]["this model"]["accuracy"][0] > 0.9
    assert (stored["tracks"], stored["artists"], stored["folds"]) == (40, 20, 3)
    assert stored["genres"]["🎹"]["recall"] > 0.9
    assert np.sum(stored["confusion"]) == 40
    assert "Блюз" in (folder / "report.html").read_text()
    model = bundle_format.load(folder)
    assert model.metadata.labels == ("Блюз", "🎹")
    assert model.metadata.tasks["s"] == 2
    assert model.metadata.prior.tolist() == [0.5, 0.5]

    library.configure(min_confidence=0)
    library.beet("agfgenre", "-W", "title::new")
    assert library.genres("Lnew") == ["Блюз"]
    assert library.genres("Hnew") == ["🎹"]
    assert library.get("Hnew").agf_model == model.model_id

    # Listed; given back and taken again; broken; removed.
    capsys.readouterr()
    library.beet("agfmodels")
    listing = capsys.readouterr().out.splitlines()
    assert listing[1].split() == ["shipped", "2"]
    assert listing[2].startswith("*  mine")
    assert "40" in listing[2]
    library.beet("agfmodels", "show", "mine")
    shown = capsys.readouterr().out
    assert (
        "40 tracks by 20 artists, each predicted by a model trained without its artist (3 folds"
        in shown
    )
    assert re.search(
        r"^at 0\.00 +100% of the tracks get a genre, \d+% of these right$", shown, re.M
    )
    library.beet("agfmodels", "use", "shipped")
    library.beet("agfmodels", "use", "mine")
    (folder / bundle_format.WEIGHTS).write_bytes(b"broken")
    add(library, "Lnext", "", "Somebody", 1003)
    with pytest.raises(
        ui.UserError,
        match=r"is damaged.*; switch to .* `beet agfmodels use shipped`",
    ):
        library.beet("agfgenre", "-W", "-p", "title:nothing")
    library.beet("agfmodels")
    assert "cannot be used" in capsys.readouterr().out
    library.beet("agfmodels", "remove", "mine")
    assert not folder.exists()
    assert library.log.having("removed mine; the shipped model is used from now on")


def test_what_is_not_better_changes_nothing_and_says_so(library, monkeypatch):
    fill(library, low="Doom", high="Chiptune")  # which the model to begin with knows
    still = replace(PLAN, networks=None, transfer=replace(PLAN.transfer, learning_rate=1e-12))
    monkeypatch.setattr("beetsplug.agfgenre.train.deep.FineTuneConfig", partial(replace, still))
    before = everything(library)
    assert train(library, "--deep") == 3
    assert library.log.having("the new model is not clearly better than start; nothing is changed")
    assert everything(library) == before
    page = Path(library.log.having("full report: ")[0].split(": ", 2)[2])
    assert page.name == "report.html"
    report = json.loads(page.with_name("report.json").read_text())
    assert report["compared"]["start"]["better"] is False


def test_interrupted_it_goes_on_and_analyses_only_what_is_new(library, monkeypatch):
    from agf_core.features import spectrogram_cache
    from agf_core.finetune import finetuner

    fill(library, 40)
    jobs = []
    whole = spectrogram_cache.in_processes

    def counted(work, wanted, processes):
        jobs.append(len(wanted))
        return whole(work, wanted, processes)

    monkeypatch.setattr(spectrogram_cache, "in_processes", counted)
    fitted = []
    fit = finetuner.fit

    def interrupted(*args, checkpoint, **options):
        fitted.append(checkpoint.name)
        if len(fitted) == 4:
            raise KeyboardInterrupt
        return fit(*args, checkpoint=checkpoint, **options)

    monkeypatch.setattr(finetuner, "fit", interrupted)
    with pytest.raises(SystemExit, match="130"):
        library.beet("agftrain", "--deep")
    assert library.log.having("stopped, run again to continue")
    kept = {path.name for path in Path(os.environ["XDG_CACHE_HOME"]).rglob("*.safetensors")}
    assert kept == set(fitted[:3])
    # Our own tags, written meanwhile, are no reason to analyse again.
    for item in library.lib.items():
        item.genres = [*item.genres, "agf"]
        item.write()
        item.store()
    monkeypatch.setattr(spectrogram_cache, "load_log_mel", None)
    monkeypatch.setattr(finetuner, "fit", fit)
    assert train(library, "--deep") in (0, 3)
    assert jobs == [40, 40]  # opened again, for their content, but not analysed


HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1], timeout=0):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_only_one_learns_from_a_library_at_a_time(library):
    fill(library)
    folder = workspace.work_folder(library.lib)
    checkpoint = folder / "of the other" / "fold-0.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    hold = [sys.executable, "-c", HOLD, str(folder / workspace.LOCK_FILE)]
    with subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline().strip() == b"held"
        before = everything(library)
        assert train(library, "--deep") == 1
        message = library.log.lines[-1]
        assert "another `beet agftrain` is training on this library; wait until" in message
        assert everything(library) == before
        assert checkpoint.exists()
        assert train(library, "-p") == 0
        other.kill()
    assert train(library, "--deep") in (0, 3)
    assert not checkpoint.exists()


def test_a_place_for_checkpoints_that_cannot_be_used_is_a_sentence(library):
    fill(library)
    (workspace.work_folder(library.lib) / workspace.LOCK_FILE).mkdir(parents=True)
    assert train(library, "--deep") == 1
    message = library.log.lines[-1]
    assert message.startswith("agftrain: ")
    assert "lock cannot be written (Is a directory)" in message
    assert "\n" not in message


def test_another_model_takes_its_place_only_when_better(library, capsys):
    fill(library, 40)
    assert train(library, "--deep", "--name", "first") == 0
    for i in range(100, 130):  # one more genre, which the first model does not know
        add(library, f"M{i}", "Middle", f"Artist {i // 2}", i)
    status = train(library, "--deep", "--name", "second")
    report = capsys.readouterr().out
    assert "this model against first" in report
    assert status in (0, 3)


@pytest.mark.parametrize(
    "report",
    ["", '{"held_out": 5, "training_artists": []}'],
    ids=["empty", "a number"],
)
def test_a_model_whose_report_is_damaged_is_not_tested_on_artists_it_may_have_seen(
    library, capsys, report
):
    fill(library, 40)
    assert train(library, "--deep", "--name", "first") == 0
    (models(library) / "models" / "first" / "report.json").write_text(report)
    capsys.readouterr()
    assert train(library, "--deep", "--name", "second") == 0
    said = capsys.readouterr().out
    assert "this model against start" in said
    assert "against first" not in said


def test_untagged_tracks_take_part_through_artist_groups(library):
    fill(library, 40)
    for i in range(100, 106):
        add(library, f"H{i}", "", f"Untagged {i}", i)
    assert train(library, "--deep", "--name", "mine") == 0
    assert library.log.having("analysing 46 tracks")
    assert library.log.having("6 tracks without a genre take part through artist groups (mds)")
    assert not library.log.having("essentia")
    model = bundle_format.load(models(library) / "models" / "mine")
    base = bundle_format.load()
    assert model.metadata.tasks == base.metadata.tasks
    assert model.metadata.architecture["networks"] == base.metadata.architecture["networks"]
    for file in (bundle_format.NETWORK, bundle_format.WEIGHTS):
        sizes = [(one.folder / file).stat().st_size for one in (base, model)]
        assert sizes[1] == pytest.approx(sizes[0], rel=0.02)
    assert model.metadata.trained_on["tracks"] == 40
    assert model.metadata.recipe["groups"] == "mds"


def test_groups_that_need_essentia_are_reported_where_they_were_chosen(library):
    fill(library)
    assert train(library, "--deep", "--groups", "e") in (0, 3)
    assert library.log.having("task e is left out: essentia is not installed")


def test_a_model_with_styles_is_fine_tuned(library, monkeypatch, student_folder):
    import torch

    from agf_core.train.export import network_from_bundle

    monkeypatch.setattr("agf_core.bundle.format.SHIPPED", student_folder)
    monkeypatch.setattr("beetsplug.agfgenre.train.run.compare_with_previous", lambda *_: {})
    fill(library)
    assert train(library, "--deep", "--groups", "ms", "--name", "mine") == 0
    model = bundle_format.load(models(library) / "models" / "mine")
    assert model.metadata.styles == ()
    tagger, network = GenreTagger(model), network_from_bundle(model)
    spec = model.metadata.input
    windows = np.random.default_rng(0).normal(0, 1, (1, 1, spec.segment_frames, spec.n_mels))
    spectrogram = (windows[0, 0] * 10 - 40).astype(np.float32)
    logits = (
        network(torch.from_numpy(windows).float()).detach().numpy()[0] / model.metadata.temperature
    )
    expected = np.exp(logits) / np.exp(logits).sum()
    found = tagger.predict_log_mel(spectrogram).probabilities
    np.testing.assert_allclose(found, expected, atol=0.01)


@pytest.mark.parametrize("how", ["option", "configuration"])
def test_without_groups_untagged_tracks_are_left_alone(library, how):
    fill(library)
    for i in range(100, 106):
        add(library, f"H{i}", "", f"Untagged {i}", i)
    options = ["--groups", "none"] if how == "option" else []
    if how == "configuration":
        library.configure(groups="none")
    assert train(library, "--deep", *options) in (0, 3)
    assert library.log.having("analysing 24 tracks")
    assert not library.log.having("take part through artist groups")


@pytest.mark.parametrize("groups", ["x", "mm", True, ["m"]])
def test_unknown_groups_are_reported(library, groups):
    library.configure(groups=groups)
    fill(library)
    assert train(library) == 1
    assert "groups must be none or some of the letters m, d, e and s, not" in library.log.lines[-1]


def test_groups_are_for_deep_training_alone(library):
    fill(library)
    assert train(library, "--groups", "m") == 1
    assert "--groups needs --deep" in library.log.lines[-1]
    assert train(library, "--quick", "--deep") == 1
    assert "--quick cannot be combined with --deep" in library.log.lines[-1]


def test_other_names_for_the_models_genres_want_other_checkpoints(library, monkeypatch):
    from agf_core.finetune import finetuner

    folders = []

    def stopped(*arguments, checkpoint, **options):
        folders.append(checkpoint.parent)
        raise KeyboardInterrupt

    monkeypatch.setattr(finetuner, "fit", stopped)
    fill(library)
    for genre in ("Metal", "Metal", "Rock"):
        library.configure(learn_as={"Doom": genre})
        assert train(library, "--deep") == 130
    assert folders[0] == folders[1] != folders[2]


def test_tracks_that_cannot_be_described_leave_a_task_out(library, monkeypatch):
    def nothing(tracks, *arguments, **options):
        stored = descriptors.Stored(None, "", [t.track_id for t in tracks], "e")
        stored.missing.update(stored.track_ids)
        return stored

    monkeypatch.setattr(prepare, "extract", nothing)
    monkeypatch.setattr("beetsplug.agfgenre.train.deep.possible_sources", lambda some: (some, ""))
    fill(library)
    assert train(library, "--deep", "--groups", "me") in (0, 3)
    assert library.log.having("artist groups e are left out: most tracks have no descriptors")


def test_a_model_can_be_called_anything_a_folder_can(library):
    fill(library)
    assert train(library, "--name", "x" * 51) == 1
    assert "a model's name has at most 50 characters" in library.log.lines[-1]
    assert train(library, "-p", "--name", "../x") == 1
    assert "no model can be called '../x'" in library.log.lines[-1]


def test_without_the_training_extra_one_line_says_what_to_install(library, monkeypatch):
    monkeypatch.setattr(
        "beetsplug.agfgenre.commands.missing_for_learning",
        lambda: "learning needs torch: pip install x",
    )
    with pytest.raises(ui.UserError, match="agftrain: learning needs torch: pip install x"):
        library.beet("agftrain", "--deep")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["use", "nothing"], "there is no model 'nothing'"),
        (["use"], "use needs the name of a model"),
        (["remove", "shipped"], "the shipped model is part of the plugin and cannot be removed"),
        (["remove", "../x"], "there is no model '../x'"),
    ],
)
def test_agfmodels_says_what_it_cannot_do(library, arguments, message):
    with pytest.raises(ui.UserError, match="agfmodels: ") as caught:
        library.beet("agfmodels", *arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize("ignored", [True, False])
def test_an_interrupt_while_python_shuts_down_is_ignored(ignored):
    code = (
        "import atexit, os, signal\n"
        "from beetsplug.agfgenre.train.workspace import ignore_interrupts_at_exit\n"
        "def end():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    for _ in range(9): pass\n"  # somewhere to be interrupted
        "atexit.register(end)\n"
        # Who is started in the background may have been told to ignore it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    )
    code += "ignore_interrupts_at_exit()\n" if ignored else ""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ("Traceback" in ended.stderr) != ignored
