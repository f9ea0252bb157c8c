"""What can go wrong with an experiment."""


class RunError(Exception):
    """An experiment cannot go on; the message is a line that says why and what to do."""


class CollectionError(ValueError):
    """A collection that cannot be used; the message is a line that names the file and a remedy."""
