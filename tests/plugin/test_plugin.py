"""What a run sets, shows and stores, by its options and configuration."""

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
from beets import ui
from beets.library import Item
from beets_helpers import ELECTRONIC, EVEN, open_library, silent_wav, summary
from mediafile import MediaFile

from beetsplug.agfgenre import console, database

# What is set, shown, written and stored


def test_empty_genres_are_filled_in_library_and_file(library):
    library.track("a")
    library.beet("agfgenre")
    assert library.genres("a") == library.file_genres("a") == ["Rock"]
    assert "tagged 1 track" in summary(library)


def test_predictions_are_stored_and_can_be_queried(library, tagger, capsys):
    tagger.sounds["a"] = EVEN
    library.track("a")
    library.beet("agfgenre")
    item = library.get("a")
    assert item.agf_genres == ["Hip-Hop", "Rock", "Electronic"]
    assert item.agf_confidence == pytest.approx(0.4)
    assert item.agf_model == "fake-1"
    capsys.readouterr()
    query = ["agf_genres:Hip", "agf_confidence:0.3..0.5", "agf_model:fake-1"]
    library.beet("ls", "-f", "$title $agf_confidence $agf_genres", *query)
    assert capsys.readouterr().out == "a 0.40 Hip-Hop; Rock; Electronic\n"


def test_changes_are_shown(library, capsys):
    library.track("a")
    library.beet("agfgenre")
    assert "+ Rock" in capsys.readouterr().out


def test_a_track_without_title_is_shown_by_its_file(library, capsys):
    item = library.track("a")
    item.update({"title": "", "artist": ""})
    item.store()
    library.beet("agfgenre", "--explain")
    shown = os.fsdecode(item.path)
    assert capsys.readouterr().out.splitlines().count(shown) == 2  # explained, and tagged


def test_an_album_without_a_name_is_shown_by_its_folder(library, capsys):
    for name, artist in (("", ""), (" ", " "), ("Live", ""), ("Live", "Someone")):
        album = library.album("a", name=name)
        album.albumartist = artist
        album.store(inherit=False)
        capsys.readouterr()
        library.beet("agfgenre", "-a", "-p", f"id:{album.id}")
        shown = capsys.readouterr().out.splitlines()[0]
        assert shown == (
            f"{artist} - {name}" if name.strip() else os.fsdecode(library.lib.directory)
        )


def test_pretend_shows_changes_and_makes_none(library, tagger, capsys):
    library.track("a")
    library.beet("agfgenre", "-p")
    assert "+ Rock" in capsys.readouterr().out
    assert library.genres("a") == library.file_genres("a") == []
    assert "agf_model" not in library.get("a")
    assert "would tag 1 track" in summary(library)


@pytest.mark.parametrize("options", [[], ["-a"]])
def test_its_fields_can_be_taken_away(library, options):
    album = library.album("ab")
    library.beet("agfgenre", "-q", *options)
    fields = ("agf_genres", "agf_confidence", "agf_model", "agf_set")
    assert library.get("a")["agf_genres"] == library.get("a")["agf_set"] == ["Rock"]
    library.beet("modify", "-y", "-M", "-W", *(f"{field}!" for field in fields))
    library.beet("modify", "-y", "-M", "-W", "-a", *(f"{field}!" for field in fields))
    album.load()
    for obj in (album, *album.items()):
        assert not set(fields) & set(obj.keys())


def test_quiet_prints_nothing_but_the_summary(library, capsys):
    library.track("a")
    library.beet("agfgenre", "-q")
    assert capsys.readouterr().out == ""
    assert "tagged 1 track" in summary(library)


@pytest.mark.parametrize(
    ("configured", "options", "written"),
    [
        (True, [], True),
        (True, ["-W"], False),
        (False, [], False),
        (False, ["-w"], True),
        (False, ["--write"], True),
        (True, ["--nowrite"], False),
    ],
)
def test_files_are_written_as_import_write_says_unless_overridden(
    library, configured, options, written
):
    library.config["import"]["write"] = configured
    library.track("a")
    library.beet("agfgenre", *options)
    assert library.genres("a") == ["Rock"]
    assert library.file_genres("a") == (["Rock"] if written else [])


def test_explain_lists_probabilities_also_of_tracks_that_have_genres(library, tagger, capsys):
    tagger.sounds["a"] = EVEN
    library.track("a", genres=["Jazz"])
    library.beet("agfgenre", "--explain")
    library.beet("agfgenre", "--explain")
    assert capsys.readouterr().out.count("Hip-Hop 0.40, Rock 0.35, Electronic 0.25") == 2
    assert library.genres("a") == ["Jazz"]
    assert library.get("a").agf_genres[0] == "Hip-Hop"


def test_query_chooses_tracks(library):
    library.track("a")
    library.track("b")
    library.beet("agfgenre", "title:b")
    assert (library.genres("a"), library.genres("b")) == ([], ["Rock"])


def test_query_that_matches_nothing_says_so(library):
    with pytest.raises(ui.UserError, match="nothing in the library matches"):
        library.beet("agfgenre", "title:nothing")


def test_changes_have_the_order_in_which_genres_are_stored(library, capsys):
    library.configure(count=2, min_confidence=0)
    library.tagger.sounds["a"] = {"Rock": 0.6, "Electronic": 0.4}
    library.track("a", genres=["Blues"])
    library.beet("agfgenre", "-f")
    assert library.genres("a") == ["Rock", "Electronic"]
    changes = capsys.readouterr().out.split("genres:")[1]
    assert re.findall(r"[-+] [\w-]+", changes) == ["- Blues", "+ Rock", "+ Electronic"]
    library.tagger.model_id = "fake-2"
    library.tagger.sounds["a"] = {"Electronic": 0.6, "Rock": 0.4}
    library.beet("agfgenre", "-f")
    assert library.genres("a") == ["Electronic", "Rock"]
    assert "genres in another order: Electronic; Rock" in capsys.readouterr().out


def test_what_is_added_to_existing_genres_is_called_so(library):
    library.track("a", genres=["Blues"])
    library.beet("agfgenre", "-k", "-p")
    assert "would add genres to 1 track" in summary(library)
    library.beet("agfgenre", "-k")
    assert "added genres to 1 track" in summary(library)


# Tracks that have genres


@pytest.mark.parametrize(
    ("config", "options", "genres"),
    [
        ({}, [], ["Jazz", "rock"]),
        ({}, ["-f"], ["Electronic"]),
        ({"force": True}, [], ["Electronic"]),
        ({"force": True}, ["-F"], ["Jazz", "rock"]),
        ({}, ["-k"], ["Jazz", "rock", "Electronic"]),
        ({"keep_existing": True}, [], ["Jazz", "rock", "Electronic"]),
        ({"keep_existing": True}, ["-K"], ["Jazz", "rock"]),
        ({}, ["--force", "--keep-existing"], ["Jazz", "rock", "Electronic"]),
        ({"keep_existing": True}, ["--no-keep-existing", "--force"], ["Electronic"]),
        ({"force": True}, ["--no-force"], ["Jazz", "rock"]),
    ],
)
def test_genres_that_are_there(library, tagger, config, options, genres):
    tagger.sounds["a"] = ELECTRONIC
    library.configure(**config)
    library.track("a", genres=["Jazz", "rock"])
    library.beet("agfgenre", *options)
    assert library.genres("a") == genres


def test_options_that_are_none_are_reported(library, tagger):
    library.configure(min_confidance=0.3, colour="red")
    library.track("a")
    library.beet("agfgenre")
    (close,) = library.log.having("`min_confidance` in the configuration is not an option")
    assert close.endswith("did you mean min_confidence?")
    (far,) = library.log.having("`colour` in the configuration is not an option")
    assert "did you mean" not in far
    assert library.genres("a") == ["Rock"]


def test_keeping_adds_no_genre_twice(library):
    library.track("a", genres=["rock"])
    library.beet("agfgenre", "-k")
    assert library.genres("a") == ["rock"]
    assert "already right: 1 track" in summary(library)


def test_tracks_with_genres_are_counted_and_not_analysed(library, tagger):
    library.track("a", genres=["Jazz"])
    library.beet("agfgenre")
    assert tagger.analysed == []
    assert "already had genres: 1 track" in summary(library)


# Deciding


def test_count_is_the_most_that_are_set(library, tagger):
    tagger.sounds["a"] = EVEN
    library.configure(count=2, min_confidence=0.4)
    library.track("a")
    library.beet("agfgenre")
    assert library.genres("a") == ["Hip-Hop", "Rock"]


def test_unsure_tracks_are_skipped_and_decided_on_anew_without_analysis(library, tagger):
    tagger.sounds["a"] = EVEN
    library.track("a")
    library.beet("agfgenre")
    assert library.genres("a") == []
    assert "skipped because unsure: 1 track" in summary(library)
    library.configure(min_confidence=0.4)
    library.beet("agfgenre")
    assert library.genres("a") == library.file_genres("a") == ["Hip-Hop"]
    assert tagger.analysed == ["a"]


def test_genres_outside_the_whitelist_are_not_set(library, tmp_path):
    (tmp_path / "genres.txt").write_text("electronic\n")
    library.configure(whitelist=str(tmp_path / "genres.txt"))
    library.track("a")
    library.beet("agfgenre")
    assert library.genres("a") == []
    assert "not wanted by whitelist or aliases: 1 track" in summary(library)


def test_a_genre_whose_alias_is_nothing_is_not_set(library):
    library.configure(aliases={"": ["rock"]})
    library.track("a")
    for _ in range(2):
        library.beet("agfgenre")
        assert library.genres("a") == library.file_genres("a") == []
        assert "tagged 0 tracks; not wanted by whitelist or aliases: 1 track" in summary(library)


# Going on, and analysing again


def test_second_run_analyses_nothing(library, tagger):
    tagger.sounds["b"] = EVEN
    for title in "ab":
        library.track(title)
    library.beet("agfgenre")
    library.beet("agfgenre")
    library.beet("agfgenre", "-f")
    assert tagger.analysed == ["a", "b"]


@pytest.mark.parametrize("change", ["model", "field"])
def test_another_model_or_a_removed_field_are_analysed_again(library, tagger, change):
    library.track("a")
    library.beet("agfgenre")
    tagger.sounds["a"] = ELECTRONIC
    if change == "model":
        tagger.model_id = "fake-2"
    else:
        library.beet("modify", "-y", "-M", "agf_model!")
    library.beet("agfgenre", "-f")
    assert library.genres("a") == ["Electronic"]
    assert tagger.analysed == ["a", "a"]


def test_interrupted_run_keeps_predictions_and_can_go_on(library, tagger):
    for number in range(30):
        library.track(f"{number:02}")
    tagger.interrupt_after = 21
    with pytest.raises(SystemExit, match="130"):
        library.beet("agfgenre")
    assert [library.genres(f"{n:02}") != [] for n in range(30)] == [True] * 21 + [False] * 9
    assert tagger.open == 0
    assert "tagged 21 tracks; stopped, run again to continue" in summary(library)
    tagger.interrupt_after = None
    library.beet("agfgenre")
    assert len(tagger.analysed) == 30
    assert "tagged 9 tracks; already had genres: 21 tracks" in summary(library)


def test_ctrl_c_waits_for_a_file_to_be_written():
    done = []

    def write():
        with database.uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append("written")

    with pytest.raises(KeyboardInterrupt):
        write()
    assert done == ["written"]


# Options and configuration


def test_help(library, capsys):
    library.load_plugins()
    with pytest.raises(SystemExit):
        library.run_command("agfgenre", "-h")
    out = " ".join(capsys.readouterr().out.split())
    assert "agfgenre [options] [QUERY]" in out
    assert "compilations: by track" in out
    assert "as import.write says" in out
    assert "analyses tracks that have genres, too" in out


def test_auto_that_makes_no_sense_is_one_line_and_stops_nothing(library):
    library.configure(auto="maybe")
    library.track("a")
    library.beet("ls")
    (line,) = library.log.lines_at("WARNING")
    assert line == "WARNING: auto must be yes or no, not 'maybe'; `auto: no` is used"


NO_OPTIONS = "`agfgenre: True` in the configuration is no list of options; the defaults are used"


@pytest.mark.parametrize(("section", "told"), [(None, []), (True, [f"WARNING: {NO_OPTIONS}"])])
def test_a_section_without_options_is_an_empty_one(library, section, told):
    library.config.set({"agfgenre": section})
    library.track("a")
    library.beet("agfgenre")
    assert library.genres("a") == ["Rock"]
    assert library.log.lines_at("WARNING") == told


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        ({"count": 0}, [], "count must be a whole number from 1 up, not 0"),
        ({"count": "two"}, [], "count must be a whole number from 1 up, not 'two'"),
        ({"count": True}, [], "count must be a whole number from 1 up, not True"),
        ({"prior": "mine"}, [], "prior must be library, shipped or balanced, not 'mine'"),
        ({"prior": ["library"]}, [], "prior must be library, shipped or balanced, not ["),
        ({"min_confidence": 2}, [], "min_confidence must be a number from 0 to 1, not 2"),
        ({"min_confidence": None}, [], "min_confidence must be a number from 0 to 1, not None"),
        ({"threads": -2}, [], "threads must be a whole number from 0 up, not -2"),
        ({}, ["-t", "-1"], "threads must be a whole number from 0 up, not -1"),
        ({"force": "maybe"}, [], "force must be yes or no, not 'maybe'"),
        ({"title_case": 3}, [], "title_case must be yes or no, not 3"),
        ({"title_case": "yes"}, [], "title_case must be yes or no (without quotes), not 'yes'"),
        ({"count": "2"}, [], "count must be a whole number from 1 up (without quotes), not '2'"),
        ({"count": "0"}, [], "count must be a whole number from 1 up, not '0'"),
        ({"count": "["}, [], "count must be a whole number from 1 up, not '['"),
        ({"count": "2001-13-13"}, [], "count must be a whole number from 1 up, not '2001-13-13'"),
        ({"model": 3}, [], "model must be the folder of a model, not 3"),
        ({"whitelist": "/no/such.txt"}, [], "whitelist: /no/such.txt cannot be read"),
    ],
)
def test_nonsense_is_one_clear_line(library, config, options, message):
    library.configure(**config)
    with pytest.raises(ui.UserError) as caught:
        library.beet("agfgenre", *options)
    (text,) = caught.value.args
    assert message in text
    assert text.startswith("agfgenre: ")
    assert "\n" not in text


def test_threads_are_handed_on(library):
    library.track("a")
    library.configure(threads=3)
    library.beet("agfgenre")
    assert library.settings.threads == 3
    library.beet("agfgenre", "--threads", "2")
    assert library.settings.threads == 2


def test_options_of_one_run_do_not_outlive_it(library):
    library.track("a", genres=["Jazz"])
    library.beet("agfgenre", "-f", "-p")
    library.beet("agfgenre")
    assert library.genres("a") == ["Jazz"]


# Progress


def test_progress_off_a_terminal_is_a_line_now_and_then(library, tagger, monkeypatch):
    monkeypatch.setattr(console, "SECONDS_BETWEEN_LINES", 0.0)
    for title in "ab":
        library.track(title)
    library.beet("agfgenre")
    assert len(library.log.having("of 2 tracks done")) == 2
    assert library.log.having("0:00:00 left")
    tagger.model_id = "fake-2"
    library.beet("agfgenre", "-q", "-f")
    assert tagger.analysed == ["a", "b", "a", "b"]
    assert len(library.log.having(" tracks done, ")) == 2


def test_progress_on_a_terminal_is_a_bar_that_goes_away(library, monkeypatch, capsys):
    for title in "ab":
        library.track(title)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    library.beet("agfgenre")
    output = capsys.readouterr()
    assert "Analysing" in output.err
    assert "2" in output.err
    assert output.out.count("+ Rock") == 2


# Loading


def test_loading_the_plugin_imports_nothing_heavy(tmp_path):
    (tmp_path / "config.yaml").write_text("plugins: [agfgenre]\nagfgenre:\n  auto: yes\n")
    code = """
import sys
from beets import ui
ui.main(["ls"])
heavy = {"torch", "librosa", "onnxruntime", "av", "tqdm", "onnx", "agf_core.inference.tagger"}
sys.exit(f"imported: {heavy & set(sys.modules)}" if heavy & set(sys.modules) else 0)
"""
    environment = {**os.environ, "BEETSDIR": str(tmp_path), "HOME": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert (run.returncode, run.stderr) == (0, b"")


@pytest.fixture
def real_library(monkeypatch):
    yield from open_library(monkeypatch, None)


def test_missing_model_is_one_clear_line(real_library, tmp_path):
    real_library.track("a")
    real_library.configure(model=str(tmp_path / "nowhere"))
    with pytest.raises(ui.UserError, match="nowhere") as caught:
        real_library.beet("agfgenre")
    assert "\n" not in str(caught.value)


def test_broken_installation_is_one_clear_line(real_library, monkeypatch):
    monkeypatch.setitem(sys.modules, "agf_core.inference.worker", None)
    monkeypatch.delitem(sys.modules, "beetsplug.agfgenre.models", raising=False)
    with pytest.raises(ui.UserError, match="pip install"):
        real_library.beet("agfgenre")


# The whole way, with the model that ships


def test_clips_of_every_format_are_tagged(real_library, clips):
    library = real_library
    clips = [clip for clip in clips if clip.suffix not in {".tta", ".oga"}]  # as beets knows
    for clip in clips:
        item = Item.from_path(shutil.copy(clip, library.lib_path))
        item.genres = []
        library.lib.add(item)
    library.configure(min_confidence=0)
    library.beet("agfgenre", "-q")
    for item in library.lib.items():
        assert len(item.genres) == 1
        assert item.genres == list(item.agf_genres[:1]) == MediaFile(item.path).genres
        assert 0 < item.agf_confidence <= 1
        assert item.agf_model
    assert f"tagged {len(clips)} tracks" in summary(library)


def test_bad_files_do_not_stop_a_run(real_library, clips):
    library = real_library
    good = library.lib_path / clips[0].name
    shutil.copy(clips[0], good)
    bad = {"text.mp3": b"no audio", "empty.flac": b"", "half.wav": b"RIFF", "gone.ogg": None}
    for name, content in bad.items():
        if content is not None:
            (library.lib_path / name).write_bytes(content)
        library.add_item(title=name, path=library.lib_path / name)
    silent_wav(library.lib_path / "short.wav", 0.5)
    silent_wav(library.lib_path / "silent.wav", 5)
    for name in ("short.wav", "silent.wav", good.name):
        library.lib.add(Item.from_path(library.lib_path / name))
    library.beet("agfgenre")
    for name in (*bad, "short.wav", "silent.wav"):
        assert len(library.log.having(name)) == 1
    assert "failed: 6 tracks (" in summary(library)
    assert "1 silent" in summary(library)
    assert "1 shorter than one second" in summary(library)
