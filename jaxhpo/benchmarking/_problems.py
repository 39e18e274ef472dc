"""The problems of the benchmark, by name. Optima lie off the centre of the box."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from jaxhpo import problems
from jaxhpo.problems import bbob, tabular

_BBOB_BY_KIND = (1, 8, 10, 15, 20, 21)
"""Separable, Rosenbrock, ill-conditioned, Rastrigin, deceptive, many peaks."""


def _shifted(make: Callable[..., problems.Function], num_dims: int) -> problems.Function:
    return make(num_dims).shifted()


SEVERAL: dict[str, Callable[[], problems.MultiObjective]] = {
    "zdt1_8d": functools.partial(problems.zdt1, 8),
    "zdt2_8d": functools.partial(problems.zdt2, 8),
    "zdt3_8d": functools.partial(problems.zdt3, 8),
    "zdt4_5d": functools.partial(problems.zdt4, 5),
    "zdt6_8d": functools.partial(problems.zdt6, 8),
    "dtlz1_5d": functools.partial(problems.dtlz1, 3, 5),
    "dtlz2_6d": functools.partial(problems.dtlz2, 3, 6),
    "dtlz7_6d": functools.partial(problems.dtlz7, 3, 6),
    "bnh": problems.bnh,
    "c2_dtlz2": problems.c2_dtlz2,
}
"""Problems of two and of three objectives; the last two have constraints."""

PROBLEMS: dict[str, Callable[[], Any]] = {
    "branin": problems.branin,
    "hartmann6": problems.hartmann6,
    "ackley10": functools.partial(_shifted, problems.ackley, 10),
    "levy10": functools.partial(_shifted, problems.levy, 10),
    "rosenbrock5": functools.partial(problems.rosenbrock, 5),
    "rosenbrock20": functools.partial(problems.rosenbrock, 20),
    "rastrigin5": functools.partial(_shifted, problems.rastrigin, 5),
    "styblinski_tang8": functools.partial(problems.styblinski_tang, 8),
    "michalewicz5": functools.partial(problems.michalewicz, 5),
    "griewank20": functools.partial(_shifted, problems.griewank, 20),
    "mixed": problems.mixed,
    "categorical": problems.categorical,
    "conditional": problems.conditional,
    **{name: functools.partial(tabular.problem, name) for name in tabular.NAMES},
    **{
        f"bbob{function:02d}_{d}d": functools.partial(bbob.problem, function, d)
        for d in (5, 20)
        for function in range(1, bbob.NUM_FUNCTIONS + 1)
    },
    "rosenbrock40": functools.partial(problems.rosenbrock, 40),
    **{f"bbob{f:02d}_40d": functools.partial(bbob.problem, f, 40) for f in _BBOB_BY_KIND},
    **SEVERAL,
}
"""Each makes a record with `name`, `space` and `objective`, and `minimum` or `num_objectives`."""

SETS: dict[str, tuple[str, ...]] = {
    "quick": ("branin", "rastrigin5", "mixed"),
    "standard": (
        *("branin", "hartmann6", "ackley10", "levy10", "rosenbrock5", "rastrigin5"),
        *("styblinski_tang8", "michalewicz5", "mixed", "categorical", "conditional"),
        *(f"bbob{function:02d}_5d" for function in _BBOB_BY_KIND),
    ),
    "bbob": tuple(f"bbob{f:02d}_5d" for f in range(1, bbob.NUM_FUNCTIONS + 1)),
    "tabular": tabular.NAMES,
    "several": tuple(SEVERAL),
    "wide": ("rosenbrock20", "griewank20", *(f"bbob{f:02d}_20d" for f in _BBOB_BY_KIND)),
    "wider": ("rosenbrock40", *(f"bbob{f:02d}_40d" for f in _BBOB_BY_KIND)),
}
"""Problems that are run together, by the name of the set."""
