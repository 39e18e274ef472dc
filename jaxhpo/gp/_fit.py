"""MAP fit of the hyperparameters, from several starts one after another."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo._base import Array
from jaxhpo._checks import check_count, check_positive, fail, is_traced
from jaxhpo.gp._arguments import check_data, check_kernel, check_prior, real
from jaxhpo.gp._kernels import Kernel
from jaxhpo.gp._likelihood import negative_log_posterior
from jaxhpo.gp._model import Data, Hyperparameters, Prior, unravel
from jaxhpo.gp._quasi_newton import minimize_box

# In logarithms: one step changes a hyperparameter by a factor of e² at most, so that a steep start
# does not throw the search to its bounds.
_MAX_STEP = 2.0
# Nats per unit of a logarithm: what remains to be gained is then far below what the data can tell.
_TOLERANCE = 1e-3


class Fit(NamedTuple):
    """The result of a fit.

    Attributes:
        hyper: the hyperparameters of largest posterior density.
        log_posterior: `[]` log likelihood plus log prior (up to a constant) there.
        num_evals: `[]` int32 evaluations of the likelihood over all starts.
    """

    hyper: Hyperparameters
    log_posterior: Array
    num_evals: Array


def fit(
    kernel: Kernel,
    data: Data,
    prior: Prior,
    starts: Array,
    *,
    num_starts: Array | None = None,
    max_evals: int | Array = 40,
    tolerance: float = _TOLERANCE,
) -> Fit:
    """Finds hyperparameters of largest posterior density from several starts.

    When to use it: once a few observations are there. A search whose covariance cannot be
    factorised backs off; if no start gives a finite value, the first start is returned. Starts are
    tried one after another, since factorisations of a batch are no faster on CPU and the batch
    would wait for its slowest search.

    Args:
        kernel: static structure of the kernel.
        data: the observations, targets standardised.
        prior: normal priors and bounds of the logarithms.
        starts: `[r, g + 2]` starts in the order of `Hyperparameters.ravel`; one row per start.
        num_starts: `[]` int32, how many of them to try, in order; traced. None: all.
        max_evals: evaluations of the likelihood per start, at most.
        tolerance: size of the projected gradient at which a start stops.

    Returns:
        The `Fit`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxhpo import gp
        >>> x = jnp.linspace(0.0, 1.0, 8)[:, None]
        >>> data = gp.Data(x, jnp.sin(6 * x[:, 0]), jnp.zeros(8), jnp.ones(8, bool))
        >>> prior = gp.default_prior(1, noise_floor=1e-4)
        >>> found = gp.fit(gp.Kernel((0,)), data, prior, prior.mean[None])
        >>> 0.1 < float(jnp.exp(found.hyper.log_lengthscale[0])) < 1.0
        True
    """
    where = "gp.fit"
    data = check_data(where, check_kernel(where, kernel), data)
    prior = check_prior(where, kernel, prior)
    starts = real(where, "starts", starts, ("r", kernel.num_groups + 2)).astype(data.target.dtype)
    if starts.shape[0] == 0:
        raise fail(where, "starts", "of at least one row", starts.shape)
    num_starts = None if num_starts is None else _number(where, "num_starts", num_starts)
    max_evals = _number(where, "max_evals", max_evals)
    if not is_traced(tolerance):
        tolerance = float(check_positive(where, "tolerance", tolerance))
    count = jnp.asarray(starts.shape[0] if num_starts is None else num_starts, jnp.int32)

    # Dense BFGS: with some hundred hyperparameters at most, its matrix costs nothing beside one
    # factorisation of the covariance, and its loop compiles to far fewer operations than the two
    # loops of the limited-memory form. The objective appears in it once: a second instance (a value
    # at the start, say) made the fit compile 1.7 times as long.
    def search(i: Array, best: Fit) -> Fit:
        found = minimize_box(
            lambda theta: negative_log_posterior(kernel, theta, data, prior),
            starts[i],
            prior.lower,
            prior.upper,
            max_evals=max_evals,
            tolerance=tolerance,
            inverse=_first_inverse(prior),
            max_step=_MAX_STEP,
        )
        # Strict: of equal starts the first one wins, and NaN never does.
        is_better = -found.value > best.log_posterior
        theta = jnp.where(is_better, found.x, best.hyper.ravel())
        value = jnp.where(is_better, -found.value, best.log_posterior)
        return Fit(unravel(theta), value, best.num_evals + found.num_evals)

    nothing = jnp.full((), -jnp.inf, starts.dtype)
    first = Fit(unravel(starts[0]), nothing, jnp.zeros((), jnp.int32))
    best: Fit = jax.lax.fori_loop(jnp.zeros((), jnp.int32), count, search, first)
    return best


def _number(where: str, argument: str, value: Any) -> Any:
    """A count of at least 1, or a traced one."""
    return value if is_traced(value) else check_count(where, argument, value, 1)


def _first_inverse(prior: Prior) -> Array:
    """Diagonal first inverse Hessian: the prior's variances, capped where it says little."""
    # The data make the posterior narrower than the prior: half its deviation is a first guess.
    return jnp.minimum(prior.sd**2, 1.0) * 0.25
