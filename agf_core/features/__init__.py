"""Features of tracks and the caches that keep them."""
