"""Models on disk: the format, fine-tuned models, and checks of foreign networks."""
