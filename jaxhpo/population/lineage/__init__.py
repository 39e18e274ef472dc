"""Trials whose hyperparameters change: their points, what they went on from, and once more."""
