"""Several samplers that take turns at random and learn from each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo._base import Array, Outcome, PyTree, Record, Sampler, make_sampler, proposal_shape


class MixtureSettings(Record):
    """Settings of `mixture`; samplers and the logarithms of their weights are traced."""

    samplers: tuple[Sampler, ...]
    log_weights: Array


class MixtureState(NamedTuple):
    """State of `mixture`: one state per sampler, and how often each was asked, `[k]` int32."""

    states: tuple[PyTree, ...]
    num_asked: Array


class MixtureInfo(NamedTuple):
    """What `mixture` reports of a tell.

    Attributes:
        status: `[]` int32, that of the first sampler.
        num_asked: `[k]` int32, how often each sampler was asked.
        parts: what each sampler reports.
    """

    status: Array
    num_asked: Array
    parts: tuple[PyTree, ...]


def mixture(samplers: Sequence[Sampler], weights: Any = None) -> Sampler:
    """Asks one of several samplers each time, drawn by weight; all are told everything.

    A little random search beside a model guards against a model that is wrong; a local search
    beside a global one refines what that finds.

    Args:
        samplers: two or more, made for one space, that propose equally many points at once.
        weights: one positive number a sampler, proportional to its share of the asks; None means
            equal shares. Traced.

    Returns:
        The sampler.

    Raises:
        TypeError: an entry is no sampler.
        ValueError: fewer than two samplers, weights that do not fit, or proposals of different
            shapes.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(-2.0, 3.0)})
        >>> both = [hpo.samplers.random(space), hpo.samplers.pattern(space, num_startup=5)]
        >>> sampler = hpo.samplers.mixture(both, weights=[0.2, 0.8])
        >>> objective = lambda key, params: (params["x"] - 1.0) ** 2
        >>> result = hpo.minimize(objective, space, sampler, key=0, num_trials=40)
        >>> bool(result.best_value < 1e-3)
        True
    """
    if not isinstance(samplers, Iterable) or getattr(samplers, "ndim", 1) == 0:
        raise TypeError(f"mixture: `samplers` must be Samplers, got {_checks.describe(samplers)}.")
    chosen = tuple(samplers)
    for sampler in chosen:
        if not isinstance(sampler, Sampler):
            raise TypeError(
                f"mixture: `samplers` must be Samplers, got {_checks.describe(sampler)}."
            )
    if len(chosen) < 2:
        raise _checks.fail("mixture", "samplers", "at least two samplers", len(chosen))
    shapes = {proposal_shape(sampler).shape for sampler in chosen}
    if len(shapes) > 1:
        raise _checks.fail("mixture", "samplers", "samplers of one space and batch size", shapes)
    dtype = jnp.result_type(float)
    if weights is None:
        weights = jnp.ones(len(chosen), dtype)
    elif not isinstance(weights, jax.Array):
        weights = _checks.real_numbers("mixture", "weights", weights)
    weights = jnp.asarray(weights, dtype)
    if weights.shape != (len(chosen),):
        raise _checks.fail("mixture", "weights", f"{len(chosen)} numbers", weights.shape)
    if not _checks.is_traced(weights) and not bool(np.all(np.asarray(weights) > 0)):
        raise _checks.fail("mixture", "weights", "greater than 0", weights.tolist())
    resize = _resize if any(sampler.resize is not None for sampler in chosen) else None
    return make_sampler(
        MixtureSettings(chosen, jnp.log(weights)), _init, _ask, _tell, resize, name="mixture"
    )


def _init(settings: MixtureSettings, key: Array) -> MixtureState:
    keys = jax.random.split(key, len(settings.samplers))
    states = tuple(s.init(k) for s, k in zip(settings.samplers, keys, strict=True))
    return MixtureState(states, jnp.zeros(len(states), jnp.int32))


def _ask(settings: MixtureSettings, key: Array, state: MixtureState) -> tuple[MixtureState, Array]:
    key_choice, key_ask = jax.random.split(key)
    choice = jax.random.categorical(key_choice, settings.log_weights)

    def by(number: int) -> Any:
        def ask(key: Array, states: tuple[PyTree, ...]) -> tuple[tuple[PyTree, ...], Array]:
            part, unit = settings.samplers[number].ask(key, states[number])
            return (*states[:number], part, *states[number + 1 :]), unit

        return ask

    branches = [by(number) for number in range(len(settings.samplers))]
    states, unit = jax.lax.switch(choice, branches, key_ask, state.states)
    return MixtureState(states, state.num_asked.at[choice].add(1)), unit


def _tell(
    settings: MixtureSettings, key: Array, state: MixtureState, unit: Array, outcome: Outcome
) -> tuple[MixtureState, MixtureInfo]:
    keys = jax.random.split(key, len(settings.samplers))
    updates = [
        sampler.tell(keys[i], state.states[i], unit, outcome)
        for i, sampler in enumerate(settings.samplers)
    ]
    infos = tuple(info for _, info in updates)
    states = MixtureState(tuple(part for part, _ in updates), state.num_asked)
    return states, MixtureInfo(infos[0].status, state.num_asked, infos)


def _resize(settings: MixtureSettings, state: MixtureState, capacity: int) -> MixtureState:
    states = tuple(
        part if sampler.resize is None else sampler.resize(part, capacity)
        for sampler, part in zip(settings.samplers, state.states, strict=True)
    )
    return MixtureState(states, state.num_asked)
