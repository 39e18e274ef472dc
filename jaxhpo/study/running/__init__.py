"""Running trials: in this process, in workers, and as vectorised sweeps."""
