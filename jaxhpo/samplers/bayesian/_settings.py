"""Settings of `gp`, `gp_multi` and `turbo`, and the precision of their linear algebra."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxhpo import _checks, acquisition, gp
from jaxhpo._base import Array, Record, Sampler, setting, static_field
from jaxhpo.samplers._parts._configurations import Lattice, finite_lattice
from jaxhpo.samplers._parts._observations import no_observations
from jaxhpo.samplers._parts._pending import Counts
from jaxhpo.samplers.bayesian._fits import epochs_of, first_fitted
from jaxhpo.samplers.bayesian._local_turns import first_region
from jaxhpo.samplers.bayesian._state import GpState
from jaxhpo.samplers.space_filling import _sobol
from jaxhpo.samplers.space_filling._qmc import qmc
from jaxhpo.space import Space
from jaxhpo.space.internal import num_used

ACQUISITIONS = ("log_ei", "log_pi", "ucb", "thompson", "mes")
NOISE_FLOOR = {"float64": 1e-8, "float32": 1e-4}


@dataclasses.dataclass(frozen=True)
class Options:
    """Structural settings; hashable.

    Attributes:
        batch_size: rows of one ask.
        capacity: observations that the state holds.
        acquisition_function: one of `ACQUISITIONS`.
        constrained: whether the violation has a model of its own.
        precision: "float64" or "float32".
        num_basins: minima that are left alone once reached.
        num_active: observations that the model is conditioned on, at most.
        budget: how hard the acquisition function is searched.
        trust_region: whether every second proposal stays around the best point (`_local_turns`).
    """

    batch_size: int
    capacity: int
    acquisition_function: str
    constrained: bool
    precision: str
    num_basins: int
    num_active: int
    budget: acquisition.Budget
    trust_region: bool = False


class GpSettings(Record):
    """Settings: the space, the priors and the numbers are traced, the rest is static.

    Attributes:
        space: the search space.
        num_startup: `[]` int32, points observed before the model takes over.
        epochs: `[e]` int32 counts at which fits start anew (`_fits.epochs_of`).
        start: the low-discrepancy sequence of the first points.
        table: `[c, d + 2]` candidates.
        prior: of the model's hyperparameters.
        beta: squared number of deviations of "ucb".
        optimum_prior: log density of the optimum's place, a callable pytree, or None.
        strength: number of trials up to which `optimum_prior` counts in full.
        kernel: structure of the kernel.
        embedding: features of the space.
        lattice: the configurations of a finite space, or None.
        options: structural settings.
    """

    space: Space
    num_startup: Array
    epochs: Array
    start: Sampler
    table: Array
    prior: gp.Prior
    beta: Array
    optimum_prior: Callable[[Any], Array] | None
    strength: Array
    kernel: gp.Kernel = static_field()
    embedding: acquisition.Embedding = static_field()
    lattice: Lattice | None = static_field()
    options: Options = static_field()


def check_options(
    where: str,
    space: Space,
    *,
    batch_size: Any,
    capacity: Any,
    num_candidates: Any,
    num_lanes: Any,
    num_active: Any,
    precision: Any,
    acquisition_function: Any = "log_ei",
    constrained: Any = False,
    num_basins: Any = 0,
    trust_region: Any = False,
) -> Options:
    """Checks the static arguments that the samplers share, as `gp` documents them."""
    count = functools.partial(_checks.check_count, where)
    num_candidates = count("num_candidates", num_candidates, 16)
    trust_region = _checks.check_bool(where, "trust_region", trust_region)
    return Options(
        batch_size=count("batch_size", batch_size, 1),
        capacity=count("capacity", capacity, 1),
        acquisition_function=_checks.check_choice(
            where, "acquisition_function", acquisition_function, ACQUISITIONS
        ),
        constrained=_checks.check_bool(where, "constrained", constrained),
        precision=_checks.check_choice(where, "precision", precision, NOISE_FLOOR),
        num_basins=count("num_basins", num_basins, 0),
        num_active=count("num_active", num_active, 32),
        budget=acquisition.Budget(
            num_candidates, num_candidates // 4, count("num_lanes", num_lanes, 3)
        ),
        # Where all is discrete, a small region soon holds nothing new.
        trust_region=trust_region and bool((space.num_levels == 0).any()),
    )


def make_settings(
    where: str,
    space: Space,
    options: Options,
    *,
    num_startup: Any = None,
    kernel: Any = "matern52",
    beta: Any = 4.0,
    prior: Any = None,
    prior_strength: Any = 10.0,
) -> GpSettings:
    """Settings for a space, of arguments as `gp` documents them; host side."""
    kernel = _checks.check_choice(where, "kernel", kernel, ("matern52", "rbf"))
    beta = _checks.check_positive(where, "beta", beta)
    prior_strength = _checks.check_positive(where, "prior_strength", prior_strength)
    d, dtype = int(num_used(space)), jnp.result_type(float)
    if num_startup is None:
        num_startup = min(10, max(4, d + 1))
    num_startup = _checks.check_count(where, "num_startup", num_startup, 1)
    first_fit = -(-num_startup // options.batch_size) * options.batch_size
    num_candidates = options.budget.num_global + options.budget.num_local
    table = np.insert(
        candidate_table(num_candidates, d + 2), [d] * (space.num_dims - d), 0.0, axis=1
    )
    embedding = acquisition.embedding_of(space)
    return GpSettings(
        space=space,
        num_startup=setting(num_startup, np.int32),
        epochs=setting(epochs_of(first_fit)),
        start=qmc(space),
        table=setting(table),
        prior=gp.default_prior(
            space.num_dims, jnp.float32, noise_floor=NOISE_FLOOR[options.precision], num_dims=d
        ),
        beta=setting(beta, dtype),
        optimum_prior=None if prior is None else _check_optimum_prior(where, prior, space),
        strength=setting(prior_strength, dtype),
        kernel=embedding.kernel(kernel),
        embedding=embedding,
        lattice=finite_lattice(space),
        options=options,
    )


def first_state(settings: GpSettings, key: Array) -> GpState:
    """The state of a new study."""
    options, dtype = settings.options, jnp.result_type(float)
    num_models = 1 + options.constrained
    return GpState(
        rows=no_observations(options.capacity, settings.space.num_dims),
        start=settings.start.init(key),
        counts=Counts.zero(),
        fitted=first_fitted(settings.prior, num_models, dtype),
        num_fitted=jnp.zeros((), jnp.int32),
        region=first_region(dtype) if options.trust_region else None,
    )


def candidate_table(count: int, num_dims: int) -> np.ndarray:
    """Plain Sobol points `[count, num_dims]` in float32, computed on the host."""
    numbers = _sobol.direction_numbers(num_dims)
    index = np.arange(count, dtype=np.uint32)
    gray = index ^ (index >> np.uint32(1))
    chosen = (gray[:, None] >> np.arange(_sobol.NUM_BITS, dtype=np.uint32)) & np.uint32(1)
    digits = np.bitwise_xor.reduce(chosen[:, None, :] * numbers[None, :, :], axis=2)
    return (digits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def _check_optimum_prior(where: str, log_density: Any, space: Space) -> Callable[[Any], Array]:
    """A log density of one params pytree, as a callable pytree; traced once to see its shape."""
    _checks.check_callable(where, "prior", log_density)
    unit = jax.ShapeDtypeStruct((1, space.num_dims), jnp.result_type(float))
    found = jax.eval_shape(
        lambda unit: log_density(jax.tree.map(lambda leaf: leaf[0], space.from_unit(unit))), unit
    )
    if not hasattr(found, "shape") or found.shape or not jnp.issubdtype(found.dtype, jnp.floating):
        expected = "a function of one params pytree that returns a real scalar"
        raise _checks.fail(where, "prior", expected, found)
    if not jax.tree_util.all_leaves([log_density]):
        return log_density
    return Partial(log_density)


class Precision(NamedTuple):
    """Dtype of the linear algebra, and whether default floats are float64 outside of it."""

    work: np.dtype
    is_double_outside: bool


@contextlib.contextmanager
def inside(settings: GpSettings) -> Iterator[Precision]:
    """The precision of the linear algebra, as a context of the trace."""
    is_double = bool(jnp.result_type(float) == jnp.float64)
    if settings.options.precision == "float32":
        yield Precision(np.dtype(np.float32), is_double)
        return
    with jax.enable_x64(True):
        yield Precision(np.dtype(np.float64), is_double)
