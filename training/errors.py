"""Errors of the training commands."""

from agf_core.errors import AgfError


class RunError(AgfError):
    """An experiment cannot go on; the message is a line that says why and what to do."""


class CollectionError(AgfError, ValueError):
    """A collection that cannot be used; the message is a line that names the file and a remedy."""
