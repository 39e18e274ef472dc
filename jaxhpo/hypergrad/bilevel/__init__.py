"""Stochastic bilevel solvers: training and hyperparameters move together, batch by batch."""

from jaxhpo.hypergrad.bilevel._amigo import amigo as amigo
from jaxhpo.hypergrad.bilevel._driver import Solution as Solution
from jaxhpo.hypergrad.bilevel._driver import solve as solve
from jaxhpo.hypergrad.bilevel._f2sa import f2sa as f2sa
from jaxhpo.hypergrad.bilevel._problem import BilevelProblem as BilevelProblem
from jaxhpo.hypergrad.bilevel._problem import problem as problem
from jaxhpo.hypergrad.bilevel._saba import saba as saba
from jaxhpo.hypergrad.bilevel._soba import soba as soba
from jaxhpo.hypergrad.bilevel._solver_base import BilevelSolver as BilevelSolver
from jaxhpo.hypergrad.bilevel._solver_base import BilevelState as BilevelState
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
