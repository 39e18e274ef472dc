"""The estimator `reversible`: SGD with momentum run backwards, bit for bit.

`_fixed_point_sgd` holds the run itself. Parameters and velocity are integers (fixed point). Every
operation on them has an exact inverse except the decay of the velocity, `v n / d`; the digits that
the division would lose go into an information buffer of `log2(d / n)` bits per parameter and step
(Maclaurin et al. 2015, section 2.3).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo._checks import check_callable, describe, fail
from jaxhpo.hypergrad._arguments import check_run
from jaxhpo.hypergrad._base import Array, Estimator, Hypergradient, Traits
from jaxhpo.hypergrad.implicit._implicit import reaches
from jaxhpo.hypergrad.reversible._fixed_point_arithmetic import binary_digits
from jaxhpo.hypergrad.reversible._fixed_point_sgd import Dynamics, run_there_and_back
from jaxhpo.hypergrad.unrolled import _safe
from jaxhpo.hypergrad.unrolled._opened_run import Run, explained, open_run
from jaxhpo.training import Training, gradient, trial_keys
from jaxhpo.training.internal import mixed_mode

_TRAITS = Traits(
    exact=True,
    time="4 runs",
    memory="2 S + T P log2(d / n) / 8",
    needs="SGD with momentum; inner_loss, or a loss of key, hparams, params and step",
    cannot="any other optimizer; the momentum itself",
)


def reversible(
    training: Training,
    *,
    num_steps: int,
    learning_rate: Callable[[Any, Array], Any],
    decay: Any = Fraction(9, 10),
    loss: Callable[..., Any] | None = None,
) -> Estimator:
    """Exact hypergradient of SGD with momentum, with memory that hardly grows with the run.

    Model: `v <- decay v + ∇g`, `w <- w - lr v`, in fixed point, run forward and then backward with
    the state recomputed, not stored. Fixed point means 44 binary digits after the point in float64
    and 40 in float32, and parameters, gradients and velocities below 131,072 and two millions. The
    estimator checks itself: the first two steps must be those of `training.step`, no number may
    outgrow its place, and the reversed run must end where it began, bit for bit. If one of these
    fails (another optimizer, a run that diverges, a device whose sums are not reproducible),
    `reversal_ok` is False and value and gradient are NaN: use `unrolled` then.

    Args:
        training: the run, whose state has `params`.
        num_steps: steps of the run; static.
        learning_rate: `learning_rate(hparams, t) -> scalar`.
        decay: the momentum, a fraction of small whole numbers between 0 and 1; static.
        loss: `loss(key, hparams, params, t) -> scalar`, the inner loss of one step, where `key` is
            that of `training.step`; `training.inner_loss` if None.

    Raises:
        TypeError: a function is not callable.
        ValueError: no steps, no inner loss, a `decay` that is no such fraction, or (when called) a
            state without real parameters, or a hyperparameter that acts elsewhere in the step.

    Example:
        >>> import jax, jax.numpy as jnp, optax, jaxhpo as hpo
        >>> x = jnp.linspace(-1.0, 1.0, 32)
        >>> training = hpo.training.from_optax(
        ...     lambda key, hparams: jnp.zeros(()),
        ...     lambda hparams, w, batch: jnp.mean((w * batch - 3.0 * batch) ** 2),
        ...     lambda hparams: optax.sgd(hparams["lr"], momentum=0.9), train=x, validation=x,
        ... )
        >>> estimator = hpo.hypergrad.reversible(
        ...     training, num_steps=20, learning_rate=lambda hparams, t: hparams["lr"]
        ... )
        >>> print(estimator(jax.random.key(0), {"lr": 0.1}).diagnostics.reversal_ok)
        True

    References:
        Maclaurin, Duvenaud, Adams, "Gradient-based hyperparameter optimization through reversible
        learning", ICML 2015.
    """
    where = "reversible"
    num_steps = check_run(where, training, num_steps)
    check_callable(where, "learning_rate", learning_rate)
    numerator, denominator = _check_decay(where, decay)
    if loss is None and training.inner_loss is None:
        raise ValueError(
            f"{where}: `loss` must be given when the training has no inner_loss, got None."
        )
    whole: Any = training.inner_loss
    inner = loss
    if inner is None:
        inner = lambda key, hparams, params, t: whole(hparams, params)  # noqa: E731
    check_callable(where, "loss", inner)

    def evaluate(key: Array, hparams: Any) -> Hypergradient:
        with explained(where):
            run = open_run(where, training, key, hparams, mixed=False)
            params = _params(where, run)
            key_step = trial_keys(key)[1]
            slopes = _trace_slopes(inner, learning_rate, key_step, run, params)
            _check_all_differentiated(where, run, slopes, params)
            dtypes = [p.dtype for p in params]
            digits = binary_digits(jnp.result_type(*dtypes))
            dynamics = Dynamics(slopes, numerator, denominator, dtypes, digits)
            return run_there_and_back(run, dynamics, params, num_steps)

    return Estimator(where, training, num_steps, _TRAITS, evaluate)


def _check_decay(where: str, decay: Any) -> tuple[int, int]:
    """Requires a fraction between 0 and 1 whose terms fit the buffer."""
    try:
        fraction = Fraction(decay).limit_denominator(1000)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{where}: `decay` must be a fraction, got {describe(decay)}.") from error
    if not 0 < fraction < 1 or abs(float(fraction) - float(decay)) > 1e-9:
        expected = "a fraction between 0 and 1 of whole numbers up to 1000, such as Fraction(9, 10)"
        raise fail(where, "decay", expected, decay)
    return fraction.numerator, fraction.denominator


def _params(where: str, run: Run) -> list[Array]:
    """The trained leaves of the start."""
    params = [leaf for leaf, flag in zip(run.start.real, run.is_param, strict=True) if flag]
    if not params:
        raise ValueError(f"{where}: `training.init` must return real parameters, got none.")
    return params


def _trace_slopes(
    loss: Callable[..., Any],
    learning_rate: Callable[..., Any],
    key: Array,
    run: Run,
    params: list[Array],
) -> Callable[[Any, list[Array], Array], tuple[list[Array], Array]]:
    """Traces gradient and learning rate in the caller's precision; replayed inside float64."""
    state = run.state(run.start)
    tree = state["params"] if isinstance(state, dict) else getattr(state, "params", state)
    treedef = jax.tree.structure(tree)

    def slopes(hparams: Any, params: list[Array], t: Array) -> tuple[list[Array], Array]:
        at = jax.tree.unflatten(treedef, params)
        grads = gradient(lambda tree: loss(key, hparams, tree, t))(at)
        rate = jnp.asarray(learning_rate(hparams, t))
        return jax.tree.leaves(grads), rate

    with mixed_mode(True):
        closed = jax.make_jaxpr(slopes)(run.hparams, params, jnp.int32(0))

    def replay(hparams: Any, params: list[Array], t: Array) -> tuple[list[Array], Array]:
        args = jax.tree.leaves((hparams, params, t))
        *grads, rate = _safe.evaluate(closed.jaxpr, closed.consts, args)
        return grads, rate

    return replay


def _check_all_differentiated(
    where: str, run: Run, slopes: Callable[..., Any], params: list[Array]
) -> None:
    """Refuses hyperparameters that act in the step outside of what is differentiated here."""
    t, hparams = jnp.int32(0), run.hparams
    known = [
        reaches(jax.make_jaxpr(slopes)(hparams, params, t).jaxpr, hparams),
        reaches(jax.make_jaxpr(run.init)(hparams).jaxpr, hparams),
        reaches(jax.make_jaxpr(run.loss)(hparams, run.start).jaxpr, hparams),
    ]
    acts = reaches(jax.make_jaxpr(run.step)(hparams, run.start, t).jaxpr, hparams)
    paths = jax.tree_util.tree_flatten_with_path(hparams)[0]
    for (path, _), is_used, *flags in zip(paths, acts, *known, strict=True):
        if is_used and not any(flags):
            name = "hparams" + jax.tree_util.keystr(path)
            raise ValueError(
                f"{where}: `{name}` acts in the step, but neither in its gradient nor in its "
                "learning rate (a momentum, a decoupled weight decay), so its derivative would be "
                "missing. Keep it constant here, or use hypergrad.unrolled or forward."
            )
