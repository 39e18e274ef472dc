"""Search algorithms: one file each, all three pure functions of the `Sampler` protocol."""
