"""The Gaussian process of a study, for sensitivities, slices and contours."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxhpo.space import Space, from_optuna

if TYPE_CHECKING:
    from jaxhpo.inspection import Surrogate
    from jaxhpo.report._facts import Facts

logger = logging.getLogger("jaxhpo")

_MIN_TRIALS = 5


def surrogate_of(facts: Facts, space: Space | None) -> Surrogate | None:
    """Fits the model.

    Args:
        facts: the study, of one objective.
        space: its space; None takes the parameters that all complete trials have.

    Returns:
        The model of values to minimise, or None where there are too few trials or parameters.
    """
    from jaxhpo.inspection import fit_surrogate

    if not facts.is_single or len(facts.done) < _MIN_TRIALS or np.ptp(facts.value) == 0:
        return None
    value = facts.signs[0] * facts.value[:, 0]
    unit = None if space is None else facts.unit(space.num_dims)
    try:
        if space is None or unit is None:
            space = _common_space(facts)
            if space is None:
                return None
            params = [{name: t.params[name] for name in space.names} for t in facts.done]
            unit = np.asarray(space.to_unit(space.encode(params)))
        return fit_surrogate(space, unit, value)
    except (ValueError, TypeError) as error:
        logger.warning("report: there is no model of study %r: %s", facts.name, error)
        return None


def _common_space(facts: Facts) -> Space | None:
    """The space of those parameters that all complete trials have."""
    common = [
        name
        for name, distribution in facts.distributions.items()
        if not distribution.single() and all(name in trial.params for trial in facts.done)
    ]
    if not common:
        return None
    return from_optuna({name: facts.distributions[name] for name in common})


def importance_of(facts: Facts) -> dict[str, float]:
    """PED-ANOVA importance of each parameter, the largest first; empty where it has no answer.

    References:
        Watanabe, Bansal, Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in
        Arbitrary Subspaces", 2023, https://arxiv.org/abs/2304.10255.
    """
    import optuna

    if not facts.is_single or len(facts.done) < _MIN_TRIALS:
        return {}
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(directions=list(map(_direction, facts.directions)))
        study.add_trials(facts.done)
        found = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
        )
    except (ValueError, RuntimeError) as error:
        logger.info("report: no importances of study %r: %s", facts.name, error)
        return {}
    finally:
        optuna.logging.set_verbosity(level)
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _direction(name: str) -> Any:
    """Optuna's own name of a direction."""
    from optuna.study import StudyDirection

    return StudyDirection[name.upper()]
