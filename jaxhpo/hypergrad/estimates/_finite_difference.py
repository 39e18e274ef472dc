"""Finite differences of a training run: an oracle for the other estimators."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo._checks import check_positive
from jaxhpo.hypergrad._arguments import check_run
from jaxhpo.hypergrad._base import Array, Estimator, Hypergradient, Traits
from jaxhpo.hypergrad.estimates._evolution import run_value
from jaxhpo.hypergrad.unrolled._forward import as_tree, basis
from jaxhpo.hypergrad.unrolled._opened_run import open_run
from jaxhpo.training import Training

_TRAITS = Traits(
    bias="of the order of the step squared, plus rounding over the step",
    time="1 + 2 H runs",
    memory="2 H S",
)


def finite_difference(
    training: Training, *, num_steps: int, step: float | None = None
) -> Estimator:
    """Central finite differences, two runs per hyperparameter: an oracle, not a method.

    Args:
        training: the run.
        num_steps: steps of the run; static.
        step: absolute step; may be traced; None takes the cube root of the rounding, times the
            size of the hyperparameter where that is above 1.

    Raises:
        ValueError: no steps, or a `step` not above 0.

    Example:
        >>> import jaxhpo as hpo
        >>> task = hpo.problems.valley()
        >>> estimator = hpo.hypergrad.finite_difference(task.training, num_steps=200)
        >>> exact = task.exact(task.hparams)[1]["x"]
        >>> bool(abs(estimator(0, task.hparams).grad["x"] - exact) < 0.01)
        True
    """
    where = "finite_difference"
    num_steps = check_run(where, training, num_steps)
    if step is not None:
        check_positive(where, "step", step)

    def evaluate(key: Array, hparams: Any) -> Hypergradient:
        run = open_run(where, training, key, hparams, mixed=False)

        def width(leaf: Array) -> Array:
            natural = jnp.cbrt(jnp.finfo(leaf.dtype).eps).astype(leaf.dtype)
            if step is not None:
                return jnp.full_like(leaf, step)
            return natural * jnp.maximum(jnp.abs(leaf), jnp.ones_like(leaf))

        widths = jax.tree.map(width, hparams)

        def slope(direction: Any) -> Array:
            move = jax.tree.map(jnp.multiply, widths, direction)
            ends = [jax.tree.map(op, hparams, move) for op in (jnp.add, jnp.subtract)]
            # The distance that floating point really made of the step.
            gaps = jax.tree.map(lambda a, b: jnp.sum(a - b), *ends)
            values = [run_value(run, end, num_steps)[0] for end in ends]
            distance = sum(
                (gap.astype(values[0].dtype) for gap in jax.tree.leaves(gaps)),
                jnp.zeros_like(values[0]),
            )
            return (values[0] - values[1]) / distance

        slopes = jax.vmap(slope)(basis(hparams))
        middle, final = run_value(run, hparams, num_steps)
        return Hypergradient(middle, as_tree(slopes, hparams), run.state(final))

    return Estimator(where, training, num_steps, _TRAITS, evaluate)
