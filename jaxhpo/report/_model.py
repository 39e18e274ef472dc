"""The Gaussian process of a study, for sensitivities, slices and contours."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxhpo.space import Space, from_optuna

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from jaxhpo.inspection import Surrogate
    from jaxhpo.report._facts import Facts

logger = logging.getLogger("jaxhpo")

_MIN_TRIALS = 5
MAX_FOREST = 256
"""Trials that fANOVA's forest is grown from, spread over the study; each costs some 15 ms."""


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
            unit = np.asarray(space.to_unit(space.encode(params, np.float64)))
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

    Several objectives are ranked together, by which trials dominate which.

    References:
        Watanabe, Bansal, Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in
        Arbitrary Subspaces", 2023, https://arxiv.org/abs/2304.10255.
    """
    import optuna

    return _shares(facts, facts.done, optuna.importance.PedAnovaImportanceEvaluator())


def fanova_of(facts: Facts, objective: int) -> dict[str, float]:
    """FANOVA importance of the parameters that all trials have, for one objective.

    Empty where it has no answer, or where scikit-learn, whose random forest it is made of, is not
    installed.

    References:
        Hutter, Hoos, Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter
        Importance", 2014, http://proceedings.mlr.press/v32/hutter14.html.
    """
    import optuna

    def target(trial: Any) -> float:
        return float(trial.values[objective])

    try:
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    except ImportError:
        return {}
    rows = np.unique(np.linspace(0, len(facts.done) - 1, MAX_FOREST).round().astype(int))
    trials = [facts.done[row] for row in rows] if facts.done else []
    return _shares(facts, trials, evaluator, target)


def _shares(
    facts: Facts, trials: list[FrozenTrial], evaluator: Any, target: Any = None
) -> dict[str, float]:
    """What one of Optuna's evaluators finds in some trials."""
    import optuna

    if len(trials) < _MIN_TRIALS:
        return {}
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(directions=list(map(_direction, facts.directions)))
        study.add_trials(trials)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator, target=target)
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
