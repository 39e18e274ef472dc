"""Sweeps of several processes: what they tell each other, and which of them has which state."""
