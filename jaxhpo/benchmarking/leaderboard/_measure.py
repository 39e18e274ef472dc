"""One estimator on one task: how right its gradients are, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxhpo.benchmarking.leaderboard._descent import Stepper
from jaxhpo.benchmarking.leaderboard._setting import Setting, seconds_beside
from jaxhpo.hypergrad import Estimator
from jaxhpo.hypergrad.internal import compare, flat, judge

_DRAWS = 8
"""Keys that bias and deviation are estimated from."""

_SAME = 1e-9
"""Errors this near, relative to the exact gradient, are one error: nothing is drawn."""


def costs_of(setting: Setting, stepper: Stepper) -> dict[str, Any]:
    """Time and memory of one outer step beside the plain run."""
    key, free = jax.random.key(0), setting.start(0)
    plain = lambda: jax.block_until_ready(setting.plain(key, free))  # noqa: E731
    seconds, unit = seconds_beside(stepper.call, plain)
    return {
        "work": stepper.work,
        "time_ratio": seconds / unit,
        "memory_mb": stepper.temp_bytes / 1e6,
        "plain_memory_mb": setting.plain_bytes / 1e6,
        "compile_s": stepper.compile_s,
    }


def errors_of(
    setting: Setting, estimator: Estimator, seeds: Sequence[int]
) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
    """Accuracy in float64, against the exact gradient of the same finite run.

    Args:
        setting: the task.
        estimator: made from `setting.wide`.
        seeds: starts at which it is compared, each with a key of its own.

    Returns:
        What belongs to the estimator on this task: `bias` and `deviation` of its error over keys,
        both relative to the exact gradient's size, and the `verdict` of `diagnose`; and for each
        seed `error` and `cosine`.
    """
    with jax.enable_x64(True):
        key = jax.random.key(0)
        program = jax.jit(estimator).lower(key, setting.wide_point(0)).compile()

        def gradient(key_seed: int, seed: int) -> np.ndarray:
            return flat(program(jax.random.key(key_seed), setting.wide_point(seed)).grad)

        each = {}
        for seed in seeds:
            exact = flat(setting.exact(seed, seed).grad)
            error, cosine = compare(gradient(seed, seed), exact)
            each[seed] = {"error": error, "cosine": cosine}
        exact_here = setting.exact(0, 0)
        verdict = judge(
            estimator, key, setting.wide_point(0), program, setting.wide_value, exact_here, 1
        ).verdict
        bias, deviation = _bias(setting, gradient)
    return {"bias": bias, "deviation": deviation, "verdict": verdict}, each


def _bias(setting: Setting, gradient: Any) -> tuple[float, float]:
    """Size of the mean error over keys, and its root mean square deviation from that mean."""
    errors, sizes = [], []
    for number in range(_DRAWS):
        exact = flat(setting.exact(number, 0).grad)
        errors.append(gradient(number, 0) - exact)
        sizes.append(exact)
        size = float(np.linalg.norm(np.mean(sizes, axis=0))) or 1.0
        if number == 1 and np.linalg.norm(errors[1] - errors[0]) <= _SAME * size:
            break
    mean = np.mean(errors, axis=0)
    if len(errors) < _DRAWS:
        return float(np.linalg.norm(mean)) / size, 0.0
    spread = np.sum((np.stack(errors) - mean) ** 2) / (len(errors) - 1)
    return float(np.linalg.norm(mean)) / size, float(np.sqrt(spread)) / size
