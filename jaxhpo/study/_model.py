"""`Study.surrogate`: a Gaussian process of a study's trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxhpo import _checks
from jaxhpo._direction import Direction, to_minimized
from jaxhpo._status import Status
from jaxhpo.study._trial import Trial

if TYPE_CHECKING:
    from jaxhpo.inspection import Surrogate
    from jaxhpo.space import Space


def surrogate_of(
    space: Space, trials: Sequence[Trial], direction: Direction, kernel: str
) -> Surrogate:
    """See `Study.surrogate`."""
    from jaxhpo.inspection import fit_surrogate

    if isinstance(direction, tuple):
        raise _checks.fail("Study.surrogate", "direction", "one", direction)
    done = [t for t in trials if t.status in (Status.COMPLETE, Status.INFEASIBLE)]
    unit = np.asarray([trial.unit for trial in done]).reshape(len(done), space.num_dims)
    value = to_minimized(np.asarray([trial.value for trial in done], np.float64), direction)
    broken = np.asarray([float(trial.status is Status.INFEASIBLE) for trial in done])
    se = np.asarray([np.nan if trial.se is None else trial.se for trial in done], np.float64)
    return fit_surrogate(space, unit, value, violation=broken, se=se, kernel=kernel)
