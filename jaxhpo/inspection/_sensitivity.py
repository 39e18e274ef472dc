"""How much of the objective's variation each parameter explains, by the model."""

from __future__ import annotations

import jax
import numpy as np

from jaxhpo import _checks
from jaxhpo.inspection._surrogate import Surrogate, check_surrogate


def sensitivity(surrogate: Surrogate, *, num_samples: int = 1024) -> dict[str, float]:
    """Total-effect Sobol indices of the model's mean over the whole space.

    The index of a parameter is the share of the variance that would be left if all others were
    known; interactions count for each of their parameters, so the sum may exceed 1.

    Args:
        surrogate: the model.
        num_samples: pairs of points; each parameter costs as many predictions.

    Returns:
        The index of each unit coordinate, largest first.

    Raises:
        TypeError: no `Surrogate`.
        ValueError: `num_samples` below 2.

    Example:
        >>> import numpy as np, jaxhpo as hpo
        >>> space = hpo.Space({"idle": hpo.uniform(0.0, 1.0), "x": hpo.uniform(0.0, 1.0)})
        >>> unit = np.random.default_rng(0).uniform(size=(24, 2))
        >>> surrogate = hpo.inspection.fit_surrogate(space, unit, np.sin(4 * unit[:, 1]))
        >>> list(hpo.inspection.sensitivity(surrogate))
        ['x', 'idle']

    References:
        Jansen, "Analysis of variance designs for model output", 1999,
        https://doi.org/10.1016/S0010-4655(98)00154-4.
    """
    check_surrogate("sensitivity", surrogate)
    num_samples = _checks.check_count("sensitivity", "num_samples", num_samples, 2)
    space = surrogate.space
    both = np.asarray(jax.random.uniform(jax.random.key(0), (2, num_samples, space.num_dims)))
    mean = surrogate.predict(both[0]).mean
    variance = np.var(mean)
    shares = {}
    for column, name in enumerate(surrogate.columns):
        moved = both[0].copy()
        moved[:, column] = both[1][:, column]
        change = surrogate.predict(moved).mean - mean
        shares[name] = float(0.5 * np.mean(change**2) / variance) if variance > 0 else 0.0
    return dict(sorted(shares.items(), key=lambda item: -item[1]))
