"""Hypergradients at a stationary point of training, and the linear solvers that they need."""
