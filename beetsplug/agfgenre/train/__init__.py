"""The steps of `beet agftrain`."""
