"""Registry of fine-tuned models in a folder, one of which may be active.

Each folder below ``models`` holds a model; the file ``active`` holds the name of the active one.
Without that file, or without that model, the shipped model is active.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from agf_core import errors
from agf_core.bundle import format as bundle_format
from agf_core.utils import atomic

SHIPPED_NAME = "shipped"
ACTIVE_FILE = "active"
LONGEST_NAME_BYTES = 1000
VALID_NAME = re.compile(r"\w[\w.+ -]*")  # valid on any file system


@dataclass(frozen=True)
class Entry:
    """A model in the registry.

    Attributes
    ----------
    name : str
    model : bundle.Bundle or None
        None where it cannot be used.
    problem : str
        The reason why it cannot.
    """

    name: str
    model: bundle_format.Bundle | None
    problem: str = ""


def _can_be_a_name(name: str) -> bool:
    right = VALID_NAME.fullmatch(name) is not None and name.rstrip(" .") == name
    return right and name != SHIPPED_NAME


def checked_name(name: str) -> str:
    """Return `name` if a model can have it.

    Raises
    ------
    ValueError
        When it is no valid name.
    """
    if not _can_be_a_name(name):
        raise ValueError(
            f"no model can be called {name!r}: names are letters, digits, spaces and . + - _, "
            f"begin with a letter, a digit or _, and are not {SHIPPED_NAME}"
        )
    return name


class ModelStore:
    """The models in a folder.

    Parameters
    ----------
    folder : Path
        Created when first needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return the folder of a model of that name, which need not exist.

        Raises
        ------
        ValueError
            When it is no valid name.
        """
        return self.folder / "models" / checked_name(name)

    def names(self) -> list[str]:
        """Return the names of all models but the shipped one, intact or not."""
        try:
            found = [path.name for path in (self.folder / "models").iterdir() if path.is_dir()]
        except OSError:
            return []
        return sorted(name for name in found if _can_be_a_name(name))

    def entries(self) -> list[Entry]:
        """Load and verify all models; the shipped one comes first."""
        return [self._entry(name) for name in (SHIPPED_NAME, *self.names())]

    def _entry(self, name: str) -> Entry:
        try:
            return Entry(name, bundle_format.load(self.folder_of(name)))
        except errors.BundleError as error:
            return Entry(name, None, str(error))

    def folder_of(self, name: str) -> Path:
        """Return the folder of a model, which may be the shipped one."""
        return bundle_format.SHIPPED if name == SHIPPED_NAME else self.path(name)

    @property
    def chosen(self) -> str:
        """The name of the model that was activated last, which need not exist any more."""
        try:
            return atomic.read(self.folder / ACTIVE_FILE, LONGEST_NAME_BYTES).decode().strip()
        except (OSError, UnicodeDecodeError):
            return SHIPPED_NAME

    @property
    def active(self) -> str:
        """The name of the active model."""
        chosen = self.chosen
        return chosen if chosen in self.names() else SHIPPED_NAME

    def activate(self, name: str) -> None:
        """Make a model the active one; raise `BundleError` where it cannot be used."""
        bundle_format.load(self.folder_of(name))
        if name == SHIPPED_NAME:
            (self.folder / ACTIVE_FILE).unlink(missing_ok=True)
            return
        with atomic.written(self.folder / ACTIVE_FILE) as file:
            file.write(f"{name}\n".encode())

    def remove(self, name: str) -> None:
        """Delete a model; the shipped one becomes active if it was."""
        if self.active == name:
            self.activate(SHIPPED_NAME)
        shutil.rmtree(self.path(name))

    def free_name(self, wish: str) -> str:
        """Return `wish`, with a number appended if it is taken."""
        taken = set(self.names())
        numbered = (f"{wish}-{i}" for i in range(2, len(taken) + 3))
        return wish if wish not in taken else next(name for name in numbered if name not in taken)
