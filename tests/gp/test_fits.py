"""Hyperparameters over the life of a study: a function of the history alone."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhpo import gp
from jaxhpo.samplers.bayesian import _fits as fits
from jaxhpo.samplers.bayesian import _targets as model

N = 40
KERNEL = gp.Kernel((0, 1))
SCHEDULE = fits.Schedule(fits.epochs_of(4), batch=1, every=6)


def counts_of(schedule, last):
    """Counts of all fits up to `last`, and which of them are fresh, by their definition."""
    counts, fresh, before = [], [], 0
    while (count := int(schedule.after(jnp.asarray(before, jnp.int32)))) <= last:
        counts.append(count)
        fresh.append(bool(schedule.is_fresh(*jnp.asarray([before, count], jnp.int32))))
        before = count
    return counts, fresh


def test_counts_grow_by_steps_of_a_batch():
    assert counts_of(SCHEDULE, 13)[0] == [4, 5, 6, 8, 10, 12]
    assert counts_of(fits.Schedule(fits.epochs_of(8), batch=4, every=6), 40)[0] == [8, 16, 28]


def test_fresh_fits_come_once_an_epoch():
    counts, fresh = counts_of(fits.Schedule(fits.epochs_of(7), batch=1, every=16), 200)
    at = np.asarray(counts)[fresh]
    assert at[0] == 7
    assert (at[1:] / at[:-1] < 2**0.5 * (1 + 2 / 16)).all()  # fits come every sixteenth
    assert 8 < len(at) < 12  # log(200 / 7) / log(2^(1/2)) is 9.7


def test_a_start_of_thousands_still_has_epochs():
    counts, fresh = counts_of(fits.Schedule(fits.epochs_of(5000), batch=1, every=16), 8000)
    assert counts[0] == 5000
    assert 2 <= sum(fresh) <= 4


@pytest.mark.parametrize("jump", [(0, 3), (0, 4), (0, 40), (6, 12), (10, 11), (10, 40)])
def test_what_is_due_begins_at_the_last_fresh_fit(jump):
    done, told = jump
    begin, end = SCHEDULE.due(*jnp.asarray([done, told], jnp.int32))
    counts, fresh = counts_of(SCHEDULE, told)
    before = [0, *counts][: len(counts)]
    resets = [b for b, is_fresh in zip(before, fresh, strict=True) if is_fresh and b >= done]
    assert int(end) == max([done, *counts])
    assert int(begin) == (resets[-1] if resets else done)


def table_of(num_observed):
    rng = np.random.default_rng(1)
    dtype = jnp.result_type(float)
    unit, zeros = jnp.asarray(rng.uniform(size=(N, 2)), dtype), jnp.zeros(N, dtype)
    is_observed = jnp.arange(N, dtype=jnp.int32) < num_observed
    return model.Table(unit, jnp.sin(5 * unit[:, 0]), zeros, zeros, is_observed, ~is_observed)


PRIOR = gp.default_prior(2, noise_floor=1e-4)


@jax.jit
def refit(num_observed, fitted, num_fitted):
    make = functools.partial(model.objective_targets, num_reference=4, constrained=False)
    select = lambda table, mask: table._replace(is_observed=mask)  # noqa: E731
    table = table_of(num_observed)
    return fits.refit(KERNEL, PRIOR, SCHEDULE, (make,), table, fitted, num_fitted, 20, select)


def first():
    return fits.first_fitted(PRIOR, 1, PRIOR.mean.dtype), jnp.zeros((), jnp.int32)


def test_told_at_once_or_one_by_one_the_fit_is_the_same():
    (last, fitted), moved = first(), 0
    for num_observed in range(1, N + 1):
        new, fitted = refit(num_observed, last, fitted)
        moved += int((new[0].theta != last[0].theta).any())
        last = new
        if num_observed in (3, 13, N):
            at_once, count = refit(num_observed, *first())
            assert int(count) == int(fitted)
            jax.tree.map(np.testing.assert_array_equal, at_once, last)
    assert moved > 5


def test_a_fit_is_near_one_from_the_prior():
    """Going on from the last fit finds what starting anew finds, where the data say enough."""
    (found,), _ = refit(N, *first())
    order = jnp.arange(N, dtype=jnp.int32)
    last = counts_of(SCHEDULE, N)[0][-1]
    data = model.objective_targets(
        table_of(N), order < last, found.sharpness, num_reference=4, constrained=False
    ).data
    starts = jnp.stack([fits.first_theta(PRIOR), fits.first_theta(PRIOR).at[-1].set(-2.0)])
    anew = gp.fit(KERNEL, data, PRIOR, starts, max_evals=100)
    value = -gp.negative_log_posterior(KERNEL, found.theta, data, PRIOR)[0]
    assert float(anew.log_posterior - value) < 0.05


@pytest.mark.parametrize(("bend", "expected"), [(jnp.exp, 1.0), (lambda x: x, 1.0 / 64.0)])
@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (3.0, 0.1), (0.0, 1e9), (0.0, 1e-9)])
def test_the_map_bends_as_much_as_the_values(bend, expected, shift, scale):
    """An exponential of a smooth function is compressed, the function itself is not."""
    table = table_of(N)
    smooth = 3.0 * (jnp.sin(5 * table.features[:, 0]) + table.features[:, 1])
    table = table._replace(value=(bend(2.0 * smooth) * scale + shift).astype(smooth.dtype))
    make = functools.partial(model.objective_targets, num_reference=N, constrained=False)
    select = lambda table, mask: table._replace(is_observed=mask)  # noqa: E731
    fitted, count = first()
    (found,), _ = fits.refit(KERNEL, PRIOR, SCHEDULE, (make,), table, fitted, count, 5, select)
    assert float(found.sharpness) == expected


def test_the_likelihood_is_compiled_once():
    """For the choice of the map and for all searches of all models."""
    num_models = 2
    make = functools.partial(model.objective_targets, num_reference=4, constrained=False)
    select = lambda table, mask: table._replace(is_observed=mask)  # noqa: E731
    last = fits.first_fitted(PRIOR, num_models, PRIOR.mean.dtype)

    def of(num_observed, last):
        count = jnp.zeros((), jnp.int32)
        table = table_of(num_observed)
        makers = (make,) * num_models
        return fits.refit(KERNEL, PRIOR, SCHEDULE, makers, table, last, count, 20, select)

    text = jax.jit(of).lower(N, last).compile().as_text()
    assert len(re.findall(r"custom_call_target=\"lapack_.potrf", text)) == 1
