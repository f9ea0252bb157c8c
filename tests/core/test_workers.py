"""Work in processes of its own, of which some die."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from agf_core.utils import workers
from agf_core.utils.workers import in_processes

ROOT = Path(__file__).parents[2]


def crash(job):
    """Act by the name of the job, as `in_processes` takes."""
    name, folder = job
    if name == "crash":
        os.abort()
    if name == "hang":
        time.sleep(60)
    if name == "fail":
        raise RuntimeError("odd")
    if name.startswith("once"):
        begun = folder / f".{name}"
        if begun.exists():
            name = name.removeprefix("once ")
            (folder / name).touch()
            return
        begun.touch()
    if name.endswith("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.endswith("memory"):
        raise MemoryError
    (folder / name).touch()


def test_a_crash_costs_that_file_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "LONGEST_SECONDS", 1)
    names = ["a", "crash", "b", "fail", "c", "hang", "d"]
    done = {
        name: error
        for (name, _), error in in_processes(crash, [(name, tmp_path) for name in names], 2)
    }
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c", "d"}
    assert [name for name in names if not done[name]] == ["a", "b", "c", "d"]
    assert "died" in done["crash"]
    assert "died" in done["hang"]
    assert done["fail"] == "RuntimeError: odd"


def test_a_file_is_not_to_blame_for_a_process_that_was_killed_or_had_no_memory(tmp_path):
    names = ["a", "killed", "once killed", "memory", "once memory", "b"]
    done = {
        name: error
        for (name, _), error in in_processes(crash, [(name, tmp_path) for name in names], 2)
    }
    assert [name for name in names if not done[name]] == ["a", "once killed", "once memory", "b"]
    found = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert found == {"a", "b", "killed", "memory"}
    assert "was killed by signal 9 (SIGKILL); this happens when memory runs out" in done["killed"]
    assert "too little memory; free some" in done["memory"]


def test_a_process_that_dies_while_it_is_idle_is_replaced(tmp_path):
    done = []
    for (name, _), error in in_processes(crash, [(name, tmp_path) for name in "abc"], 1):
        done.append((name, error))
        (child,) = multiprocessing.active_children()  # idle until the next job
        child.kill()
        child.join()
    assert done == [("a", ""), ("b", ""), ("c", "")]


def test_a_script_without_a_guard_is_told_so(tmp_path):
    """Each process reads the script again and would start processes of its own."""
    script = tmp_path / "script.py"
    script.write_text(
        "from agf_core.utils.workers import in_processes\nlist(in_processes(print, "
        "[('a', 'b')], 1))\n"
    )
    done = subprocess.run([sys.executable, script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "if __name__ == '__main__'" in done.stderr.splitlines()[-1]
