"""What a sampler has to know of the objective: how many values it has, and whether constraints."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo._base import Outcome, Sampler

LEARN_SEVERAL = ("nsga2", "nsga3", "gp_multi")
"""Samplers, by name, that learn from several objectives; made with `num_objectives`."""

MODEL_CONSTRAINTS = ("gp", "gp_multi")
"""Samplers, by name, that model how much a trial violates constraints if made `constrained`; the
others rank infeasible trials behind feasible ones, or take them for failed."""

IGNORE_VALUES = ("random", "qmc", "grid")
"""Samplers, by name, that take any number of objectives, since they learn from none."""


def check_objectives(where: str, sampler: Sampler, num_objectives: int) -> None:
    """Refuses a sampler that does not take so many objectives; nothing is computed.

    Args:
        where: the public function, for the error.
        sampler: any sampler.
        num_objectives: values of one trial.

    Raises:
        ValueError: the sampler refuses such values; the message names samplers that take them.
    """

    def round_(sampler: Sampler, key: jax.Array) -> None:
        key_init, key_ask, key_tell = jax.random.split(key, 3)
        state, unit = sampler.ask(key_ask, sampler.init(key_init))
        shape = (unit.shape[0], num_objectives)[: 1 if num_objectives == 1 else 2]
        sampler.tell(key_tell, state, unit, Outcome(jnp.zeros(shape, unit.dtype)))

    try:
        jax.eval_shape(round_, sampler, jax.random.key(0))
    except ValueError as error:
        hint = "."
        if num_objectives > 1:
            learning, other = " or ".join(LEARN_SEVERAL), ", ".join(IGNORE_VALUES)
            hint = f", such as {learning}; {other} take any number and learn from none."
        count = "one objective" if num_objectives == 1 else f"{num_objectives} objectives"
        raise ValueError(
            f"{where}: `sampler` must take {count}{hint} This one says: {error}"
        ) from error


def needs_form(name: object) -> bool:
    """Whether a sampler, given by name, is made with what `settings_for` takes."""
    return isinstance(name, str) and name in (*LEARN_SEVERAL, *MODEL_CONSTRAINTS, "auto")


def settings_for(
    name: object, num_objectives: int, has_constraints: bool = False
) -> dict[str, Any]:
    """Settings that a sampler, given by name, needs for such an objective.

    Args:
        name: what the user passed; a ready sampler needs no settings.
        num_objectives: values of one trial.
        has_constraints: whether trials say by how much they violate constraints.

    Returns:
        Keyword arguments for its factory.
    """
    settings: dict[str, Any] = {}
    if not needs_form(name):
        return settings
    if name in (*LEARN_SEVERAL, "auto"):
        settings["num_objectives"] = num_objectives
    return {**settings, **(constraint_settings(name) if has_constraints else {})}


def constraint_settings(name: object) -> dict[str, bool]:
    """Settings with which a sampler, given by name, models constraints; empty if it does not."""
    if name == "auto":
        return {"has_constraints": True}
    return {"constrained": True} if name in MODEL_CONSTRAINTS else {}
