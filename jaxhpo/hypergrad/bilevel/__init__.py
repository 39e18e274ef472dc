"""Stochastic bilevel solvers: training and hyperparameters move together, batch by batch.

A solver takes a problem and step sizes and is run by `solve`. All check them alike: a `problem`
that does not come from `problem`, or a setting that is no number, is a TypeError; a step size not
above 0, or a count below 1, a ValueError.

Example:
    >>> import jax.numpy as jnp, jaxhpo as hpo
    >>> from jaxhpo.hypergrad import bilevel
    >>> shrink = bilevel.problem(
    ...     lambda h, w, x: 0.5 * jnp.mean((w - x) ** 2) + 0.5 * h["l2"] * w**2,
    ...     lambda h, w, x: 0.5 * jnp.mean((w - x) ** 2),
    ...     train=jnp.ones(8), validation=jnp.full(4, 0.5),
    ... )
    >>> def found(solver, num_updates):  # the best penalty is 1
    ...     run = bilevel.solve(solver, {"l2": 0.1}, 0.0, key=0, num_updates=num_updates)
    ...     return round(float(run.hparams["l2"]), 2)
    >>> found(bilevel.soba(shrink, inner_step=0.3, outer_step=0.1), 2000)
    1.0
    >>> found(bilevel.saba(shrink, inner_step=0.3, outer_step=0.1), 2000)
    1.0
    >>> found(bilevel.stocbio(shrink, inner_step=0.3, outer_step=0.5), 300)
    1.0
    >>> found(bilevel.amigo(shrink, inner_step=0.3, outer_step=0.5), 300)
    1.0
    >>> found(bilevel.f2sa(shrink, inner_step=0.3, outer_step=0.5, penalty=100.0), 300)
    1.0
"""

from jaxhpo.hypergrad.bilevel._amigo import amigo as amigo
from jaxhpo.hypergrad.bilevel._driver import Solution as Solution
from jaxhpo.hypergrad.bilevel._driver import solve as solve
from jaxhpo.hypergrad.bilevel._f2sa import f2sa as f2sa
from jaxhpo.hypergrad.bilevel._problem import BilevelProblem as BilevelProblem
from jaxhpo.hypergrad.bilevel._problem import problem as problem
from jaxhpo.hypergrad.bilevel._saba import saba as saba
from jaxhpo.hypergrad.bilevel._soba import soba as soba
from jaxhpo.hypergrad.bilevel._state import BilevelSolver as BilevelSolver
from jaxhpo.hypergrad.bilevel._state import BilevelState as BilevelState
from jaxhpo.hypergrad.bilevel._stocbio import stocbio as stocbio

__all__ = [
    "BilevelProblem",
    "BilevelSolver",
    "BilevelState",
    "Solution",
    "amigo",
    "f2sa",
    "problem",
    "saba",
    "soba",
    "solve",
    "stocbio",
]
