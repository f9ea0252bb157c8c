"""Experiments on corpora: run from a clone of the repository, not installed."""

from agf_core import missing_for_learning

if missing := missing_for_learning():
    raise SystemExit(missing)
