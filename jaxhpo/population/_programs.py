"""Programs that a sweep leaves for the next sweep of the same training."""

from __future__ import annotations

import dataclasses
from typing import Any

from jaxhpo.population._compile import Program, Settings
from jaxhpo.population._groups import Group
from jaxhpo.population._trace import uses_x64


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A program with what it was compiled for."""

    settings: Settings
    signature: tuple[Any, ...]
    statics: tuple[Any, ...]
    num_trials: int
    program: Program


class Programs:
    """Compiled programs, to be passed to `sweep` again and again.

    A program serves any number of trials, up to twice as many as it was laid out for (beyond that
    a larger layout pays). It is used again for the same `training` object, static values, shapes,
    steps, devices and options; key, hyperparameters and `first_trial` may differ. It keeps the
    arrays alive that the training closes over, and only those of the latest training.

    Example:
        >>> import jax.numpy as jnp, jaxhpo as hpo
        >>> training = hpo.Training(
        ...     init=lambda key, hparams: jnp.ones(()),
        ...     step=lambda key, hparams, state, t: state * (1 - hparams["lr"]),
        ...     loss=lambda hparams, state: state**2,
        ... )
        >>> programs = hpo.population.Programs()
        >>> for lr in (0.1, 0.2):
        ...     trials = hpo.population.sweep(
        ...         training, {"lr": jnp.array([lr])}, key=0, num_steps=4, programs=programs
        ...     )
        ...     print(trials.num_compilations)
        1
        0
    """

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    def find(self, settings: Settings, group: Group) -> Program | None:
        """Finds a program for a group of trials; the returned one has taken no time."""
        for entry in self._entries:
            if (
                len(group.trials) <= 2 * entry.num_trials
                and entry.program.plan.program_bytes <= settings.memory_budget
                and entry.signature == _signature(group)
                and _same_statics(entry.statics, group.statics)
                and _same_settings(entry.settings, settings)
            ):
                return dataclasses.replace(entry.program, seconds=0.0, num_compilations=0)
        return None

    def keep(self, settings: Settings, group: Group, program: Program) -> None:
        """Adds a program that was compiled just now; one that `find` gave is here already."""
        if program.num_compilations == 0:
            return
        training = settings.training
        self._entries = [e for e in self._entries if e.settings.training is training]
        count = len(group.trials)
        self._entries.append(_Entry(settings, _signature(group), group.statics, count, program))


def _signature(group: Group) -> tuple[Any, ...]:
    return uses_x64(), group.template, tuple((a.shape[1:], a.dtype) for a in group.leaves)


def _same_statics(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether static values are the same: one object, or equal plain values."""
    plain = (bool, int, float, str, bytes)
    return all(
        a is b or (type(a) is type(b) and isinstance(a, plain) and a == b)
        for a, b in zip(one, other, strict=True)
    )


def _same_settings(one: Settings, other: Settings) -> bool:
    names = ("steps", "devices", "share_data_order", "width", "chunk")
    return (
        one.training is other.training
        and one.key.dtype == other.key.dtype
        and one.draws.dtype == other.draws.dtype
        and all(getattr(one, name) == getattr(other, name) for name in names)
    )
