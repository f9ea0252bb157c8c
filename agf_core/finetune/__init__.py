"""Fine-tuning a model on the tracks of a library."""
