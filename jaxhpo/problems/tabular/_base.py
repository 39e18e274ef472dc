"""What a tabular task is, and how an instance cuts its data."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo.problems._load import digits_images, load
from jaxhpo.space import Space

Array = jax.Array


class Tabular(NamedTuple):
    """Training on a table of data: hyperparameters to search, a validation loss to minimise.

    Attributes:
        name: its name.
        space: what is searched.
        evaluate: `evaluate(key, instance, params) -> []`, the validation loss, NaN where training
            diverges. The instance `[]` int32 decides how the rows are cut, the key everything else
            that is random. Pure JAX, vmappable over all three.
        instance: the instance of `objective`.
        minimum: None: nobody knows the smallest value.
    """

    name: str
    space: Space
    evaluate: Callable[[Array, Array, Any], Array]
    instance: int = 0
    minimum: float | None = None

    def objective(self, key: Array, params: Any) -> Array:
        """The loss on this instance. The key is not used: equal params have equal values."""
        del key
        instance = jnp.asarray(self.instance, jnp.int32)
        return self.evaluate(jax.random.key(self.instance), instance, params)


class Data(NamedTuple):
    """A data set with the sizes of its parts.

    Attributes:
        x: `[n, d]` float64 inputs.
        y: `[n]` int32 labels, or float64 targets.
        num_outputs: classes, or 1 for targets.
        num_train: rows to train on.
        num_validation: rows to validate on.
    """

    x: np.ndarray
    y: np.ndarray
    num_outputs: int
    num_train: int
    num_validation: int


class Split(NamedTuple):
    """The rows of one instance, inputs with mean 0 and deviation 1 over the training rows."""

    x: Array
    y: Array
    x_validation: Array
    y_validation: Array


_SIZES = {
    "digits": (200, 500),
    "breast_cancer": (100, 250),
    "wine": (40, 100),
    "diabetes": (150, 200),
}
"""Rows to train and to validate on: so few that how one trains matters."""


@functools.cache
def data_set(where: str, name: str) -> Data:
    """Loads a data set.

    Args:
        where: the function to name in the error.
        name: "digits", "breast_cancer", "wine" or "diabetes".

    Raises:
        ModuleNotFoundError: scikit-learn is not installed.
    """
    x, y = digits_images(where) if name == "digits" else load(where, name)
    if name == "diabetes":
        return Data(x, (y - y.mean()) / y.std(), 1, *_SIZES[name])
    return Data(x, y.astype(np.int32), int(y.max()) + 1, *_SIZES[name])


def split(data: Data, instance: Array) -> Split:
    """Cuts the data; another instance, another cut. `instance` is traced."""
    order = jax.random.permutation(jax.random.key(instance), data.x.shape[0])
    first, last = data.num_train, data.num_train + data.num_validation
    dtype = jnp.result_type(float)
    x = jnp.asarray(data.x, dtype)[order[:last]]
    y = jnp.asarray(data.y, jnp.int32 if data.num_outputs > 1 else dtype)[order[:last]]
    mean, deviation = jnp.mean(x[:first], axis=0), jnp.std(x[:first], axis=0)
    x = (x - mean[None]) / jnp.where(deviation > 0, deviation, 1)[None]  # a pixel that is never on
    return Split(x[:first], y[:first], x[first:], y[first:])


def losses(outputs: Array, y: Array) -> Array:
    """Loss of each row `[n]`: cross entropy of logits `[n, k]`, squared error of `[n, 1]`."""
    if outputs.shape[1] == 1:
        return (outputs[:, 0] - y) ** 2
    chosen = jnp.take_along_axis(outputs, y[:, None], axis=1)[:, 0]
    return jax.nn.logsumexp(outputs, axis=1) - chosen


def check_instance(where: str, instance: Any) -> int:
    """Requires a number that can be a seed."""
    return _checks.check_int(where, "instance", instance, 0)
