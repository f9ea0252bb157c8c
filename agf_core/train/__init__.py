"""Training of networks; needs the packages of beets-agf[train]."""
