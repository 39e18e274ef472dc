"""A trial of a sweep, trained once more: the same key, the same values, the same numbers."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxhpo import _checks
from jaxhpo.study._trial import unit_of
from jaxhpo.study.storage._rows import SCHEDULE_ATTR, SWEEP_ATTR

if TYPE_CHECKING:
    from jaxhpo.study._core import StudyCore
    from jaxhpo.training import Training

logger = logging.getLogger("jaxhpo")

# Stream of the seed's key that the training runs use.
_SWEEP_STREAM = 2**32 - 3
# Beyond rounding on another machine: another training.
_TOLERANCE = 1e-3


def sweep_key(study: StudyCore) -> jax.Array:
    """The key that a study's sweeps fold with the numbers of trials."""
    return jax.random.fold_in(jax.random.key(study.seed), _SWEEP_STREAM)


def trial_key(study: StudyCore, number: Any) -> jax.Array:
    """See `Study.trial_key`."""
    numbers = np.asarray(number)
    if numbers.dtype.kind not in "iu" or numbers.ndim > 1 or (numbers < 0).any():
        expected = "a trial's number of at least 0, or an array of them"
        raise _checks.fail("Study.trial_key", "number", expected, number)
    fold = jax.random.fold_in if numbers.ndim == 0 else jax.vmap(jax.random.fold_in, (None, 0))
    return fold(sweep_key(study), numbers.astype(np.uint32))


def retrain(study: StudyCore, training: Training, number: int | None) -> Any:
    """See `Study.retrain`."""
    from jaxhpo import population

    where = "Study.retrain"
    if number is None:
        number = study.best.number
    frozen = study._store.trial(_checks.check_int(where, "number", number, 0))
    how, unit = frozen.system_attrs.get(SWEEP_ATTR), unit_of(frozen)
    if how is None or unit is None:
        raise _checks.fail(where, "number", "that of a trial which `sweep` has trained", number)
    if how["num_steps"] == 0:
        expected = "that of a trial which took a step before its scheduler ended it"
        raise _checks.fail(where, "number", expected, number)
    if SCHEDULE_ATTR in frozen.user_attrs:
        expected = "that of a trial whose hyperparameters no scheduler has changed"
        raise _checks.fail(where, "number", expected, number)
    result = population.sweep(
        training,
        study.space.host_values(unit[None]),
        key=sweep_key(study),
        first_trial=number,
        num_steps=how["num_steps"],
        num_reports=how["num_reports"],
        share_data_order=how["share_data_order"],
        # Other widths round otherwise.
        width=how["width"],
        keep_states=True,
        progress=False,
    )
    recorded = math.nan if frozen.values is None else frozen.values[0]
    loss = float(result.losses[0])
    if not np.isclose(loss, recorded, rtol=_TOLERANCE, equal_nan=True):
        logger.warning(
            "study %r: trial %d has the value %.6g, but retraining gave %.6g: `training` or its "
            "data differs from that of the sweep",
            study.name, number, recorded, loss,
        )  # fmt: skip
    return jax.tree.map(lambda leaf: leaf[0], result.states)
