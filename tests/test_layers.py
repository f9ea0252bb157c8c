"""Who imports whom: the contracts in pyproject.toml, and what tagging must never load."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "sklearn", "scipy", "librosa", "essentia")


def test_the_import_contracts_hold():
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(
    "program",
    [
        "import agf_core; agf_core.load().labels",
        "import agf_core.inference.worker, agf_core.inference.prior_adjusted, agf_core.metrics",
        "import beetsplug.agfgenre.tag.run, beetsplug.agfgenre.tag.undo",
        "import beetsplug.agfgenre.audit.run",
    ],
)
def test_tagging_loads_no_training_package(program):
    code = f"import sys; {program}; print(sorted({{*{HEAVY}}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_importing_the_package_loads_nothing_else_and_sets_nothing():
    code = (
        "import os, sys; before = dict(os.environ); import agf_core;"
        "print([m for m in sys.modules if m.startswith('agf_core.')], before == dict(os.environ))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[] True", done.stderr
