"""Many studies as one program."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo._base import Array, PyTree, Result, Sampler
from jaxhpo._checks.suggest import named_arguments
from jaxhpo._status import Status
from jaxhpo._tracing import compilation_cache, owned
from jaxhpo._tracing.owned import as_pytree
from jaxhpo.progress import DeviceReporter, check_not_traced, display
from jaxhpo.search._minimize import (
    MANY_STUDIES,
    ONE_STUDY,
    Growth,
    check_study,
    search,
    warn_if_all_failed,
)
from jaxhpo.space import Space

LAYOUTS = ("auto", "map", "vmap")

_AXIS = "studies"

MANY = 32
"""Studies from which on compiling more segments pays."""


@named_arguments
def minimize_many(
    objective: Callable[[Array, PyTree], Any],
    space: Space,
    sampler: Sampler | str,
    *,
    keys: Array,
    num_trials: int,
    batch_size: int | None = None,
    layout: str = "auto",
    progress: Any = False,
) -> Result:
    """Runs `minimize` once per key, all studies as one compiled program.

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
        progress: as for `minimize`, over the trials of all studies.

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
    compilation_cache.enable_compilation_cache()
    keys = _checks.check_keys("minimize_many", "keys", keys)
    if not isinstance(layout, str) or layout not in LAYOUTS:
        raise _checks.fail("minimize_many", "layout", f"one of {', '.join(LAYOUTS)}", layout)
    sampler, num_trials, batch_size = check_study(
        "minimize_many", objective, space, sampler, num_trials, batch_size
    )
    layout = chosen_layout(sampler) if layout == "auto" else layout
    growth = MANY_STUDIES if keys.shape[0] >= MANY else ONE_STUDY
    made, total = as_pytree(objective), keys.shape[0] * num_trials
    inputs = (keys, space, sampler, made)
    with display("minimize_many", progress, "minimize_many", total, *inputs) as reporter:
        settings = (num_trials, batch_size, layout, growth, reporter)
        result: Result = _run_many(made, space, sampler, keys, *settings)
        if reporter is not None:
            check_not_traced("minimize_many", progress, result.best_value)
            jax.block_until_ready(result)
    warn_if_all_failed("minimize_many", result.trials.status)
    return result


def chosen_layout(sampler: Sampler) -> str:
    """What "auto" stands for: "map" or "vmap"."""
    is_cpu = jax.default_backend() == "cpu"
    return "map" if is_cpu and sampler.resize is not None else "vmap"


def _search_many(
    objective: Callable[..., Any],
    space: Space,
    sampler: Sampler,
    keys: Array,
    num_trials: int,
    batch_size: int | None,
    layout: str,
    growth: Growth,
    reporter: DeviceReporter | None = None,
) -> Result:
    def one(key: Array, reporter: DeviceReporter | None) -> Result:
        settings = (num_trials, batch_size, growth, reporter)
        return search(objective, space, sampler, key, *settings)

    if layout == "vmap":
        if reporter is not None:
            reporter = dataclasses.replace(reporter, axis=_AXIS)
        side_by_side: Result = jax.vmap(one, in_axes=(0, None), axis_name=_AXIS)(keys, reporter)
        return side_by_side
    if reporter is not None:
        reporter = dataclasses.replace(reporter, parts=keys.shape[0])

    def next_one(
        reporter: DeviceReporter | None, key: Array
    ) -> tuple[DeviceReporter | None, Result]:
        study = one(key, reporter)
        return None if reporter is None else _after(reporter, study), study

    _, one_by_one = jax.lax.scan(next_one, reporter, keys)
    return one_by_one


_run_many = owned.jit(_search_many, functions_in=(0, 1, 2), static_argnums=(4, 5, 6, 7))


def _after(reporter: DeviceReporter, study: Result) -> DeviceReporter:
    """What the display of the next study starts from."""
    num_trials = study.trials.status.shape[0]
    num_failed = jnp.sum(study.trials.status == int(Status.FAILED), dtype=jnp.int32)
    best = study.best_value if study.best_value.ndim == 0 else reporter.best
    return reporter.after(num_trials, best, num_failed)
