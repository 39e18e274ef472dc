"""Many studies as one program."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax

from jaxhpo import _checks
from jaxhpo._base import Array, PyTree, Result, Sampler
from jaxhpo._minimize import MANY_STUDIES, ONE_STUDY, Growth, as_pytree, check_study, run
from jaxhpo.space import Space

LAYOUTS = ("auto", "map", "vmap")

MANY = 32
"""Studies from which on compiling more segments pays."""


def minimize_many(
    objective: Callable[[Array, PyTree], Any],
    space: Space,
    sampler: Sampler | str,
    *,
    keys: Array,
    num_trials: int,
    batch_size: int | None = None,
    layout: str = "auto",
) -> Result:
    """Runs `minimize` once a key, all studies as one compiled program.

    Each study is the one that `minimize` makes of its key, up to rounding. How they are laid out is
    a matter of speed: "map" runs one after another, "vmap" side by side. "auto" takes "map" for a
    sampler that remembers observations (`sampler.resize`) on CPU, where its factorisations run one
    after another anyway and a batch would wait for its slowest search, and "vmap" otherwise.

    Args:
        objective: as for `minimize`.
        space: the search space.
        sampler: a sampler made for `space`, or the name of one.
        keys: `[s]` keys, such as `jax.random.split(key, s)`; at least one.
        num_trials: static; trials of each study.
        batch_size: static; as for `minimize`.
        layout: static; "auto", "map" or "vmap".

    Returns:
        The `Result`, each array with a leading axis `s`.

    Raises:
        TypeError: `keys` is no array of keys, or as for `minimize`.
        ValueError: `keys` is empty or not one-dimensional, an unknown layout, or as for `minimize`.

    Example:
        >>> import jax, jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(-2.0, 3.0)})
        >>> keys = jax.random.split(jax.random.key(0), 8)
        >>> results = hpo.minimize_many(
        ...     lambda key, params: params["x"] ** 2, space, "random", keys=keys, num_trials=16)
        >>> results.best_value.shape
        (8,)
    """
    if not isinstance(keys, jax.Array) or not jax.numpy.issubdtype(keys.dtype, jax.dtypes.prng_key):
        expected = "an array of keys, such as jax.random.split(jax.random.key(0), 8)"
        raise TypeError(f"minimize_many: `keys` must be {expected}, got {_checks.describe(keys)}.")
    if keys.ndim != 1 or keys.shape[0] == 0:
        raise _checks.fail("minimize_many", "keys", "of shape [s], s at least 1", keys.shape)
    if not isinstance(layout, str) or layout not in LAYOUTS:
        raise _checks.fail("minimize_many", "layout", f"one of {', '.join(LAYOUTS)}", layout)
    sampler, num_trials, batch_size = check_study(
        "minimize_many", objective, space, sampler, num_trials, batch_size
    )
    layout = chosen_layout(sampler) if layout == "auto" else layout
    growth = MANY_STUDIES if keys.shape[0] >= MANY else ONE_STUDY
    result: Result = _run_many(
        as_pytree(objective), space, sampler, keys, num_trials, batch_size, layout, growth
    )
    return result


def chosen_layout(sampler: Sampler) -> str:
    """What "auto" stands for: "map" or "vmap"."""
    is_cpu = jax.default_backend() == "cpu"
    return "map" if is_cpu and sampler.resize is not None else "vmap"


@functools.partial(jax.jit, static_argnums=(4, 5, 6, 7))
def _run_many(
    objective: Callable[..., Any],
    space: Space,
    sampler: Sampler,
    keys: Array,
    num_trials: int,
    batch_size: int | None,
    layout: str,
    growth: Growth,
) -> Result:
    def one(key: Array) -> Result:
        study: Result = run(objective, space, sampler, key, num_trials, batch_size, growth)
        return study

    many: Result = jax.lax.map(one, keys) if layout == "map" else jax.vmap(one)(keys)
    return many
