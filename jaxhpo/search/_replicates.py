"""A noisy objective evaluated several times per trial."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo._base import Array, Outcome, PyTree
from jaxhpo._tracing.owned import as_pytree


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Replicates:
    objective: Callable[..., Any]
    count: int = dataclasses.field(metadata={"static": True})

    def __call__(self, key: Array, params: PyTree) -> Outcome:
        def one(key: Array) -> Outcome:
            returned = self.objective(key, params)
            outcome = returned if isinstance(returned, Outcome) else Outcome(returned)
            return jax.tree.map(lambda part: jnp.asarray(part, jnp.result_type(float)), outcome)

        many = jax.vmap(one)(jax.random.split(key, self.count))
        return Outcome(
            value=jnp.mean(many.value, axis=0),
            se=jnp.std(many.value, axis=0, ddof=1) / self.count**0.5,
            violation=None if many.violation is None else jnp.max(many.violation, axis=0),
            gradient=None if many.gradient is None else jnp.mean(many.gradient, axis=0),
        )


def replicates(
    objective: Callable[[Array, PyTree], Any], count: int
) -> Callable[[Array, PyTree], Outcome]:
    """Evaluates a noisy objective several times per trial, side by side, and tells mean and error.

    The trial's value is the mean over keys of its own, and `Outcome.se` the mean's standard error,
    which Gaussian processes take for the known noise of that trial. Constraints must hold in every
    replicate. If one replicate fails, the trial fails.

    Args:
        objective: `objective(key, params)` -> scalar or `Outcome`; its noise comes from `key`.
        count: static; replicates, at least 2.

    Returns:
        `objective(key, params) -> Outcome`; a pytree, so that wrapping the same objective again
        compiles nothing again.

    Raises:
        TypeError: `objective` cannot be called, or `count` is no integer.
        ValueError: `count` below 2.

    Example:
        >>> import jax, jaxhpo as hpo
        >>> noisy = lambda key, params: params["x"] ** 2 + jax.random.normal(key)
        >>> outcome = hpo.replicates(noisy, 64)(jax.random.key(0), {"x": 1.0})
        >>> abs(float(outcome.value) - 1.0) < 0.5, round(float(outcome.se), 1)
        (True, 0.1)
    """
    _checks.check_takes("replicates", "objective", objective, "key, params")
    count = _checks.check_count("replicates", "count", count, 2)
    return _Replicates(as_pytree(objective), count)
