"""Tasks whose hyperparameters are learned to learn with: initial weights, an optimizer."""
