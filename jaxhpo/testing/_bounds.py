"""Proposals stay where they may be: bounds, steps, levels, active branches, constraints, dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo.space import Space
from jaxhpo.testing import _case, _spaces
from jaxhpo.testing._case import SamplerCase

_ROUNDS = 8
_BATCH = 3


@jax.jit
def _views(space: Space, unit: jax.Array) -> tuple[Any, ...]:
    values = space.from_unit(unit)
    return space.snap(unit), values, space.feasible(values)


def _check_inside(case: SamplerCase, make_space: Callable[[], Space]) -> None:
    space = make_space()
    _, unit = _case.drive(case.make(space, _BATCH), _case.study_key(), _ROUNDS)
    unit = unit.reshape(-1, space.num_dims)
    rows = unit[~np.isnan(unit).any(axis=1)]
    assert len(rows) > 0, "no proposal at all"
    if case.is_endless:
        assert len(rows) == len(unit), "an endless space was used up"
    assert ((rows >= 0) & (rows <= 1)).all(), "outside the unit cube"
    snapped, values, is_allowed = _views(space, rows)
    np.testing.assert_array_equal(rows, np.asarray(snapped), "not snapped")
    assert np.asarray(is_allowed).all(), "a constraint is broken"
    # encode refuses what is out of bounds or off the grid, and names it.
    params = space.decode(values)
    again = space.decode(space.encode(params))
    assert again == params, "decode(encode(params)) is not params"


def check_continuous(case: SamplerCase) -> None:
    """Real dimensions."""
    _check_inside(case, _spaces.continuous)


def check_mixed(case: SamplerCase) -> None:
    """Steps, integers, logs, ordinals, weighted choices, vectors, single values."""
    if case.supports_mixed:
        _check_inside(case, _spaces.mixed)


def check_conditional(case: SamplerCase) -> None:
    """Nested choices."""
    _check_inside(case, _spaces.conditional)


def check_constrained(case: SamplerCase) -> None:
    """Constraints between parameters."""
    _check_inside(case, _spaces.constrained)


def check_dtypes(case: SamplerCase) -> None:
    """Points follow the default float dtype, with x64 off and on, whatever it is globally."""
    for is_on, dtype in ((False, jnp.float32), (True, jnp.float64)):
        with jax.enable_x64(is_on):
            space = _spaces.continuous()
            sampler = case.make(space, 2)
            state, unit = _case.drive(sampler, _case.study_key(), 2)
            assert unit.dtype == dtype, f"x64={is_on}: points are {unit.dtype}"
            floats = [leaf.dtype for leaf in jax.tree.leaves(state) if leaf.dtype.kind == "f"]
            assert all(kind in (jnp.float32, jnp.float64) for kind in floats), floats
            assert ((unit >= 0) & (unit <= 1)).all(), f"x64={is_on}: outside the unit cube"


CHECKS = {
    "continuous": check_continuous,
    "mixed": check_mixed,
    "conditional": check_conditional,
    "constrained": check_constrained,
    "dtypes": check_dtypes,
}
