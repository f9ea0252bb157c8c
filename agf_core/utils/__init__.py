"""Small tools: atomic writes, lazy sequences, worker processes."""
