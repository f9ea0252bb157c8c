"""Configuration of the documentation (Sphinx, MyST, numpydoc); build it with `make docs`."""

import os
import shutil
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
_project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "beets-agf"
author = _project["authors"][0]["name"]
copyright = author
release = version = _project["version"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
]
exclude_patterns = ["_templates", "results/sheet"]  # the latter is included in a page
templates_path = ["_templates"]

html_theme = "furo"
html_title = f"beets-agf {release}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_theme_options = {
    "source_repository": _project["urls"]["Source"],
    "source_branch": "main",
    "source_directory": "docs/",
}

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# The notebook lives in examples/; a copy of it becomes a page, executed anew in every build.
shutil.copy(ROOT / "examples" / "artist_groups.ipynb", Path(__file__).parent / "research")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the notebooks' sums are too small for threads
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600

default_role = "py:obj"  # `name` in a docstring links to that name
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc's sections give types, with shapes and units
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
linkcheck_ignore = [r"https://github\.com/beets-agf/.*", r"https://beets-agf\.github\.io/.*"]
linkcheck_anchors = False
