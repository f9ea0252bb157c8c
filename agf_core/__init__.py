"""Genres from audio by transfer learning of artist group factors.

The method of "Transfer Learning of Artist Group Factors to Musical Genre Classification"
(Kim et al., The Web Conference 2018), usable without beets: see `agf_core.tagger`.
Importing the package itself loads nothing heavy.
"""
