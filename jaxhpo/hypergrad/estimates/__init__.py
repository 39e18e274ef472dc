"""Hypergradients that are estimated: from perturbed runs, or distilled."""
