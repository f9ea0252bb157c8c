"""Errors of the training commands."""

from agf_core.errors import AgfError


class RunError(AgfError):
    """An experiment cannot go on; the message is a line with the reason and the remedy."""


class CollectionError(AgfError, ValueError):
    """A collection that cannot be used; the message is a line that names the file and a remedy."""
