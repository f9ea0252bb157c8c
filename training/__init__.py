"""Experiments and the training of the model that ships; run from a clone, not installed."""
