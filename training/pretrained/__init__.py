"""How the pretrained model is made."""
