"""``beet agfmap``: the library as a map, in one page of HTML that needs no network."""
