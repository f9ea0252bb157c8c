"""What a run needs before it starts: a model, and a library that can be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beets.ui import UserError

from beetsplug.agfgenre.database import writing

if TYPE_CHECKING:
    from beets.library import Library

    from agf_core.inference.prior_adjusted import Tagger
    from beetsplug.agfgenre.config import Settings


class ModelError(UserError):
    """A model cannot be used at all."""


def load_tagger(settings: Settings) -> Tagger:
    """Load the model of the configuration.

    Raises
    ------
    ModelError
        If there is no model, or none that can be used.
    """
    try:
        from agf_core.errors import BundleError
        from beetsplug.agfgenre.models import chosen_model, storing_tagger

        return storing_tagger(chosen_model(settings.model), settings.threads or None)
    except ImportError as error:
        remedy = "pip install --force-reinstall beets-agf"
        raise ModelError(f"agfgenre: {error}; repair the installation with `{remedy}`") from None
    except BundleError as error:
        raise ModelError(f"agfgenre: {error}") from None


def check_writable(lib: Library) -> None:
    """Check that the library can be written, by a change that is rolled back at once.

    Raises
    ------
    UserError
        If it cannot.
    """
    with writing(lib), lib.transaction() as transaction:
        transaction.mutate("UPDATE items SET id = id WHERE id = (SELECT max(id) FROM items)")
        transaction.mutate("ROLLBACK")
