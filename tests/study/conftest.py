"""Studies in temporary files, and no compiled programs left in the user's folder."""

import os

os.environ["JAXHPO_CACHE"] = "0"

import optuna
import pytest

optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def url(tmp_path):
    """A SQLite study file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'study.db'}"
