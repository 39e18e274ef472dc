"""Population-based training: no trial stops, bad ones go on from copies of good ones."""
