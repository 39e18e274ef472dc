"""Many trials of one training run at once."""
