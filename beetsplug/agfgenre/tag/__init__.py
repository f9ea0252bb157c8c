"""The steps of `beet agfgenre`."""
