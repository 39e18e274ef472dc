"""Samplers that ignore values: `random`, `qmc` and `grid`."""
