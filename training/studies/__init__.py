"""Studies of what the methods are worth."""
