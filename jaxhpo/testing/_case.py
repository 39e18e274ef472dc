"""One row of the conformance suite, and the loop that all checks drive."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Array, Outcome, PyTree, Sampler
from jaxhpo.search import with_gradient
from jaxhpo.space import Space


@dataclasses.dataclass(frozen=True)
class SamplerCase:
    """A sampler's row: how it is made and what it promises.

    Attributes:
        name: its name, as in `samplers.get`.
        factory: `factory(space, *, batch_size=1, **settings) -> Sampler`.
        settings: keyword arguments of the factory besides `batch_size`.
        variant: tells rows of one name apart.
        is_random: another key gives other proposals.
        is_endless: a continuous space is never used up.
        supports_mixed: whether a space of every kind of dimension is within reach (a grid's size).
        is_batch_invariant: proposals do not depend on values, so batches are only bookkeeping.
        resumes_exactly: telling the history to a fresh state continues the uninterrupted run.
        is_scale_free: shifting and stretching the box moves the proposals with it, bit by bit.
        may_repeat: a point of a space that is partly continuous may be proposed a second time,
            which is a waste unless the objective is noisy.
        needs_gradient: trials must come with a gradient, so that the progress checks wrap their
            objectives in `with_gradient`. Tells always have one.
        several: settings for two objectives, besides `settings`; None: it refuses more than one, or
            learns from none.
        progress_trials: trials of the progress checks.
        sphere_below: what the best of them must reach on the sphere, for each of three seeds.
        branin_below: the same on Branin's function, whose minimum is 0.3979.
    """

    name: str
    factory: Callable[..., Sampler]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    variant: str = ""
    is_random: bool = True
    is_endless: bool = True
    supports_mixed: bool = True
    is_batch_invariant: bool = False
    resumes_exactly: bool = True
    is_scale_free: bool = True
    may_repeat: bool = False
    needs_gradient: bool = False
    several: Mapping[str, Any] | None = None
    progress_trials: int = 256
    sphere_below: float = 0.5
    branin_below: float = 2.0

    @property
    def id(self) -> str:
        """Name and variant."""
        return f"{self.name}-{self.variant}" if self.variant else self.name

    def make(self, space: Space, batch_size: int = 1) -> Sampler:
        """Makes the sampler."""
        return self.factory(space, batch_size=batch_size, **self.settings)

    def make_several(self, space: Space) -> Sampler:
        """Makes the sampler for two objectives."""
        return self.factory(space, **{**self.settings, **(self.several or {})})

    def objective(self, objective: Callable[..., Any], space: Space) -> Callable[..., Any]:
        """The objective in the form that the sampler learns from."""
        return with_gradient(objective, space) if self.needs_gradient else objective


# The sampler is an argument, so that all checks share one program per structure.
init = jax.jit(lambda sampler, key: sampler.init(key))
ask = jax.jit(lambda sampler, key, state: sampler.ask(key, state))
tell = jax.jit(
    lambda sampler, key, state, unit, value: sampler.tell(key, state, unit, outcome_of(unit, value))
)


@jax.jit
def value_of(unit: Array) -> Array:
    """A smooth value of unit points `[q, d]` with its minimum off the centre; NaN rows give NaN."""
    return jnp.sum((unit - _target(unit)) ** 2, axis=1)


def outcome_of(unit: Array, value: Array) -> Outcome:
    """Any values of unit points `[q, d]`; one per point comes with the gradient of `value_of`."""
    gradient = 2 * (unit - _target(unit)) if value.ndim == 1 else None
    return Outcome(value, gradient=gradient)


def _target(unit: Array) -> Array:
    return jnp.linspace(0.3, 0.6, unit.shape[1], dtype=unit.dtype)[None, :]


def drive(
    sampler: Sampler,
    key: Array,
    rounds: int,
    *,
    start: int = 0,
    state: PyTree = None,
    value_fn: Callable[[Array], Array] = value_of,
) -> tuple[PyTree, np.ndarray]:
    """Asks and tells on the host.

    Args:
        sampler: the sampler.
        key: the study's key: `init` takes `fold_in(key, 2**31)`, round `i` `fold_in(key, i)`.
        rounds: number of rounds.
        start: number of the first round.
        state: where to go on from; None starts afresh.
        value_fn: from unit points `[q, d]` to values `[q]`.

    Returns:
        The state, and the proposals of all rounds `[rounds, q, d]`.
    """
    if state is None:
        state = init(sampler, init_key(key))
    asked = []
    for number in range(start, start + rounds):
        key_ask, key_tell = jax.random.split(jax.random.fold_in(key, number))
        state, unit = ask(sampler, key_ask, state)
        state, _ = tell(sampler, key_tell, state, unit, value_fn(unit))
        asked.append(np.asarray(unit))
    return state, np.stack(asked)


def init_key(key: Array) -> Array:
    """The key that `drive` starts a sampler with."""
    return jax.random.fold_in(key, 2**31)


def study_key(seed: int = 0) -> Array:
    """A fixed key, one per seed."""
    return jax.random.key(1000 + seed)


def assert_same(left: PyTree, right: PyTree, what: str, tolerance: float = 0.0) -> None:
    """Requires equal trees, NaN equal to NaN; `tolerance` is relative and absolute."""
    structures = [str(jax.tree.structure(tree)) for tree in (left, right)]
    assert structures[0] == structures[1], f"{what}: other structures"
    for one, other in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(
            np.asarray(one), np.asarray(other), rtol=tolerance, atol=tolerance, err_msg=what
        )


def rounding() -> float:
    """Tolerance for the same computation compiled differently, in the default float dtype."""
    return 64 * float(jnp.finfo(jnp.result_type(float)).eps)
