"""Gradient descent on hyperparameters: one compiled outer loop over any estimator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxhpo._checks import check_callable, check_count, check_key, check_positive, describe, fail
from jaxhpo._tracing import compilation_cache, owned
from jaxhpo.hypergrad._base import Estimator, real_leaves
from jaxhpo.hypergrad._coordinates import check_start, from_free, to_free
from jaxhpo.hypergrad._held_out import HeldOut, is_noisy, losses
from jaxhpo.hypergrad._outer_step import Loop, Step, begin_loop, outer_step
from jaxhpo.progress import DeviceReporter, check_not_traced, display, report

Array = jax.Array
PyTree = Any


class Descent(NamedTuple):
    """The path of an outer descent; rows are outer steps.

    Attributes:
        best_hparams: the hyperparameters with the smallest accepted value. With fresh keys and a
            loss that depends on them, that would be low by chance: then they are those with the
            smallest mean loss over the held-out keys, among the start, the point of the smallest
            value and the one where eight accepted values in a row have the smallest mean (which is
            taken at once if the estimator remembers, such as a warm start).
        best_value: `[]` that value or that mean; infinite if no step was accepted.
        hparams: `[num_outer, ...]` every point visited.
        values: `[num_outer]` outer losses there.
        grad_norms: `[num_outer]` Euclidean norm of the gradient in free coordinates.
        log_growth: `[num_outer]` growth of the adjoint, NaN where the estimator does not tell.
        accepted: `[num_outer]` bool, whether the guard trusted the gradient.
        test_values: `[num_outer]` the loss on held-out data that the descent never saw, or None.
        free: the free coordinates of the point that would come next.
        opt_state: the outer optimizer's state.
        held_out: `HeldOut`, losses from keys that no step followed, at the start and at
            `best_hparams`; None where the loss cannot depend on the key. Where `values` fell and
            these did not, the descent has fitted its keys.
    """

    best_hparams: PyTree
    best_value: Array
    hparams: PyTree
    values: Array
    grad_norms: Array
    log_growth: Array
    accepted: Array
    test_values: Array | None
    free: PyTree
    opt_state: PyTree
    held_out: HeldOut | None


class _Settings(NamedTuple):
    """Plain numbers that are structure."""

    num_outer: int
    seeds: str
    num_held_out: int


class _Users(NamedTuple):
    """The user's functions, each as a pytree: one compiled program for each combination."""

    estimator: Any
    optimizer: Any
    test_loss: Any
    progress: Any


def descend(
    estimator: Estimator,
    hparams: PyTree,
    outer_optimizer: optax.GradientTransformation,
    *,
    key: Any,
    num_outer: int,
    space: Any = None,
    seeds: str = "fresh",
    num_held_out: int = 8,
    max_log_growth: float = 10.0,
    test_loss: Callable[[Any, Any], Array] | None = None,
    progress: Any = None,
) -> Descent:
    """Minimises the value of a training run over its hyperparameters by hypergradients.

    One compiled loop, whatever the values; it can be vmapped over starts and keys. A guard checks
    every gradient: if it is not finite, or the adjoint grew by more than `exp(max_log_growth)` on
    its way through the run (chaos: the gradient is then rounding noise), the step that led there
    is halved and tried again from the last trusted point.

    Args:
        estimator: from one of the factories of `jaxhpo.hypergrad`.
        hparams: pytree of real values to start from; traced.
        outer_optimizer: an optax transformation.
        key: `[]` randomness of the training runs.
        num_outer: hypergradients to compute; static, at least 1.
        space: `Space` of the hyperparameters: the descent then moves in the logits of its unit
            coordinates and never leaves it. Without one it moves in `hparams` as they are.
        seeds: "fresh": run i uses `fold_in(key, i)`, a stochastic gradient that cannot fit one
            seed; "fixed": every run uses `key` (common random numbers), whose values fall smoothly
            and look better than they are. Both are the same where the loss does not depend on the
            key. Static.
        num_held_out: plain training runs from further keys, each at the start and at the two best
            points, which choose among them and tell what they are worth (`Descent.held_out`). None
            is run where the loss cannot depend on the key; 0 for none at all. Static.
        max_log_growth: limit of the guard; traced. Gradients are reliable below 5, useless at 25.
        test_loss: `test_loss(hparams, state) -> scalar` on a third split, recorded, never used.
        progress: `progress(i, value, grad_norm)`, called on the host after every step; or True for
            a bar on a terminal or in a notebook, lines where the output is piped, which waits for
            the result and takes no transformation.

    Returns:
        The `Descent`.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: no outer steps, a start outside its space, a discrete dimension, or a bar under
            a transformation.

    Example:
        >>> import jax, optax, jaxhpo as hpo
        >>> training = hpo.Training(
        ...     init=lambda key, hparams: 1.0,
        ...     step=lambda key, hparams, state, t: state * (1 - hparams["lr"]),
        ...     loss=lambda hparams, state: state**2,
        ... )
        >>> estimator = hpo.hypergrad.unrolled(training, num_steps=2)
        >>> path = hpo.hypergrad.descend(
        ...     estimator, {"lr": 0.5}, optax.adam(0.2), key=0, num_outer=20,
        ...     space=hpo.Space({"lr": hpo.uniform(0.0, 1.0)}),
        ... )
        >>> bool(path.best_value < 1e-3)
        True
    """
    where = "descend"
    if not isinstance(estimator, Estimator):
        raise TypeError(f"{where}: `estimator` must be an Estimator, got {describe(estimator)}.")
    if not isinstance(outer_optimizer, optax.GradientTransformation):
        raise TypeError(
            f"{where}: `outer_optimizer` must be an optax.GradientTransformation, got "
            f"{describe(outer_optimizer)}."
        )
    hook = None if isinstance(progress, bool) else progress
    for name, function in (("test_loss", test_loss), ("progress", hook)):
        if function is not None:
            check_callable(where, name, function)
    if not isinstance(seeds, str) or seeds not in ("fixed", "fresh"):
        raise fail(where, "seeds", "'fixed' or 'fresh'", seeds)
    num_outer = check_count(where, "num_outer", num_outer, 1)
    max_log_growth = check_positive(where, "max_log_growth", max_log_growth)
    limit = jnp.asarray(max_log_growth, jnp.result_type(float))
    hparams = real_leaves(where, hparams)
    if space is not None:
        check_start(where, space, hparams)
    num_held_out = check_count(where, "num_held_out", num_held_out, 0)
    settings = _Settings(num_outer, seeds, num_held_out)
    users = _Users(
        owned.Function(estimator),
        jax.tree.map(owned.as_pytree, outer_optimizer),
        None if test_loss is None else owned.as_pytree(test_loss),
        None if hook is None else owned.as_pytree(hook),
    )
    compilation_cache.enable_compilation_cache()
    key = check_key(where, key)
    has_bar = progress is True
    inputs = (key, hparams, space, limit)
    with display(where, has_bar, where, num_outer, *inputs, unit="outer steps") as reporter:
        path = _compiled(settings, users, key, hparams, space, limit, reporter)
        if reporter is not None:
            check_not_traced(where, progress, path.values)
            jax.block_until_ready(path)
    return path


def _run(
    settings: _Settings,
    users: _Users,
    key: Array,
    hparams: Any,
    space: Any,
    limit: Array,
    reporter: DeviceReporter | None = None,
) -> Descent:
    """The whole loop, traceable."""
    estimator, optimizer = users.estimator.function, users.optimizer

    def step(loop: Loop, i: Array) -> tuple[Loop, Any]:
        run_key = key if settings.seeds == "fixed" else jax.random.fold_in(key, i)
        loop, found = outer_step(estimator, optimizer, run_key, space, limit, loop)
        row = _row(users, found, i)
        if reporter is not None:
            counts = dict(done=i + 1, best=loop.best_value, failed=jnp.int32(0))
            report(reporter, i, settings.num_outer, **counts)
        return loop, row

    start = to_free(space, hparams)
    loop = begin_loop(estimator, optimizer, key, hparams, space, settings.num_outer)
    steps = jnp.arange(settings.num_outer, dtype=jnp.int32)
    loop, rows = jax.lax.scan(step, loop, steps)
    best, best_value, held_out = _judged(settings, estimator, key, space, start, loop)
    return Descent(*(best, best_value, *rows, loop.point, loop.opt_state, held_out))


_compiled = owned.jit(_run, functions_in=(1, 4), static_argnums=(0,))


def _judged(
    settings: _Settings, estimator: Estimator, key: Array, space: Any, start: Any, loop: Loop
) -> tuple[Any, Array, HeldOut | None]:
    """The best hyperparameters, their value, and what held-out keys say of them."""
    points = [loop.best, loop.trail.best, start]
    best = from_free(space, loop.best)
    if not settings.num_held_out or not is_noisy(estimator, key, best):
        return best, loop.best_value, None
    candidates = jax.tree.map(lambda *leaves: jnp.stack(leaves), *points)
    candidates = jax.vmap(lambda free: from_free(space, free))(candidates)
    found = losses(estimator, key, candidates, settings.num_held_out)
    if settings.seeds == "fixed":
        return best, loop.best_value, HeldOut(found[2], found[0])
    if estimator.memory is not None:  # it goes on from where it is, as no run from the start does
        best = from_free(space, loop.trail.best)
        return best, loop.trail.best_mean, HeldOut(found[2], found[1])
    mean = jnp.mean(found, axis=1)
    chosen = jnp.argmin(jnp.where(jnp.isfinite(mean), mean, jnp.inf))
    best = jax.tree.map(lambda leaf: leaf[chosen], candidates)
    value = jnp.where(jnp.isfinite(loop.best_value), mean[chosen], loop.best_value)
    return best, value.astype(loop.best_value.dtype), HeldOut(found[2], found[chosen])


def _row(users: _Users, found: Step, i: Array) -> tuple[Any, ...]:
    """What one outer step leaves in the record, in the order of `Descent`'s fields."""
    hparams, out, grads, accepted = found
    norm = _norm(grads)
    if users.progress is not None:
        jax.debug.callback(owned.weakly(users.progress), i, out.value, norm)
    growth = out.diagnostics.log_growth
    growth = jnp.full_like(out.value, jnp.nan) if growth is None else growth
    held_out = users.test_loss
    test = None if held_out is None else _tested(held_out(hparams, out.state))
    return hparams, out.value, norm, growth, accepted, test


def _tested(loss: Any) -> Array:
    """Requires a number from `test_loss`, at trace time, and returns it as an array."""
    if not hasattr(loss, "dtype") and not isinstance(loss, float | int):
        raise TypeError(f"descend: `test_loss` must return a scalar, got {describe(loss)}.")
    return jnp.asarray(loss)


def _norm(tree: Any) -> Array:
    """Euclidean norm over all leaves, in the widest of their dtypes."""
    leaves = jax.tree.leaves(tree)
    dtype = jnp.result_type(*leaves) if leaves else jnp.result_type(float)
    return jnp.sqrt(sum((jnp.sum(a.astype(dtype) ** 2) for a in leaves), jnp.zeros((), dtype)))
