"""Which sampler for which search: a choice that is made once, before the search, and says why."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np

from jaxhpo import _checks
from jaxhpo._base import Sampler
from jaxhpo.samplers._parts._pending import check_space
from jaxhpo.samplers._traits import register, traits_of
from jaxhpo.samplers.bayesian._gp import gp
from jaxhpo.samplers.bayesian._gp_multi import gp_multi
from jaxhpo.samplers.bayesian._turbo import turbo
from jaxhpo.samplers.evolutionary._cma_es import cma_es
from jaxhpo.samplers.evolutionary._nsga2 import nsga2
from jaxhpo.samplers.evolutionary._nsga3 import nsga3
from jaxhpo.samplers.local._gradient import gradient
from jaxhpo.samplers.space_filling._qmc import qmc
from jaxhpo.samplers.tpe._tpe import tpe
from jaxhpo.space import Space

logger = logging.getLogger("jaxhpo")

_FACTORIES = {
    "cma_es": cma_es,
    "gp": gp,
    "gp_multi": gp_multi,
    "gradient": gradient,
    "nsga2": nsga2,
    "nsga3": nsga3,
    "qmc": qmc,
    "tpe": tpe,
    "turbo": turbo,
}

FEW_TRIALS = 6
"""With fewer trials no model has anything to say."""

GP_TRIALS = 500
"""Beyond, a proposal of `gp` costs more than it brings: others have caught up."""

GP_MULTI_TRIALS = 250
"""The same of `gp_multi`, which fits and searches several models: where a proposal for two
objectives takes 17 ms of a CPU core (`benchmarks/mo_cost.py`). A choice: only 100 trials have
been compared."""

GP_DIMS = 30
"""In more unit dimensions the model needs more trials than it is meant for."""

TURBO_DIMS, TURBO_TRIALS = 20, 5
"""From so many continuous dimensions on `turbo` ends lower than `gp`, with so many trials a
dimension; its design alone takes two."""

MANY_OBJECTIVES = 4


class Choice(NamedTuple):
    """A sampler by name, and why it was chosen.

    Attributes:
        name: as in `samplers.names()`.
        settings: keyword arguments for its factory, besides `space` and `batch_size`.
        reason: one sentence.
    """

    name: str
    settings: dict[str, Any]
    reason: str


def choose(
    space: Space,
    *,
    num_trials: int | None = None,
    num_objectives: int = 1,
    has_gradient: bool = False,
    is_noisy: bool = False,
    has_constraints: bool = False,
) -> Choice:
    """Chooses a sampler by dimension, kind of space, budget, objectives and gradients.

    The rules come from the measurements in `docs/choosing-a-sampler.md`.

    Args:
        space: the search space.
        num_trials: trials that there will be; None where nobody knows.
        num_objectives: values of one trial.
        has_gradient: whether trials come with the gradient of their value (`hpo.with_gradient`).
        is_noisy: whether the same trial gives another value each time.
        has_constraints: whether trials say by how much they violate constraints (`Outcome`);
            a Gaussian process then models that as well.

    Returns:
        The choice.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: an argument out of range, or a space with nothing to search.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(0.0, 1.0, shape=(3,))})
        >>> hpo.samplers.choose(space, num_trials=100).name
        'gp'
        >>> hpo.samplers.choose(space, num_trials=5000).reason
        '5000 trials of 3 continuous dimensions: a population adapts to the landscape at no cost.'
    """
    where = "samplers.choose"
    space = check_space(where, space)
    if num_trials is not None:
        num_trials = _checks.check_count(where, "num_trials", num_trials, 1)
    num_objectives = _checks.check_count(where, "num_objectives", num_objectives, 1)
    has_gradient = _checks.check_bool(where, "has_gradient", has_gradient)
    is_noisy = _checks.check_bool(where, "is_noisy", is_noisy)
    has_constraints = _checks.check_bool(where, "has_constraints", has_constraints)
    choice = _choose(
        space, num_trials, num_objectives, has_gradient and not is_noisy, has_constraints
    )
    if has_constraints and traits_of(choice.name).models_constraints:
        return choice._replace(settings={**choice.settings, "constrained": True})
    return choice


def _choose(
    space: Space,
    num_trials: int | None,
    num_objectives: int,
    has_exact_gradient: bool,
    has_constraints: bool,
) -> Choice:
    """The choice among samplers, before settings for constraints."""
    if num_trials is not None and num_trials <= FEW_TRIALS:
        return Choice("qmc", {}, f"{num_trials} trials teach no model: points that spread evenly.")
    if num_objectives > 1:
        return _for_several(space, num_trials, num_objectives)
    levels = space.num_levels
    if has_exact_gradient and bool((levels == 0).all()):
        return Choice("gradient", {}, "continuous with gradients: quasi-Newton descents.")
    return _for_one(space, levels, num_trials, has_constraints)


def _for_several(space: Space, num_trials: int | None, num_objectives: int) -> Choice:
    settings, d = {"num_objectives": num_objectives}, space.num_dims
    is_long = num_trials is not None and num_trials > GP_MULTI_TRIALS
    if not is_long and d <= GP_DIMS:
        reason = f"{_count(num_trials)} of {num_objectives} objectives: a Gaussian process for each"
        return Choice("gp_multi", settings, f"{reason} makes the most of them.")
    if num_objectives < MANY_OBJECTIVES:
        reason = f"{num_objectives} objectives: a population spread along the front."
        return Choice("nsga2", settings, reason)
    reason = f"{num_objectives} objectives: fronts of so many need reference directions."
    return Choice("nsga3", settings, reason)


def _for_one(
    space: Space, levels: np.ndarray, num_trials: int | None, has_constraints: bool
) -> Choice:
    """One objective, values only."""
    d = space.num_dims
    num_unordered = int((space.is_categorical & (levels > 2)).sum())
    count = _count(num_trials)
    is_long = num_trials is not None and num_trials > GP_TRIALS
    is_wide = d >= TURBO_DIMS and bool((levels == 0).all()) and not has_constraints
    if is_wide and num_trials is not None and TURBO_TRIALS * d <= num_trials <= GP_TRIALS:
        reason = f"{count} of {d} continuous dimensions: a Gaussian process in a trust region."
        return Choice("turbo", {}, reason)
    if not is_long and d <= GP_DIMS:
        reason = f"{count} of {d} dimensions: a Gaussian process makes the most of each."
        return Choice("gp", {}, reason)
    is_ordered = num_unordered == 0 and not space.is_conditional
    if is_ordered and bool((levels == 0).all()):
        reason = f"{count} of {d} continuous dimensions: a population adapts to the landscape"
        return Choice("cma_es", {}, f"{reason} at no cost.")
    if is_ordered or (is_long and 2 * num_unordered < d):
        kind = "ordered" if is_ordered else "mostly ordered"
        reason = f"{count} of {d} {kind} dimensions: a population with margin."
        return Choice("cma_es", {}, reason)
    kind = "mostly categorical" if 2 * num_unordered >= d else "mixed"
    reason = f"{count} of {d} {kind} dimensions: densities of good and of other trials."
    return Choice("tpe", {}, reason)


def _count(num_trials: int | None) -> str:
    return "an unknown number of trials" if num_trials is None else f"{num_trials} trials"


@register(several_objectives=True, models_constraints=True)
def auto(
    space: Space,
    *,
    batch_size: int = 1,
    num_trials: int | None = None,
    num_objectives: int = 1,
    has_gradient: bool = False,
    is_noisy: bool = False,
    has_constraints: bool = False,
) -> Sampler:
    """The sampler that `choose` chooses; what it is and why goes to the log "jaxhpo" as INFO.

    When to use it: where you have no reason to prefer another one. `minimize` and `Study` know more
    than the space (the number of trials, the objectives) and pass it on.

    Args:
        space: the search space.
        batch_size: static; rows of one `ask`.
        num_trials: as for `choose`.
        num_objectives: as for `choose`.
        has_gradient: as for `choose`.
        is_noisy: as for `choose`.
        has_constraints: as for `choose`.

    Returns:
        The sampler.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: an argument out of range, or a space with nothing to search.

    Example:
        >>> import jaxhpo as hpo
        >>> function = hpo.problems.branin()
        >>> sampler = hpo.samplers.auto(function.space, num_trials=5)
        >>> result = hpo.minimize(function.objective, function.space, sampler, key=0, num_trials=5)
        >>> bool(result.best_value < 100.0)
        True
    """
    choice = choose(
        space,
        num_trials=num_trials,
        num_objectives=num_objectives,
        has_gradient=has_gradient,
        is_noisy=is_noisy,
        has_constraints=has_constraints,
    )
    logger.info("auto: %s, because %s", choice.name, choice.reason)
    return _FACTORIES[choice.name](space, batch_size=batch_size, **choice.settings)  # type: ignore[operator]
