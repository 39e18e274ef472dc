"""Training on data that ship with scikit-learn, as search problems over mixed spaces.

A configuration is trained on few rows, and its loss on others is what a search minimises. Every
task is pure JAX and vmappable over configurations, over the instances (how the rows are cut) and
over the keys that draw weights and batches.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from jaxhpo import _checks
from jaxhpo.problems.tabular import _kernel, _linear, _network
from jaxhpo.problems.tabular._base import Tabular as Tabular
from jaxhpo.problems.tabular._base import check_instance, data_set
from jaxhpo.space import Space

__all__ = [
    "NAMES",
    "Tabular",
    "check_instance",
    "data_set",
    "problem",
]

_MODELS: dict[str, Any] = {"network": _network, "linear": _linear, "kernel": _kernel}

NAMES = (
    *("network_digits", "network_breast_cancer", "network_wine", "network_diabetes"),
    *("linear_digits", "linear_breast_cancer", "linear_wine"),
    "kernel_diabetes",
)
"""All tasks, each a model and a data set."""


def problem(name: str, instance: int = 0) -> Tabular:
    """Makes a tabular task.

    A "network" has one hidden layer and 10 or 11 hyperparameters: the optimizer with its rate and
    momentum, schedule, steps, batch, width, activation, scale of the first weights, decay, noise. A
    "linear" model is softmax regression with 7 to 9: the kind of penalty with its weights, rate,
    momentum, steps, label smoothing, a bend and a cut of the inputs. A "kernel" is ridge regression
    with 13 or 14: the kernel with its setting, a scale a feature, penalty, centring. The loss is
    the mean cross entropy, or the mean squared error over the targets' variance.

    Args:
        name: one of `NAMES`.
        instance: how rows are cut into training and validation; another one, another cut.

    Returns:
        The task; `task.evaluate(key, instance, params)` takes instances and keys as arrays.

    Raises:
        TypeError: `instance` is no int.
        ValueError: an unknown name, or a negative instance.
        ModuleNotFoundError: scikit-learn is not installed.

    Example:
        >>> import jax, jax.numpy as jnp, jaxhpo as hpo
        >>> task = hpo.problems.tabular.problem("kernel_diabetes")
        >>> drawn = task.space.sample(jax.random.key(0), 1)
        >>> params = jax.tree.map(lambda leaf: leaf[0], drawn)
        >>> over_instances = jax.vmap(task.evaluate, in_axes=(None, 0, None))
        >>> over_instances(jax.random.key(1), jnp.arange(3, dtype=jnp.int32), params).shape
        (3,)
    """
    where = "tabular.problem"
    if name not in NAMES:
        raise _checks.fail(where, "name", f"one of {', '.join(NAMES)}", name)
    instance = check_instance(where, instance)
    space, evaluate = _parts(name)
    return Tabular(name, space, evaluate, instance)


@functools.cache
def _parts(name: str) -> tuple[Space, Callable[..., Any]]:
    """The space and the function of a task, one object for all instances: one program."""
    kind, source = name.split("_", 1)
    model = _MODELS[kind]
    data = data_set(f"tabular.{kind}", source)
    return model.space(), functools.partial(model.evaluate, data)
