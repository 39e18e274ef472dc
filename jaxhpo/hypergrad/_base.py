"""What every hypergradient estimator is, returns and declares."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo._checks import check_key, describe, fail, noted
from jaxhpo._tracing.manual import on_each_device
from jaxhpo.training import Training

Array = jax.Array
PyTree = Any


class Diagnostics(NamedTuple):
    """Cheap evidence about one hypergradient; None where an estimator has nothing to say.

    Attributes:
        log_growth: `[]` largest logarithm, over the steps, of the adjoint's size relative to its
            size at the end of training. Above 3 the run is close to chaos, above 10 the gradient
            holds no information.
        adjoint_norms: `[T + 1]` largest absolute entry of the derivative of the loss with respect
            to the parameters before step t (row T: after the last step).
        stationarity: `[]` norm of the inner gradient, or of the last step, relative to the
            parameters; an implicit gradient is as wrong as this is large.
        contraction: `[]` estimated contraction factor of the inner iteration; below 1 it converges.
        linear_residual: `[]` relative residual of the linear solve.
        linear_steps: `[]` iterations of the linear solve, where the solver counts them.
        standard_error: pytree like the gradient, standard errors of a stochastic estimate.
        reversal_ok: `[]` bool, whether a reversed run came back to its start bit for bit.
    """

    log_growth: Array | None = None
    adjoint_norms: Array | None = None
    stationarity: Array | None = None
    contraction: Array | None = None
    linear_residual: Array | None = None
    linear_steps: Array | None = None
    standard_error: PyTree | None = None
    reversal_ok: Array | None = None


class Hypergradient(NamedTuple):
    """The value of a training run and its derivative with respect to the hyperparameters.

    Attributes:
        value: `[]` the outer loss after training.
        grad: pytree like `hparams`, in the coordinates of `hparams` (constrained values).
        state: the training state after the last step.
        diagnostics: `Diagnostics`.
    """

    value: Array
    grad: PyTree
    state: PyTree
    diagnostics: Diagnostics = Diagnostics()


class Traits(NamedTuple):
    """What an estimator declares about itself, as data.

    `T` steps, `S` bytes of the training state, `A` bytes of one step's activations, `H` numbers in
    the hyperparameters; time is in plain training runs.

    Attributes:
        exact: whether it is the derivative of the finite run (up to rounding).
        bias: why it is not, or "".
        time: time of one hypergradient.
        memory: bytes beyond plain training.
        needs: what it needs beyond `init`, `step` and `loss`, or "".
        cannot: what it cannot differentiate, or "".
    """

    exact: bool = False
    bias: str = ""
    time: str = ""
    memory: str = ""
    needs: str = ""
    cannot: str = ""


class Memory(NamedTuple):
    """How an estimator goes on from what it found at the last hyperparameters.

    Attributes:
        init: `init(key, hparams) -> memory`, before the first call.
        evaluate: `evaluate(key, hparams, memory) -> (Hypergradient, memory)`.
    """

    init: Callable[[Array, PyTree], PyTree]
    evaluate: Callable[[Array, PyTree, PyTree], tuple[Hypergradient, PyTree]]


@dataclasses.dataclass(frozen=True, eq=False)
class Estimator:
    """A hypergradient estimator: `estimator(key, hparams) -> Hypergradient`.

    It is pure, so it can be jitted, vmapped over keys and hyperparameters, and scanned. It is
    hashable, so it can be a static argument. Made by the factories of `jaxhpo.hypergrad`,
    which raise a TypeError for a `training` that is no Training, a ValueError for a run of no
    steps.
    `init` and `update` are the same estimator in a loop over hyperparameters: some estimators then
    remember (a warm start, a fitted scale, unfinished runs). `descend` uses them.

    Attributes:
        name: the factory's name.
        training: the training run.
        num_steps: inner steps.
        traits: what it costs and what it can do.
        evaluate: `evaluate(key, hparams)`, called with a typed key and checked real leaves.
        memory: what it remembers between calls of `update`, or None.
    """

    name: str
    training: Training
    num_steps: int
    traits: Traits
    evaluate: Callable[[Array, PyTree], Hypergradient]
    memory: Memory | None = None

    def __post_init__(self) -> None:
        """Lets errors of the user's functions name what they were given."""
        text = f"{self.name}: raised while `training` was run with `hparams`."

        def told(function: Callable[..., Any]) -> Callable[..., Any]:
            def run(*args: Any) -> Any:
                with noted(text):
                    return function(*args)

            return run

        object.__setattr__(self, "evaluate", told(self.evaluate))
        if self.memory is not None:
            object.__setattr__(
                self, "memory", Memory(told(self.memory.init), told(self.memory.evaluate))
            )

    def __call__(self, key: Any, hparams: PyTree) -> Hypergradient:
        """Estimates the hypergradient at `hparams` with the randomness of `key`.

        Args:
            key: `[]` the run's key, as in `training.objective`, whose value it reproduces.
            hparams: pytree of real scalars or arrays; traced.

        Returns:
            The `Hypergradient`.

        Raises:
            ValueError: a leaf that is an integer, a boolean or a category.
        """
        key, hparams = check_key(self.name, key), real_leaves(self.name, hparams)
        return on_each_device(self.evaluate)(key, hparams)

    def init(self, key: Any, hparams: PyTree) -> PyTree:
        """The memory before the first `update`; empty for an estimator that remembers nothing.

        Args:
            key: `[]` the first run's key.
            hparams: pytree of real scalars or arrays; traced.

        Returns:
            The memory, a pytree of arrays.
        """
        key, hparams = check_key(self.name, key), real_leaves(self.name, hparams)
        return () if self.memory is None else on_each_device(self.memory.init)(key, hparams)

    def update(self, key: Any, hparams: PyTree, memory: PyTree) -> tuple[Hypergradient, PyTree]:
        """Estimates the hypergradient with the memory of the last call.

        Args:
            key: `[]` the run's key.
            hparams: pytree of real scalars or arrays; traced.
            memory: from `init` or the last `update`.

        Returns:
            `(hypergradient, memory)`.
        """
        key, hparams = check_key(self.name, key), real_leaves(self.name, hparams)
        if self.memory is None:
            return on_each_device(self.evaluate)(key, hparams), memory
        return on_each_device(self.memory.evaluate)(key, hparams, memory)


def real_leaves(where: str, hparams: PyTree) -> PyTree:
    """Requires that every leaf is real, and gives all of them a strong dtype."""
    leaves, treedef = jax.tree_util.tree_flatten_with_path(hparams)
    if not leaves:
        raise fail(where, "hparams", "a pytree with at least one real number", hparams)
    return jax.tree.unflatten(treedef, [_real_leaf(where, path, leaf) for path, leaf in leaves])


def _real_leaf(where: str, path: Any, leaf: Any) -> Array:
    name = "hparams" + jax.tree_util.keystr(path)
    if isinstance(leaf, float) and not hasattr(leaf, "dtype"):
        return jnp.asarray(leaf)  # A Python number stays one: it widens no float32 state.
    dtype = getattr(leaf, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(
            f"{where}: `{name}` must be real, got {describe(leaf)}. An integer or a category has "
            "no derivative: close over it and keep it constant, relax it to a real number, or "
            "search it with `hpo.minimize` or `hpo.population.sweep`."
        )
    leaf = jnp.asarray(leaf)
    return jax.lax.convert_element_type(leaf, leaf.dtype)
