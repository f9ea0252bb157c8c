"""Prediction from samples, spectrograms, and files."""
