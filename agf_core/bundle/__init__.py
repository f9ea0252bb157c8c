"""Models on disk: the format, personal models, and checks of foreign networks."""
