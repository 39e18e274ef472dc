"""Populations of trials that train side by side: sweeps over thousands of hyperparameters."""

from jaxhpo.population._layout import Plan as Plan
from jaxhpo.population._program_cache import Programs as Programs
from jaxhpo.population._progress import Progress as Progress
from jaxhpo.population._record import Sweep as Sweep
from jaxhpo.population._record import SweepInterrupted as SweepInterrupted
from jaxhpo.population._sweep import sweep as sweep
from jaxhpo.population.checkpoints._fingerprint import (
    CheckpointMismatchError as CheckpointMismatchError,
)
from jaxhpo.population.lineage._lineage import Lineage as Lineage
from jaxhpo.population.lineage._replay import replay as replay

__all__ = [
    "CheckpointMismatchError",
    "Lineage",
    "Plan",
    "Programs",
    "Progress",
    "Sweep",
    "SweepInterrupted",
    "replay",
    "sweep",
]
