"""Programs that a sweep leaves for the next sweep of the same training."""

from __future__ import annotations

import dataclasses
import weakref
from typing import Any

from jaxhpo._tracing.owned import Handle
from jaxhpo.population._compile import Program, Settings
from jaxhpo.population._groups import Group
from jaxhpo.population._trace import uses_x64
from jaxhpo.training import Training


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A program with what it was compiled for; it knows the training's functions weakly."""

    functions: tuple[Handle, ...]
    settings: Settings
    signature: tuple[Any, ...]
    statics: tuple[Any, ...]
    num_trials: int
    program: Program


class Programs:
    """Compiled programs, to be passed to `sweep` again and again.

    A program serves any number of trials, up to twice as many as it was laid out for (beyond that
    a larger layout pays). It is used again for the same `training` object, static values, shapes,
    steps, devices and options; key, hyperparameters and `first_trial` may differ. Only those of the
    latest training are kept, and no longer than its functions live, with the arrays that these
    close over.

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
                and entry.functions == _functions(settings)
                and _same_settings(entry.settings, settings)
            ):
                return dataclasses.replace(entry.program, seconds=0.0, num_compilations=0)
        return None

    def keep(self, settings: Settings, group: Group, program: Program) -> None:
        """Adds a program that was compiled just now; one that `find` gave is here already.

        Args:
            settings: of the sweep.
            group: the trials that it was compiled for.
            program: what was compiled.
        """
        if program.num_compilations == 0:
            return
        functions = _functions(settings)
        if not any(entry.functions == functions for entry in self._entries):
            self._entries = []
            for function in functions:
                function.when_gone(_forget, weakref.ref(self), functions)
        known = dataclasses.replace(settings, training=Training(*(_no_function,) * 3))
        signature, count = _signature(group), len(group.trials)
        self._entries.append(_Entry(functions, known, signature, group.statics, count, program))


def _forget(programs: weakref.ref[Programs], functions: tuple[Handle, ...]) -> None:
    alive = programs()
    if alive is not None:
        alive._entries = [entry for entry in alive._entries if entry.functions != functions]


def _functions(settings: Settings) -> tuple[Handle, ...]:
    return tuple(Handle(function) for function in settings.training if function is not None)


def _no_function(*args: Any) -> Any:
    raise NotImplementedError  # keeps the place of a user's function, and is never called


def _signature(group: Group) -> tuple[Any, ...]:
    leaves = tuple((a.shape[1:], a.dtype) for a in group.leaves)
    return uses_x64(), group.template, group.width, leaves


def _same_statics(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether static values are the same: one object, or equal plain values."""
    plain = (bool, int, float, str, bytes)
    return all(
        a is b or (type(a) is type(b) and isinstance(a, plain) and a == b)
        for a, b in zip(one, other, strict=True)
    )


def _same_settings(one: Settings, other: Settings) -> bool:
    names = (
        "steps",
        "devices",
        "share_data_order",
        "width",
        "chunk",
        "num_last",
        "slopes",
        "num_processes",
    )
    return (
        one.key.dtype == other.key.dtype
        and one.draws.dtype == other.draws.dtype
        and all(getattr(one, name) == getattr(other, name) for name in names)
    )
