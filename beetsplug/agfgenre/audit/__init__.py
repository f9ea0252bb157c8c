"""``beet agfaudit``: find genres that are probably wrong, show them, and correct them."""
