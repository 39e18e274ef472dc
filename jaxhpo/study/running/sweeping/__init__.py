"""`Study.sweep`: batches of a training run are trained side by side, and written down."""
