"""Rules that end a trial for good where it is judged, and promote none."""
