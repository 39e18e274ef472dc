"""Nothing twice: finite spaces are used up, and no point of a mixed one is told again."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import has_proposal
from jaxhpo._status import Status
from jaxhpo.space import Space
from jaxhpo.testing import _case, _spaces
from jaxhpo.testing._case import SamplerCase


def check_each_once(case: SamplerCase) -> None:
    """Every configuration is proposed once, batches that do not divide included, then NaN."""
    for name, make_space in _spaces.FINITE.items():
        space = make_space()
        count = space.cardinality
        assert count is not None, name
        for q in (1, 3) if name == "discrete" else (3,):
            _, unit = _case.drive(case.make(space, q), _case.study_key(), count // q + 2)
            rows = unit.reshape(-1, space.num_dims)
            is_point = np.asarray(has_proposal(jnp.asarray(rows)))
            assert is_point[:count].all(), f"{name}: given up before all were proposed"
            assert not is_point[count:].any(), f"{name}: proposals after the last"
            assert np.isnan(rows[count:]).all(), f"{name}: a row is not NaN throughout"
            assert len(_distinct(space, rows[:count])) == count, f"{name}: a configuration repeats"


def check_told_count(case: SamplerCase) -> None:
    """A configuration that is told without being asked is not proposed."""
    space = _spaces.discrete()
    sampler = case.make(space, 3)
    params = {"count": 4, "kind": "c", "flag": True}
    told = jax.jit(lambda space, values: space.to_unit(values))(space, space.encode([params]))
    state = _case.init(sampler, _case.study_key())
    state, _ = _case.tell(sampler, _case.study_key(1), state, told, _case.value_of(told))
    _, unit = _case.drive(sampler, _case.study_key(2), 9, state=state)
    rows = unit.reshape(-1, space.num_dims)
    rows = rows[~np.isnan(rows).any(axis=1)]
    assert len(rows) == 23, f"{len(rows)} proposals, 23 configurations were left"
    proposed = _distinct(space, rows)
    assert len(proposed) == 23, "a configuration repeats"
    assert repr(params) not in proposed, "a told one repeats"


def check_status(case: SamplerCase) -> None:
    """`info.status` says when nothing is left."""
    space = _spaces.single()
    sampler = case.make(space)
    state = _case.init(sampler, _case.study_key())
    state, unit = _case.ask(sampler, _case.study_key(1), state)
    _, info = _case.tell(sampler, _case.study_key(2), state, unit, _case.value_of(unit))
    assert int(info.status) == Status.EMPTY, f"status {int(info.status)} of a space used up"


def check_mixed_once(case: SamplerCase) -> None:
    """Where a dimension is real and others have few levels, no point is proposed twice."""
    space, rounds = _spaces.few_levels(), 60
    if case.may_repeat:
        return
    _, unit = _case.drive(case.make(space), _case.study_key(), rounds, value_fn=_tilted)
    rows = unit.reshape(-1, space.num_dims)
    rows = rows[~np.isnan(rows).any(axis=1)]
    assert len(rows) == rounds or not case.is_endless, f"{len(rows)} proposals in {rounds} rounds"
    num_distinct = len(np.unique(rows, axis=0))
    assert num_distinct == len(rows), f"{len(rows) - num_distinct} of {len(rows)} points repeat"


@jax.jit
def _tilted(unit: jax.Array) -> jax.Array:
    """Lowest at the end of the first coordinate, so that steps and line searches end there."""
    return jnp.abs(unit[:, 0]) + jnp.sum((unit[:, 1:] - 0.5) ** 2, axis=1)


def _distinct(space: Space, rows: np.ndarray) -> set[str]:
    values = jax.jit(lambda space, unit: space.from_unit(unit))(space, rows)
    return {repr(params) for params in space.decode(values)}


CHECKS = {
    "each_once": check_each_once,
    "told_count": check_told_count,
    "mixed_once": check_mixed_once,
    "status": check_status,
}
