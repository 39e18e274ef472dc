"""Reasons in a training run for which an estimate differs from its derivative, in words."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo.training import Training, trial_keys
from jaxhpo.training.internal import (
    CUSTOM_JVP,
    CUSTOM_VJP,
    equations,
    is_held_constant,
    is_overruled,
    rule_name,
)

# Flat almost everywhere: their derivative is 0, and the run jumps.
_ROUNDING = ("round", "floor", "ceil", "sign", "argmax", "argmin")
# These differentiate the run itself, whatever shapes its inner gradient.
_FOLLOW_THE_RUN = ("unrolled", "forward", "reversible", "truncated", "one_step", "greedy",
                   "implicit", "drmad")  # fmt: skip


def obstacles(name: str, training: Training, key: Any, hparams: Any) -> list[str]:
    """What may set an estimate apart from the derivative of the run.

    Args:
        name: the estimator's.
        training: the run.
        key: `[]` its key.
        hparams: its hyperparameters.

    Returns:
        Phrases such as "stop_gradient in the inner loss", each once; empty if nothing is seen.
    """
    key_init, key_step = trial_keys(key)

    def one_step(hparams: Any) -> Any:
        state = training.init(key_init, hparams)
        state = training.step(key_step, hparams, state, jnp.zeros((), jnp.int32))
        return training.loss(hparams, state)

    found: list[str] = []
    for eqn in equations(jax.make_jaxpr(one_step)(hparams).jaxpr):
        phrase = _phrase(eqn, obeys_rules=name not in _FOLLOW_THE_RUN)
        if phrase is not None and phrase not in found:
            found.append(phrase)
    return found


def _phrase(eqn: Any, *, obeys_rules: bool) -> str | None:
    kind = eqn.primitive.name
    if is_held_constant(eqn):
        return "hpo.training.constant, which holds its value fixed"
    if is_overruled(eqn) and obeys_rules:
        if kind == "stop_gradient":
            return "stop_gradient in the inner loss"
        if kind in CUSTOM_JVP + CUSTOM_VJP:
            return f"a derivative rule of its own ({rule_name(eqn)})"
    if kind in _ROUNDING:
        return f"rounding ({kind})"
    if kind == "convert_element_type":
        before, after = (atom.aval.dtype for atom in (eqn.invars[0], eqn.outvars[0]))
        if jnp.issubdtype(before, jnp.floating) and jnp.issubdtype(after, jnp.integer):
            return "rounding (a cast to integers)"
    return None
