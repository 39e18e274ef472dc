"""The protocol that every sampler keeps, and the records that travel through it.

Glossary of shapes, used everywhere in this package:

| letter | meaning |
|---|---|
| `n` | capacity: rows of a buffer |
| `m` | objectives |
| `q` | points asked at once |
| `d` | unit dimensions of the space |
| `p` | population: trials that run side by side |
| `t` | inner training steps |

Leading axes are batch axes and `d` is last. **A row of NaN in `unit` means "no proposal"**: nothing
is evaluated for it, its status is `Status.EMPTY`, and `tell` ignores it.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxhpo import _checks

Array = jax.Array
PyTree = Any


class Sampler(NamedTuple):
    """Three pure functions: the whole of a search algorithm.

    The functions are `jax.tree_util.Partial` objects over one settings record, so a sampler is
    itself a pytree: an argument of `jit` and `vmap`. Two samplers of equal structure share compiled
    code, and numeric settings may be traced.

    Attributes:
        init: `init(key) -> state`.
        ask: `ask(key, state) -> (state, unit [q, d])`; the proposals become pending.
        tell: `tell(key, state, unit [q, d], outcome) -> (state, info)`; resolves pending rows that
            equal the told points, in any order, and appends points that nobody asked for.
        resize: `resize(state, capacity) -> state`: the same knowledge in buffers of `capacity`
            (static) rows. None for a sampler that remembers no observations.

    A state may be donated to `jax.jit` if `init` was compiled too: what is not compiled may hold
    one buffer twice, or the sampler's own.
    """

    init: Callable[..., Any]
    ask: Callable[..., Any]
    tell: Callable[..., Any]
    resize: Callable[..., Any] | None = None


class Outcome(NamedTuple):
    """What became of `q` evaluated points; everything is minimised.

    Attributes:
        value: `[q]`, or `[q, m]` for `m` objectives. NaN or infinite: the trial failed.
        se: known standard error of `value`, of its shape, or None. NaN or negative: not known (a
            `Study` refuses a negative one); infinite: the value tells nothing (to a `Study`: the
            trial failed). Gaussian processes use it.
        violation: `[q]` (or `[q, c]`) constraint violation, infeasible where > 0, or None. NaN is
            violated; a `Study` records such a trial as failed.
        gradient: `[q, d]` (or `[q, m, d]`) gradient of `value` with respect to the unit cube, or
            None.
    """

    value: Array
    se: Array | None = None
    violation: Array | None = None
    gradient: Array | None = None


class Trials(NamedTuple):
    """The record of a study, one row a trial.

    Attributes:
        params: the space's values pytree, leading axis `num_trials`.
        unit: `[num_trials, d]` the same points in the unit cube; NaN rows where nothing was asked.
        value: `[num_trials]` (or `[num_trials, m]`) objective values as they came.
        status: `[num_trials]` int32 `Status` codes.
    """

    params: PyTree
    unit: Array
    value: Array
    status: Array


def static_field() -> Any:
    """A field of a `Record` that belongs to its structure: hashable, and never traced."""
    return dataclasses.field(metadata={"static": True})


@dataclass_transform(frozen_default=True, field_specifiers=(static_field,))
class Record:
    """Base of records: each subclass becomes a frozen dataclass that is registered as a pytree.

    Fields are children unless they are made by `static_field`; those of a base class come first.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def __init_subclass__(cls) -> None:
        jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))


class Result(Record):
    """What `minimize` returns; every field is an array or a pytree of arrays.

    With `m` objectives there is a best trial an objective, and a front of trials that no other one
    dominates.

    Attributes:
        best_params: values pytree of the best trial, without a batch axis; with several objectives
            leading axis `m`, the best trial of each.
        best_value: `[]` (or `[m]`) its value; infinite if no trial completed.
        best_so_far: `[num_trials]` (or `[num_trials, m]`) smallest value up to and including each
            trial.
        trials: all trials, in order.
        info: what the sampler's `tell` reported, leading axis the number of tells.
        front: `[num_trials]` bool, the completed trials that no completed one dominates; None with
            one objective.
    """

    best_params: PyTree
    best_value: Array
    best_so_far: Array
    trials: Trials
    info: PyTree
    front: Array | None = None


def make_sampler(
    settings: PyTree,
    init: Callable[..., Any],
    ask: Callable[..., Any],
    tell: Callable[..., Any],
    resize: Callable[..., Any] | None = None,
    *,
    name: str = "",
) -> Sampler:
    """Binds three module-level functions to one settings pytree.

    Args:
        settings: a registered dataclass; its leaves are traced, its static fields structural. It
            becomes the first argument of each function.
        init: `init(settings, key) -> state`.
        ask: `ask(settings, key, state) -> (state, unit)`.
        tell: `tell(settings, key, state, unit, outcome) -> (state, info)`.
        resize: `resize(settings, state, capacity) -> state`, or None.
        name: what the sampler is called, in what studies remember and people read; the name of the
            module of `ask` if empty. Static.

    Returns:
        The sampler.
    """
    if resize is not None:
        _checks.check_callable("make_sampler", "resize", resize)
    bound = None if resize is None else Partial(resize, settings)
    first, second, third = bind(settings, "Sampler", name, init=init, ask=ask, tell=tell)
    return Sampler(first, second, third, bound)


def bind(settings: PyTree, kind: str, name: str, **functions: Callable[..., Any]) -> list[Partial]:
    """Binds the functions of a protocol to a settings pytree; each is given a checked key.

    Args:
        settings: the first argument of each function.
        kind: the protocol, for errors.
        name: what the algorithm is called; the name of its module if empty.
        **functions: `function(settings, key, ...)` by its role.

    Returns:
        The functions in order, without the settings.
    """
    return [Partial(_Keyed(one, role, name, kind), settings) for role, one in functions.items()]


@dataclasses.dataclass(frozen=True)
class _Keyed:
    """One of an algorithm's functions, given a checked key; equal where the function is."""

    function: Callable[..., Any]
    role: str
    name: str
    kind: str

    def __call__(self, settings: PyTree, key: Any, *rest: Any, **named: Any) -> Any:
        key = _checks.check_key(f"{self.kind}.{self.role}", key)
        return self.function(settings, key, *rest, **named)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.function)


def setting(value: Any, dtype: Any = None) -> Array:
    """A number or an array of a settings record, put on the device.

    `jnp.asarray` would compile a program for each of them, in every process.

    Args:
        value: numbers, nested lists of them or an array; traced or not.
        dtype: of the array; None keeps that of `value`.

    Returns:
        The array.
    """
    if any(isinstance(leaf, Array) for leaf in jax.tree.leaves(value)):
        return jnp.asarray(value, dtype)
    return jax.device_put(np.asarray(value, dtype))


def name_of(sampler: Any) -> str:
    """What a sampler, or what `bind` bound, is called; "custom" where nothing tells."""
    return name_of_function(sampler.ask)


def name_of_function(bound: Any) -> str:
    """What the sampler of a function is called, such as of its `ask`."""
    function = getattr(bound, "func", bound)
    if isinstance(function, _Keyed):
        if function.name:
            return function.name
        function = function.function
    module = str(getattr(function, "__module__", ""))
    return module.rsplit(".", 1)[-1].lstrip("_") or "custom"


def settings_of(sampler: Sampler) -> PyTree:
    """The settings record that a sampler's functions are bound to; None if there is none."""
    return next(iter(getattr(sampler.ask, "args", ())), None)


def first_ask(sampler: Sampler) -> Array:
    """What a new sampler proposes `[q, d]`, for those who want its shape."""
    key = jax.random.key(0)
    unit: Array = sampler.ask(key, sampler.init(key))[1]
    return unit


def proposal_shape(sampler: Sampler) -> jax.ShapeDtypeStruct:
    """Shape `[q, d]` and dtype of one ask; nothing is computed, nor compiled."""
    shape: jax.ShapeDtypeStruct = jax.eval_shape(first_ask, sampler)
    return shape


def has_proposal(unit: Array) -> Array:
    """Tells which rows of `unit` `[..., d]` hold a point.

    Args:
        unit: `[..., d]` points in the unit cube, NaN rows meaning "no proposal".

    Returns:
        `[...]` bool.
    """
    return ~jnp.any(jnp.isnan(unit), axis=-1)
