"""Teacher networks whose outputs are distilled."""
