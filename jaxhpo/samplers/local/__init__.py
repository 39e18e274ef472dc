"""Local search: `pattern` and `gradient`."""
