"""Experiments on corpora: run from a clone of the repository, not installed."""
