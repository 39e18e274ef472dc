"""Data sets that ship inside scikit-learn, shuffled and cut always in the same way."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Split = tuple[np.ndarray, np.ndarray]


def load(where: str, name: str) -> Split:
    """Loads a data set as it ships.

    Args:
        where: the function to name in the error.
        name: "digits", "breast_cancer", "wine" or "diabetes".

    Returns:
        Inputs `[n, d]` in float64 and targets `[n]`.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed.
    """
    try:
        datasets = importlib.import_module("sklearn.datasets")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"problems.{where}: scikit-learn is needed for the data; install it with "
            '`pip install "jaxhpo[demo]"`.'
        ) from error
    inputs, targets = getattr(datasets, f"load_{name}")(return_X_y=True)
    return np.asarray(inputs, np.float64), np.asarray(targets)


def digits_images(where: str) -> Split:
    """The 1,797 images of 8 x 8 pixels in [0, 1] `[n, 64]`, and their labels."""
    images, labels = load(where, "digits")
    return images / 16.0, labels.astype(np.int32)


def cut(data: Split, sizes: Sequence[int], *, seed: int = 0) -> list[Split]:
    """Shuffles and cuts into parts of the given sizes, and one more of what is left."""
    inputs, targets = data
    order = np.random.default_rng(seed).permutation(len(targets))
    cuts = np.cumsum(sizes)
    parts = zip(np.split(inputs[order], cuts), np.split(targets[order], cuts), strict=True)
    return list(parts)


def standardised(parts: list[Split]) -> list[Split]:
    """Gives every feature mean 0 and deviation 1 over the first part."""
    mean, deviation = parts[0][0].mean(0), parts[0][0].std(0)
    return [((x - mean) / deviation, y) for x, y in parts]


def real(array: Any) -> jax.Array:
    """To the device, in the default precision of real numbers."""
    return jnp.asarray(array, jnp.result_type(float))


def examples(part: Split) -> dict[str, jax.Array]:
    """A part as a batch: real inputs "x"; "y" real targets, or int32 labels."""
    x, y = part
    is_label = np.issubdtype(y.dtype, np.integer)
    return {"x": real(x), "y": jnp.asarray(y, jnp.int32) if is_label else real(y)}
