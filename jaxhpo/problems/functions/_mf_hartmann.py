"""Hartmann's functions at many fidelities: low ones are flatter, and noisy."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo.problems.functions import _formulas as formulas
from jaxhpo.problems.functions._box import BoxFunction, box_point
from jaxhpo.problems.functions._functions import hartmann3, hartmann6
from jaxhpo.training import Training

Array = jax.Array

_CORRELATIONS = {  # bias and noise
    "good": (2.5, 2.0),
    "moderate": (3.0, 3.0),
    "bad": (3.5, 4.0),
    "terrible": (4.0, 5.0),
}


@dataclasses.dataclass(frozen=True)
class MfHartmann(BoxFunction):
    """A test function with a fidelity, as `mf_hartmann` makes it.

    Attributes:
        name: its name.
        low: `[d]` lower bounds.
        high: `[d]` upper bounds.
        num_steps: the highest fidelity, at which it is Hartmann's function itself.
        bias: how much shallower the four wells are at the lowest fidelity.
        noise: standard deviation there.
        minimum: smallest value at the highest fidelity.
        minimizers: `[k, d]` where that is.
    """

    name: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    num_steps: int
    bias: float
    noise: float
    minimum: float
    minimizers: tuple[tuple[float, ...], ...]

    def evaluate(self, key: Array, x: Array, step: Array | int) -> Array:
        """The value at a fidelity.

        Args:
            key: of the noise; the same key and step, the same noise.
            x: `[d]` point.
            step: from 1 to `num_steps`; traced or not.

        Returns:
            `[]` the value.
        """
        of = formulas.hartmann3 if self.num_dims == 3 else formulas.hartmann6
        at = jnp.log(jnp.asarray(step, x.dtype)) / jnp.log(jnp.asarray(self.num_steps, x.dtype))
        lacking = jnp.maximum(1 - at, 0)
        drawn = jax.random.normal(jax.random.fold_in(key, step), (), x.dtype)
        return of(x, self.bias * lacking**2) + self.noise * lacking * drawn

    def objective(self, key: Array, params: Any) -> Array:
        """The value at the highest fidelity, as an objective over `space`."""
        return self.evaluate(key, box_point(params), self.num_steps)

    @property
    def training(self) -> Training:
        """A training run of `num_steps` steps whose loss after step t is the value at fidelity t.

        Its state is the key and the number of steps, so that a step costs nothing.
        """
        return Training(
            init=lambda key, hparams: (key, jnp.zeros((), jnp.int32)),
            step=lambda key, hparams, state, t: (state[0], state[1] + 1),
            loss=lambda hparams, state: self.evaluate(state[0], box_point(hparams), state[1]),
        )


def mf_hartmann(
    num_dims: int = 6, correlation: str = "good", *, num_steps: int = 100
) -> MfHartmann:
    """Hartmann's function of 3 or 6 dimensions, whose low fidelities mislead.

    With z = log(step) / log(num_steps), the value is -sum_i (a_i - bias (1 - z)^2) exp(-q_i(x)) and
    normal noise of standard deviation noise (1 - z), where a = (1, 1.2, 3, 3.2) and q_i are those
    of Hartmann's function: with few steps its wells are shallower, some are hills, and all lies in
    noise. At `num_steps` it is the function itself.

    Take it to compare schedulers: the right answer is known, and a run costs nothing.

    Args:
        num_dims: 3 or 6.
        correlation: how well few steps tell of many: "good" (bias 2.5, noise 2), "moderate" (3, 3),
            "bad" (3.5, 4) or "terrible" (4, 5).
        num_steps: the highest fidelity, at least 2.

    Returns:
        The problem.

    Raises:
        TypeError: `num_dims` or `num_steps` is no whole number.
        ValueError: another number of dimensions, or an unknown correlation.

    Example:
        >>> import jax, jax.numpy as jnp, jaxhpo as hpo
        >>> problem = hpo.problems.mf_hartmann(3, "bad")
        >>> best = jnp.asarray(problem.minimizers[0])
        >>> round(float(problem.evaluate(jax.random.key(0), best, 100)), 3), problem.name
        (-3.863, 'mf_hartmann3_bad')

    References:
        Kandasamy et al., "Multi-fidelity Bayesian optimisation with continuous approximations",
        2017, https://arxiv.org/abs/1703.06240 (heights that grow with the fidelity, without noise);
        Mallik et al., "PriorBand", 2023, https://arxiv.org/abs/2306.12370 (this bias and noise).
    """
    where = "problems.mf_hartmann"
    if _checks.check_int(where, "num_dims", num_dims, 1) not in (3, 6):
        raise _checks.fail(where, "num_dims", "3 or 6", num_dims)
    _checks.check_choice(where, "correlation", correlation, _CORRELATIONS)
    num_steps = _checks.check_int(where, "num_steps", num_steps, 2)
    plain = hartmann3() if num_dims == 3 else hartmann6()
    assert plain.minimum is not None
    return MfHartmann(
        f"mf_hartmann{num_dims}_{correlation}",
        plain.low,
        plain.high,
        num_steps,
        *_CORRELATIONS[correlation],
        plain.minimum,
        plain.minimizers,
    )
