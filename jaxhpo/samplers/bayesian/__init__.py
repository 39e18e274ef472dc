"""Bayesian optimization: `gp`, `turbo` and `gp_multi`."""
