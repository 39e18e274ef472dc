"""Which trials of a Python objective go on: a scheduler asked about what the storage holds."""
