"""A study in Optuna's storage: what is read, written, reserved and kept."""
