"""What samplers share: observations, pending points, configurations, checks of `tell`."""
