"""Checks of the arguments of the public functions: names, shapes and dtypes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo._base import Array
from jaxhpo.gp._kernels import Kernel
from jaxhpo.gp._model import Data, Hyperparameters, Prior


def real(where: str, argument: str, value: Any, shape: tuple[Any, ...] | None = None) -> Array:
    """Requires an array of real numbers of a shape, in which None and letters fit any length.

    What is known must be free of NaN.

    Raises:
        TypeError: no array of real numbers.
        ValueError: another shape, or a NaN.
    """
    if not isinstance(value, jax.Array):
        value = _checks.real_numbers(where, argument, value)
        if value.dtype == object:
            raise _checks.fail(where, argument, "an array of real numbers", value)
        value = jnp.asarray(value, jnp.result_type(float))
    if not any(jnp.issubdtype(value.dtype, kind) for kind in (jnp.floating, jnp.integer)):
        raise TypeError(
            f"{where}: `{argument}` must be an array of real numbers, got dtype {value.dtype}."
        )
    if shape is not None and not _fits(value.shape, shape):
        text = f"[{', '.join(str(length) for length in shape)}]"
        raise _checks.fail(where, argument, f"of shape {text}", value.shape)
    if not _checks.is_traced(value) and bool(np.isnan(np.asarray(value)).any()):
        raise _checks.fail(where, argument, "free of NaN", value)
    if not jnp.issubdtype(value.dtype, jnp.floating):
        value = value.astype(jnp.result_type(float))
    return value


def check_kernel(where: str, kernel: Any) -> Kernel:
    """Requires a `Kernel`."""
    if not isinstance(kernel, Kernel):
        raise TypeError(f"{where}: `kernel` must be a gp.Kernel, got {_checks.describe(kernel)}.")
    return kernel


def check_data(where: str, kernel: Kernel, data: Any, *, columns: bool = False) -> Data:
    """Requires `Data` whose arrays fit each other and the kernel."""
    if not isinstance(data, Data):
        raise TypeError(f"{where}: `data` must be a gp.Data, got {_checks.describe(data)}.")
    features = real(where, "data.features", data.features, ("n", len(kernel.groups)))
    n = features.shape[0]
    has_columns = columns and getattr(data.target, "ndim", 1) == 2
    target = real(where, "data.target", data.target, (n, "s") if has_columns else (n,))
    noise = real(where, "data.noise", data.noise, (n,))
    return Data(features, target, noise, check_mask(where, "data.mask", data.mask, n))


def check_mask(where: str, argument: str, mask: Any, n: int) -> Array:
    """Requires `[n]` bools."""
    dtype = getattr(mask, "dtype", None)
    if dtype != np.bool_ or np.shape(mask) != (n,):
        got = f"{dtype} of shape {np.shape(mask)}" if dtype is not None else mask
        raise _checks.fail(where, argument, f"an array of bools of shape [{n}]", got)
    return jnp.asarray(mask)


def check_hyper(where: str, kernel: Kernel, hyper: Any) -> Hyperparameters:
    """Requires unbatched `Hyperparameters` that fit the kernel."""
    if not isinstance(hyper, Hyperparameters):
        expected = "a gp.Hyperparameters"
        raise TypeError(f"{where}: `hyper` must be {expected}, got {_checks.describe(hyper)}.")
    g = kernel.num_groups
    shapes: dict[str, tuple[int, ...]] = {
        "log_lengthscale": (g,), "log_scale": (), "log_noise": (),
    }  # fmt: skip
    parts = (real(where, f"hyper.{name}", getattr(hyper, name), s) for name, s in shapes.items())
    return Hyperparameters(*parts)


def check_prior(where: str, kernel: Kernel, prior: Any) -> Prior:
    """Requires a `Prior` that fits the kernel."""
    if not isinstance(prior, Prior):
        raise TypeError(f"{where}: `prior` must be a gp.Prior, got {_checks.describe(prior)}.")
    size = kernel.num_groups + 2
    shapes: dict[str, tuple[int, ...]] = {
        **dict.fromkeys(("mean", "sd", "lower", "upper"), (size,)), "bias": (),
    }  # fmt: skip
    return Prior(
        *(real(where, f"prior.{name}", getattr(prior, name), s) for name, s in shapes.items())
    )


def _fits(found: tuple[int, ...], expected: tuple[Any, ...]) -> bool:
    return len(found) == len(expected) and all(
        isinstance(length, str) or length == there
        for length, there in zip(expected, found, strict=True)
    )
