"""Where new points lie: beside old ones, down a slope, or where a bandit hopes most."""
