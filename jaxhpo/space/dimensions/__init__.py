"""The kinds of dimensions."""
