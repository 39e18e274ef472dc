"""A bilevel problem of two finite sums, and the derivatives that its solvers take of batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo._checks import check_callable
from jaxhpo._tracing.owned import as_pytree
from jaxhpo.hypergrad._coordinates import check_continuous, from_free, to_free
from jaxhpo.training.internal import as_examples, check_batch_size, minibatch

Array = jax.Array
PyTree = Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BilevelProblem:
    """`min_λ F(λ, w(λ))` with `w(λ) = argmin_w G(λ, w)`; made by `problem`.

    Data and bounds are traced leaves, losses and batch sizes are structure. Hyperparameters travel
    in the free coordinates `x` of their space, or as they are if there is none.

    Attributes:
        inner_loss: `inner_loss(hparams, params, batch) -> scalar`, `G` is its mean over `train`.
        outer_loss: `outer_loss(hparams, params, batch) -> scalar`, `F` its mean over `validation`.
        train: pytree of arrays `[num_train, ...]`.
        validation: pytree of arrays `[num_validation, ...]`.
        space: `Space` of the hyperparameters, or None.
        num_train: training examples.
        num_validation: validation examples.
        batch_size: training examples of a batch; None: all.
        validation_batch_size: validation examples of a batch; None: all.
    """

    inner_loss: Callable[..., Any]
    outer_loss: Callable[..., Any]
    train: PyTree
    validation: PyTree
    space: Any
    num_train: int = dataclasses.field(metadata={"static": True})
    num_validation: int = dataclasses.field(metadata={"static": True})
    batch_size: int | None = dataclasses.field(metadata={"static": True})
    validation_batch_size: int | None = dataclasses.field(metadata={"static": True})

    def free(self, hparams: PyTree) -> PyTree:
        """Free coordinates of hyperparameters."""
        return to_free(self.space, hparams)

    def hparams(self, free: PyTree) -> PyTree:
        """Hyperparameters at free coordinates."""
        return from_free(self.space, free)

    def train_batch(self, key: Array) -> PyTree:
        """Training examples, drawn with replacement."""
        return minibatch(key, self.train, self.num_train, self.batch_size)

    def validation_batch(self, key: Array) -> PyTree:
        """Validation examples, drawn with replacement."""
        size = self.validation_batch_size
        return minibatch(key, self.validation, self.num_validation, size)

    def inner(self, free: PyTree, params: PyTree, batch: PyTree) -> Array:
        """The inner loss at `free` and `params` of a `batch`."""
        return _scalar("inner_loss", self.inner_loss(self.hparams(free), params, batch))

    def outer(self, free: PyTree, params: PyTree, batch: PyTree) -> Array:
        """The outer loss at `free` and `params` of a `batch`."""
        return _scalar("outer_loss", self.outer_loss(self.hparams(free), params, batch))

    def inner_grads(self, free: PyTree, params: PyTree, batch: PyTree) -> tuple[PyTree, PyTree]:
        """`(∂_x g, ∂_w g)` by `free` and `params`, of a `batch`."""
        return jax.grad(self.inner, argnums=(0, 1))(free, params, batch)

    def outer_grads(self, free: PyTree, params: PyTree, batch: PyTree) -> tuple[PyTree, PyTree]:
        """`(∂_x f, ∂_w f)` by `free` and `params`, of a `batch`."""
        return jax.grad(self.outer, argnums=(0, 1))(free, params, batch)

    def inner_slope(self, free: PyTree, params: PyTree, batch: PyTree) -> PyTree:
        """`∂_w g` by `params` at `free`, of a `batch`."""
        return jax.grad(self.inner, argnums=1)(free, params, batch)

    def inner_along(
        self, free: PyTree, params: PyTree, v: PyTree, batch: PyTree
    ) -> tuple[PyTree, PyTree, PyTree]:
        """`(∂_w g, ∂²_{ww} g v, ∂²_{xw} g v)` at `free` and `params`, of a `batch`, in one pass."""
        grads, tangents = jax.jvp(lambda w: self.inner_grads(free, w, batch), (params,), (v,))
        return grads[1], tangents[1], tangents[0]


def problem(
    inner_loss: Callable[..., Any],
    outer_loss: Callable[..., Any],
    *,
    train: PyTree,
    validation: PyTree,
    batch_size: int | None = None,
    validation_batch_size: int | None = None,
    space: Any = None,
) -> BilevelProblem:
    """States a bilevel problem for the solvers of `hypergrad.bilevel`.

    Model: `min_λ mean_j f(λ, w(λ), validation_j)`, `w(λ) = argmin_w mean_i g(λ, w, train_i)`. The
    losses are the ones that `hpo.training.from_optax` takes: means over the examples of a batch.
    The inner loss must have a minimum that moves with the hyperparameters: penalties, weights of
    examples, data; not a learning rate or initial weights.

    Args:
        inner_loss: `inner_loss(hparams, params, batch) -> scalar`.
        outer_loss: `outer_loss(hparams, params, batch) -> scalar`.
        train: pytree of arrays `[num_train, ...]`.
        validation: pytree of arrays `[num_validation, ...]`.
        batch_size: training examples of a batch; static; None: all, without chance.
        validation_batch_size: validation examples of a batch; static; None: all.
        space: continuous `Space`: the solver then moves in the logits of its unit coordinates and
            never leaves it.

    Returns:
        The `BilevelProblem`.

    Raises:
        TypeError: a loss that is not callable, data that are not numeric arrays, or no `Space`.
        ValueError: leading lengths that differ, a batch larger than the data, or a discrete space.

    Example:
        >>> import jax.numpy as jnp, jaxhpo as hpo
        >>> ridge = hpo.hypergrad.bilevel.problem(
        ...     lambda h, w, x: jnp.mean((w - x) ** 2) + h["l2"] * w**2,
        ...     lambda h, w, x: jnp.mean((w - x) ** 2),
        ...     train=jnp.ones(8), validation=jnp.zeros(4), batch_size=2,
        ... )
        >>> ridge.num_train, ridge.validation_batch_size
        (8, None)
    """
    where = "bilevel.problem"
    check_callable(where, "inner_loss", inner_loss)
    check_callable(where, "outer_loss", outer_loss)
    train, num_train = as_examples(where, "train", train)
    validation, num_validation = as_examples(where, "validation", validation)
    batch_size = check_batch_size(where, batch_size, num_train)
    validation_batch_size = check_batch_size(
        where, validation_batch_size, num_validation, part="validation"
    )
    if space is not None:
        check_continuous(where, space)
    return BilevelProblem(
        as_pytree(inner_loss),
        as_pytree(outer_loss),
        train,
        validation,
        space,
        num_train,
        num_validation,
        batch_size,
        validation_batch_size,
    )


def _scalar(name: str, loss: Any) -> Array:
    loss = jnp.asarray(loss)
    if loss.shape != () or not jnp.issubdtype(loss.dtype, jnp.floating):
        raise ValueError(
            f"bilevel: `{name}` must return a real scalar, got shape {loss.shape} and dtype "
            f"{loss.dtype}."
        )
    return loss
