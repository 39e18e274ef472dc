"""What samplers share: observations, pending points, configurations, checks of what is told."""
