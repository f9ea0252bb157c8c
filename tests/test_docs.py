"""Documentation that can be checked without building it."""

import re
from pathlib import Path

import pytest
import yaml

from beetsplug.agfgenre.config import DEFAULTS

ROOT = Path(__file__).parents[1]
OUTSIDE = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md"]
PAGES = sorted(
    page.relative_to(ROOT)
    for page in [*(ROOT / "docs").rglob("*.md"), *(ROOT / page for page in OUTSIDE)]
)
FILE = re.compile(
    r"(?<![\w/.])(?:agf_core|beetsplug|training|tests|examples|benchmarks)/[\w/.]+\.(?:py|md|json|yaml)"
)
MODULE = re.compile(r"(?<![\w./])(?:agf_core|training|tests\.stress)(?:\.[a-z]\w*)+")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


@pytest.mark.parametrize("page", OUTSIDE)
def test_links_of_pages_outside_the_site_lead_somewhere(page):
    links = LINK.findall((ROOT / page).read_text(encoding="utf-8"))
    missing = [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_pages_name_files_and_modules_that_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    files = {Path(name) for name in FILE.findall(text)}
    modules = {Path(*name.split(".")) for name in MODULE.findall(text)}
    missing = [file for file in files if not (ROOT / file).exists()]
    for module in modules:
        places = (module.with_suffix(".py"), module, module.parent.with_suffix(".py"))
        if not any((ROOT / place).exists() for place in places):
            missing.append(module)
    assert not missing


def test_readme_fits_a_terminal():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if len(line) > 110]


def test_example_configuration_has_every_option_with_its_default():
    example = yaml.safe_load((ROOT / "examples/config.yaml").read_text(encoding="utf-8"))
    assert example == {"agfgenre": DEFAULTS}


def test_options_page_names_every_option():
    page = (ROOT / "docs/reference/options.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(DEFAULTS)
