"""Sweeps that outlive their process: what is kept of them, by what it is known, and where."""
