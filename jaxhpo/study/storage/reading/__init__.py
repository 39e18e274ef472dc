"""What is read of a study: whole trials, the part that a sampler needs, sums."""
