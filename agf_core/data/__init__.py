"""Tracks with their labels, artist-disjoint splits, and sampling."""
