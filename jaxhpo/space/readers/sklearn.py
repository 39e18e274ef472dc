"""A scikit-learn `param_distributions` as a `Space`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxhpo._checks import check_int, describe, fail
from jaxhpo.space._layout import choice, holds_dimension
from jaxhpo.space._space import Space
from jaxhpo.space.dimensions._choice import ordinal
from jaxhpo.space.dimensions._normal import log_normal, normal
from jaxhpo.space.dimensions._real import log_uniform, uniform
from jaxhpo.space.dimensions._stepped import integer
from jaxhpo.space.readers._common import check_nonempty_mapping, entry, plain

_WHERE = "from_sklearn"
_DRAWS_A_QUANTILE = 8


def from_sklearn(
    param_distributions: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    num_quantiles: int | None = None,
) -> Space:
    """Reads the `param_distributions` (or `param_grid`) of a scikit-learn search.

    A list, array, range or pandas Series is a categorical, numbers included: write `integer` or
    `ordinal` where the order matters to the search. A value that repeats is as much more likely, as
    in scikit-learn, and NaN, None, estimators and other objects are values. Of `scipy.stats`,
    `uniform`, `loguniform` (`reciprocal`), `randint`, `norm` and `lognorm` are read exactly; normal
    laws are cut at 4 standard deviations.

    Args:
        param_distributions: a dict from parameter names to lists, frozen distributions or our own
            dimensions, or a list of such dicts, one of which is drawn first, all alike.
        num_quantiles: what to do with any other distribution: None refuses it; a number n replaces
            it by n equally likely values, its quantiles at (i + ½)/n. Of an object that has only
            `rvs` (anything that can be called as `rvs(random_state=…)`), they are those of 8 n
            draws; draws that are no numbers are options, as likely as they came.

    Returns:
        The space; `decode` gives dicts for `estimator.set_params`.

    Raises:
        TypeError: an entry is neither a list nor a frozen distribution.
        ValueError: a list is empty, or a distribution is not among those above.

    Example:
        >>> from scipy import stats
        >>> from jaxhpo.space import from_sklearn
        >>> space = from_sklearn({"C": stats.loguniform(1e-3, 1e3), "kernel": ["rbf", "poly"]})
        >>> space.names
        ('C', 'kernel')

    References:
        Bergstra, Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 13, 2012.
    """
    if num_quantiles is not None:
        num_quantiles = check_int(_WHERE, "num_quantiles", num_quantiles, 2)
    if isinstance(param_distributions, Mapping):
        return Space(_tree("param_distributions", param_distributions, num_quantiles))
    if not isinstance(param_distributions, list | tuple):
        raise TypeError(
            f"{_WHERE}: `param_distributions` must be a dict or a list of dicts, "
            f"got {describe(param_distributions)}."
        )
    trees = [
        _tree(f"param_distributions[{i}]", tree, num_quantiles)
        for i, tree in enumerate(param_distributions)
    ]
    if not trees:
        raise fail(_WHERE, "param_distributions", "at least one dict", param_distributions)
    return Space(trees[0] if len(trees) == 1 else choice(trees))


def _tree(argument: str, given: Any, num_quantiles: int | None) -> dict[str, Any]:
    check_nonempty_mapping(_WHERE, argument, given, "lists or scipy.stats distributions")
    tree = {}
    for name, values in given.items():
        with entry(_WHERE, f"{argument}[{name!r}]"):
            tree[name] = _dimension(f"{argument}[{name!r}]", values, num_quantiles)
    return tree


def _dimension(argument: str, values: Any, num_quantiles: int | None) -> Any:
    if hasattr(values, "rvs"):
        return _distribution(argument, values, num_quantiles)
    if not isinstance(values, Sequence | np.ndarray) and holds_dimension(values):
        return values
    if hasattr(values, "tolist") and getattr(values, "ndim", 1) == 1:  # NumPy, pandas
        values = values.tolist()
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        raise TypeError(
            f"{_WHERE}: `{argument}` must be a list, a 1-D array, a Series or an object with "
            f"`rvs` such as a frozen scipy.stats distribution, got {describe(values)}."
        )
    return choice([plain(value) for value in values])


def _distribution(argument: str, frozen: Any, num_quantiles: int | None) -> Any:
    law = getattr(getattr(frozen, "dist", None), "name", type(frozen).__name__)
    if law in _LAWS and hasattr(frozen, "args"):
        found = _LAWS[law](_arguments(frozen))
        if found is not None:
            return found
    if num_quantiles is None:
        known = ", ".join(_LAWS)
        raise fail(
            _WHERE,
            argument,
            f"one of {known} (loguniform and lognorm with loc=0), or any other if num_quantiles "
            "is given",
            f"{law}{getattr(frozen, 'args', ())}{getattr(frozen, 'kwds', {})}",
        )
    if hasattr(frozen, "ppf"):
        return _quantiles(frozen, num_quantiles)
    return _drawn(frozen, num_quantiles)


def _arguments(frozen: Any) -> dict[str, float]:
    """The arguments of a frozen distribution by name, with SciPy's order and defaults."""
    shapes = (frozen.dist.shapes or "").replace(" ", "").split(",")
    names = [name for name in shapes if name] + ["loc", "scale"]
    given = {"loc": 0.0, "scale": 1.0, **dict(zip(names, frozen.args, strict=False)), **frozen.kwds}
    return {name: plain(value) for name, value in given.items()}


def _uniform(given: Mapping[str, float]) -> Any:
    return uniform(given["loc"], given["loc"] + given["scale"])


def _log_uniform(given: Mapping[str, float]) -> Any:
    if given["loc"] != 0:
        return None
    return log_uniform(given["a"] * given["scale"], given["b"] * given["scale"])


def _randint(given: Mapping[str, float]) -> Any:
    ends: list[Any] = [given["low"] + given["loc"], given["high"] + given["loc"] - 1]
    low, high = (int(end) if end == int(end) else end for end in ends)
    return integer(low, high)


def _normal(given: Mapping[str, float]) -> Any:
    return normal(given["loc"], given["scale"])


def _log_normal(given: Mapping[str, float]) -> Any:
    # SciPy: log X ~ N(log scale, s).
    return log_normal(math.log(given["scale"]), given["s"]) if given["loc"] == 0 else None


_LAWS: dict[str, Callable[[Mapping[str, float]], Any]] = {
    "uniform": _uniform,
    "loguniform": _log_uniform,
    "reciprocal": _log_uniform,
    "randint": _randint,
    "norm": _normal,
    "lognorm": _log_normal,
}


def _quantiles(frozen: Any, count: int) -> Any:
    """Equally likely values; a discrete law repeats some, and then the repeats are weights."""
    values = np.asarray(frozen.ppf((np.arange(count) + 0.5) / count))
    if hasattr(getattr(frozen, "dist", frozen), "pmf"):
        values = values.astype(int)
    return _weighted(values)


def _weighted(values: np.ndarray) -> Any:
    distinct, repeats = np.unique(values, return_counts=True)
    if np.all(repeats == 1):
        return ordinal(distinct.tolist())
    return choice(distinct.tolist(), weights=repeats)


def _drawn(law: Any, count: int) -> Any:
    """What stands for a law that can only be drawn from; the draws are the same each time."""
    random = np.random.RandomState(0)
    draws = [plain(law.rvs(random_state=random)) for _ in range(_DRAWS_A_QUANTILE * count)]
    are_numbers = all(type(draw) in (int, float) and math.isfinite(draw) for draw in draws)
    if not are_numbers or len(set(draws)) <= count:
        return choice(draws)
    places = np.floor((np.arange(count) + 0.5) * len(draws) / count).astype(int)
    return _weighted(np.sort(draws)[places])
