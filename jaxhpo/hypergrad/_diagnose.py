"""Can this hypergradient be trusted? Evidence, and a verdict in one line."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._checks import check_count, check_key, describe
from jaxhpo.hypergrad._base import Estimator, Hypergradient, real_leaves
from jaxhpo.hypergrad._obstacles import obstacles
from jaxhpo.hypergrad.unrolled._unrolled import unrolled
from jaxhpo.training import objective

_STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
_CHAOS = 10.0


class Diagnosis(NamedTuple):
    """What `diagnose` found.

    Attributes:
        verdict: one line that begins with "exact", "biased" or "unreliable".
        fd_agreement: smallest relative disagreement with central differences over a scan of step
            sizes, the worst of some random directions.
        fd_scan: step size -> disagreement in the worst direction.
        log_growth: growth of the adjoint through the exact sweep.
        bias: distance from the exact gradient, relative to its size.
        cosine: cosine of the angle with the exact gradient.
        memory_bytes: temporary memory of the compiled estimate.
        seconds: time of one estimate, compiled.
        time_ratio: that over the time of the plain run.
        dtype: precision of the value; finite differences cannot see further.
    """

    verdict: str
    fd_agreement: float
    fd_scan: dict[float, float]
    log_growth: float
    bias: float
    cosine: float
    memory_bytes: int
    seconds: float
    time_ratio: float
    dtype: str


def diagnose(estimator: Estimator, key: Any, hparams: Any, *, num_directions: int = 3) -> Diagnosis:
    """Compares a hypergradient with finite differences and with the exact one, in float64.

    It compiles and runs three programs on the host, so it belongs before a descent, not into it.
    Float64 reaches as far as the training lets it: arrays that it closes over keep their dtype.

    Args:
        estimator: the estimator to judge.
        key: `[]` the run's key.
        hparams: the point, concrete values.
        num_directions: random directions for the finite differences; at least 1.

    Returns:
        The `Diagnosis`.

    Raises:
        TypeError: `estimator` is not an Estimator.
        ValueError: no directions, or a hyperparameter that is not real.

    Example:
        >>> import jax, jaxhpo as hpo
        >>> training = hpo.Training(
        ...     init=lambda key, hparams: hparams["start"],
        ...     step=lambda key, hparams, state, t: state * (1 - hparams["lr"]),
        ...     loss=lambda hparams, state: state**2,
        ... )
        >>> estimator = hpo.hypergrad.unrolled(training, num_steps=5)
        >>> found = hpo.hypergrad.diagnose(estimator, 0, {"lr": 0.1, "start": 1.0})
        >>> found.verdict.split(":")[0]
        'exact'
    """
    where = "diagnose"
    if not isinstance(estimator, Estimator):
        raise TypeError(f"{where}: `estimator` must be an Estimator, got {describe(estimator)}.")
    num_directions = check_count(where, "num_directions", num_directions, 1)
    key = check_key(where, key)
    with jax.enable_x64(True):
        wide = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, jnp.float64), real_leaves(where, hparams)
        )
        program = jax.jit(estimator).lower(key, wide).compile()
        value = jax.jit(objective(estimator.training, estimator.num_steps))
        exact = _exact(estimator, key, wide)
        return judge(estimator, key, wide, program, value, exact, num_directions)


def judge(
    estimator: Estimator,
    key: Any,
    wide: Any,
    program: Any,
    value: Callable[..., Any],
    exact: Hypergradient,
    num_directions: int,
) -> Diagnosis:
    """`diagnose` with programs that are compiled already, inside `jax.enable_x64`.

    Args:
        estimator: the estimator to judge.
        key: `[]` the run's key.
        wide: the point, in float64.
        program: the compiled estimator.
        value: the compiled plain run.
        exact: the exact gradient there.
        num_directions: random directions for the finite differences.

    Returns:
        The `Diagnosis`.
    """
    memory: Any = program.memory_analysis()
    out = program(key, wide)
    scan = _scan(lambda h: float(value(key, h)), wide, out.grad, num_directions)
    blocks = obstacles(estimator.name, estimator.training, key, wide)
    seconds, plain = _seconds(program, key, wide), _seconds(value, key, wide)
    bias, cosine = compare(flat(out.grad), flat(exact.grad))
    growth = exact.diagnostics.log_growth
    found = Diagnosis(
        verdict="",
        fd_agreement=min(scan.values()),
        fd_scan=scan,
        log_growth=float("nan") if growth is None else float(growth),
        bias=bias,
        cosine=cosine,
        memory_bytes=int(memory.temp_size_in_bytes),
        seconds=seconds,
        time_ratio=seconds / plain,
        dtype=str(out.value.dtype),
    )
    return found._replace(verdict=_verdict(estimator, found, out, blocks))


def _exact(estimator: Estimator, key: Any, hparams: Any) -> Hypergradient:
    """The exact gradient: reverse mode, or the estimate itself where that does not apply."""
    exact = unrolled(estimator.training, num_steps=estimator.num_steps)
    try:
        return jax.jit(exact)(key, hparams)
    except ValueError:
        if not estimator.traits.exact:
            raise
        return estimator(key, hparams)


def _verdict(estimator: Estimator, found: Diagnosis, out: Hypergradient, blocks: list[str]) -> str:
    """One line; the first reason that applies."""
    grad = flat(out.grad)
    agreement = f"{found.fd_agreement:.1e}"
    if out.diagnostics.reversal_ok is not None and not bool(out.diagnostics.reversal_ok):
        return "unreliable: the reversed run did not come back to its start; use unrolled"
    if not (np.all(np.isfinite(grad)) and np.isfinite(float(out.value))):
        return "unreliable: the value or the gradient is not finite; training diverges"
    if found.log_growth > _CHAOS:
        return (
            f"unreliable: the adjoint grows by exp({found.log_growth:.0f}), training is chaotic; "
            "shorten it, lower the learning rate, or use es or pes"
        )
    limit = 1e-6 if found.dtype == "float64" else 1e-2
    if found.fd_agreement <= limit:
        return f"exact: agrees with finite differences to {agreement} ({found.dtype})"
    if estimator.traits.exact:
        reason = f"the run is not smooth here, or {found.dtype} is too coarse to tell"
        if blocks:
            reason = f"the run holds {', '.join(blocks)}"
        return f"unreliable: disagrees with finite differences by {agreement}; {reason}"
    return (
        f"biased: {estimator.traits.bias}; off by {found.bias:.1e} of the exact gradient, "
        f"cosine {found.cosine:.3f}"
    )


def _scan(
    value: Callable[[Any], float], hparams: Any, grad: Any, num_directions: int
) -> dict[float, float]:
    """Disagreement of central differences with the gradient, by step size."""
    leaves, treedef = jax.tree.flatten(hparams)
    worst = dict.fromkeys(_STEPS, 0.0)
    for number in range(num_directions):
        rng = np.random.default_rng(number)
        direction = [rng.normal(size=leaf.shape) for leaf in leaves]
        parts = zip(jax.tree.leaves(grad), direction, strict=True)
        slope = sum(float(np.sum(np.asarray(g) * d)) for g, d in parts)
        for h in _STEPS:
            ends = [
                value(jax.tree.unflatten(
                    treedef, [a + sign * h * d for a, d in zip(leaves, direction, strict=True)]
                ))
                for sign in (1.0, -1.0)
            ]  # fmt: skip
            quotient = (ends[0] - ends[1]) / (2 * h)
            scale = max(abs(slope), abs(quotient), 1e-300)
            worst[h] = max(worst[h], abs(quotient - slope) / scale)
    return worst


def flat(tree: Any) -> np.ndarray:
    leaves = [np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)]
    return np.concatenate(leaves) if leaves else np.zeros(0)


def compare(one: np.ndarray, exact: np.ndarray) -> tuple[float, float]:
    """Relative distance and cosine."""
    size, own = float(np.linalg.norm(exact)), float(np.linalg.norm(one))
    distance = float(np.linalg.norm(one - exact))
    cosine = float(one @ exact) / (size * own) if size and own else float("nan")
    return (distance / size if size else distance), cosine


def _seconds(program: Callable[..., Any], key: Any, hparams: Any) -> float:
    """Best of three runs."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        jax.block_until_ready(program(key, hparams))
        times.append(time.perf_counter() - begin)
    return min(times)
