"""Audio files: opening them safely, decoding, mixing down."""
