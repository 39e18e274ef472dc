"""Hypergradients that run training backwards in place of storing it."""
