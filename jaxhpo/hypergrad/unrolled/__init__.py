"""Hypergradients through the unrolled run: reverse, forward, truncated, checkpointed."""
