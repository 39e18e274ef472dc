"""Populations: `cma_es`, `de`, `nsga2` and `nsga3`."""
