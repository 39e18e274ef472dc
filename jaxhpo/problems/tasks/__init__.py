"""Bilevel tasks: real training runs with hyperparameters to learn."""
