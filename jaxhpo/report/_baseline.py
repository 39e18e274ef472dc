"""What random search would have reached beside what the study reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

if TYPE_CHECKING:
    from jaxhpo.inspection import Surrogate
    from jaxhpo.report._facts import Facts

_RUNS = 200
_SHARE = 0.8


class Baseline(NamedTuple):
    """Best values of imagined runs of random search, in the user's sign.

    Attributes:
        mean: `[n]` mean best value after 1, 2, … trials.
        lower: `[n]` lower end of the band that holds 80 % of the runs.
        upper: `[n]` its upper end.
        words: what this is, for the reader.
    """

    mean: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    words: str


def baseline_of(facts: Facts, surrogate: Surrogate | None) -> Baseline | None:
    """Estimates random search on the study's problem.

    A sampler that pays no heed to values has run random search itself: its trials, in 200 random
    orders, are the estimate. For any other, the trials are a biased sample; the Gaussian process
    that was fitted to them stands in for the objective, and 200 runs draw their points uniformly
    from the space.

    Args:
        facts: the study, of one objective.
        surrogate: the model, or None.

    Returns:
        The `Baseline`, or None where there is nothing to estimate it from.
    """
    n = len(facts.done)
    if n < 2:
        return None
    rng, sign = np.random.default_rng(0), float(facts.signs[0])
    if facts.is_blind:
        value = sign * facts.value[:, 0]
        runs = np.stack([rng.permutation(value) for _ in range(_RUNS)])
        words = (
            "Random search here: this study's own trials in 200 random orders, since its sampler "
            "pays no heed to values."
        )
    elif surrogate is not None:
        runs = _imagined(surrogate, n)
        words = (
            "Random search here is an estimate and no run: 200 imagined runs draw points uniformly "
            "from the space, and the Gaussian process that was fitted to this study's trials gives "
            "its median as their values."
        )
    else:
        return None
    best = np.minimum.accumulate(runs, axis=1)
    low, high = np.quantile(best, [0.5 - _SHARE / 2, 0.5 + _SHARE / 2], axis=0)
    ends = (low, high) if sign > 0 else (-high, -low)
    return Baseline(sign * best.mean(axis=0), *ends, f"{words} Band: 80 % of the runs.")


def _imagined(surrogate: Surrogate, n: int) -> np.ndarray:
    """Values `[runs, n]` to minimise, of uniform draws; draws are shared between the runs."""
    pool = 4096
    unit = np.asarray(jax.random.uniform(jax.random.key(0), (pool, surrogate.space.num_dims)))
    value = surrogate.predict(unit).median
    return value[np.random.default_rng(0).integers(pool, size=(_RUNS, n))]
