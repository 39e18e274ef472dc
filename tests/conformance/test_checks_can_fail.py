"""A suite is worth what it catches: each broken sampler must fail the check that is made for it."""

import dataclasses
import typing

import jax
import jax.numpy as jnp
import pytest
from jax.tree_util import Partial

import jaxhpo as hpo
from jaxhpo.testing import CHECKS, SamplerCase, check_sampler


def _wrap(init=None, ask=None, tell=None):
    """A factory of random samplers with some of the three functions replaced."""

    def factory(space, *, batch_size=1):
        good = hpo.samplers.random(space, batch_size=batch_size)
        return hpo.Sampler(
            Partial(init, good) if init else good.init,
            Partial(ask, good) if ask else good.ask,
            Partial(tell, good) if tell else good.tell,
        )

    return factory


def _misnamed(good, rng, state):
    return good.ask(rng, state)


def _out_of_bounds(good, key, state):
    state, unit = good.ask(key, state)
    return state, unit * 1.5


def _single_precision(good, key, state):
    state, unit = good.ask(key, state)
    return state, unit.astype(jnp.float16)


def _not_snapped(good, key, state):
    state, unit = good.ask(key, state)
    return state, 0.999 * unit


def _ignores_key(good, key, state):
    return good.ask(jax.random.key(0), state)


def _reuses_key(good, key, state):
    noise = jax.random.uniform(key, (), jnp.result_type(float))
    state, unit = good.ask(key, state)
    return state, 0.5 * unit + 0.5 * jax.random.uniform(key, (), unit.dtype) * noise


def _uses_python_control_flow(good, key, state):
    state, unit = good.ask(key, state)
    return state, unit if float(unit[0, 0]) < 2.0 else 1.0 - unit


def _holds_key(good, key):
    return dataclasses.replace(good.init(key), counts=key)


def _grows(good, key, state, unit, outcome):
    state, info = good.tell(key, state, unit, outcome)
    return dataclasses.replace(state, visited=jnp.zeros(3)), info


def _forgets(good, key, state, unit, outcome):
    return state, good.tell(key, state, unit, outcome)[1]


def _repeats(good, key, state):
    _, unit = good.ask(key, state)
    return state, unit


def _no_status(good, key, state, unit, outcome):
    return good.tell(key, state, unit, outcome)[0], None


def _never_exhausted(good, key, state, unit, outcome):
    state, info = good.tell(key, state, unit, outcome)
    return state, dataclasses.replace(info, status=jnp.ones((), jnp.int32))


def _learns_nan(good, key, state):
    return state, jnp.full_like(good.ask(key, state)[1], jnp.nan)


def _takes_any_key(good, key):
    return good.init(jax.random.key(0))


def _stays_in_the_corner(good, key, state):
    """As steps and line searches do: the real coordinate ends on its bound again and again."""
    state, unit = good.ask(key, state)
    return state, unit.at[:, 0].set(0.0)


BROKEN = [
    ("signatures", _wrap(ask=_misnamed)),
    ("round_trip", _wrap(ask=_out_of_bounds)),
    ("round_trip", _wrap(ask=_single_precision)),
    ("state_is_stable", _wrap(init=_holds_key)),
    ("state_is_stable", _wrap(tell=_grows)),
    ("info", _wrap(tell=_no_status)),
    ("keys_decide", _wrap(ask=_ignores_key)),
    ("key_reuse", _wrap(ask=_reuses_key)),
    ("scan_and_cond", _wrap(ask=_uses_python_control_flow)),
    ("continuous", _wrap(ask=_learns_nan)),
    ("mixed", _wrap(ask=_not_snapped)),
    ("dtypes", _wrap(ask=_single_precision)),
    ("all_failed", _wrap(ask=_learns_nan)),
    ("nothing_told", _wrap(ask=_ignores_key)),
    ("each_once", _wrap(ask=_repeats, tell=_forgets)),
    ("told_count", _wrap(tell=_forgets)),
    ("mixed_once", _wrap(ask=_stays_in_the_corner)),
    ("keys_are_checked", _wrap(init=_takes_any_key)),
    ("status", _wrap(tell=_never_exhausted)),
    ("sphere", _wrap(ask=_ignores_key)),
]


@pytest.mark.parametrize(
    ("check", "factory"), BROKEN, ids=[f"{n}-{name}" for n, (name, _) in enumerate(BROKEN)]
)
def test_broken_sampler_is_caught(check, factory):
    expected = (AssertionError, AttributeError, jax.errors.JAXTypeError, jax.errors.KeyReuseError)
    with pytest.raises(expected):
        CHECKS[check](SamplerCase("broken", factory))


class _Keeper(SamplerCase):
    """Keeps what it is given, as a cache by the user's function does."""

    kept: typing.ClassVar[list] = []

    def objective(self, objective, space):
        self.kept.append(objective)
        return objective


def test_kept_closures_are_caught():
    with pytest.raises(AssertionError, match="the objective is kept"):
        CHECKS["closures_freed"](_Keeper("broken", hpo.samplers.random))


def test_a_sampler_for_noise_may_repeat():
    CHECKS["mixed_once"](SamplerCase("noisy", _wrap(ask=_stays_in_the_corner), may_repeat=True))


def test_lost_place_is_caught():
    # A sampler that takes its place in the sequence from the asks alone cannot be resumed.
    def tell(good, key, state, unit, outcome):
        told, info = good.tell(key, state, unit, outcome)
        return dataclasses.replace(told, index=state.index), info

    def factory(space, *, batch_size=1):
        good = hpo.samplers.qmc(space, batch_size=batch_size)
        return hpo.Sampler(good.init, good.ask, Partial(tell, good))

    with pytest.raises(AssertionError, match="resumed and uninterrupted"):
        CHECKS["resume"](SamplerCase("broken", factory))


def test_dependence_on_the_order_of_tells_is_caught():
    def tell(good, key, state, unit, outcome):
        told, info = good.tell(key, state, unit, outcome)
        return dataclasses.replace(
            told, index=told.index + jnp.argmin(unit[:, 0]).astype(jnp.int32)
        ), info

    def factory(space, *, batch_size=1):
        good = hpo.samplers.qmc(space, batch_size=batch_size)
        return hpo.Sampler(good.init, good.ask, Partial(tell, good))

    with pytest.raises(AssertionError, match="two orders of one tell"):
        CHECKS["order_of_tells"](SamplerCase("broken", factory))


def test_counted_padding_is_caught():
    def tell(good, key, state, unit, outcome):
        return good.tell(key, state, jnp.nan_to_num(unit), outcome)

    def factory(space, *, batch_size=1):
        good = hpo.samplers.qmc(space, batch_size=batch_size)
        return hpo.Sampler(good.init, good.ask, Partial(tell, good))

    with pytest.raises(AssertionError, match="with and without NaN rows"):
        CHECKS["padding"](SamplerCase("broken", factory))


def test_retraces_are_caught():
    def factory(space, *, batch_size=1):
        # The bounds as Python numbers in the structure: every box is a program of its own.
        good = hpo.samplers.random(space, batch_size=batch_size)
        bounds = tuple(jax.tree.leaves(space))
        return good._replace(ask=Partial(_ask_with(bounds), good))

    with pytest.raises(AssertionError, match="'ask': 2"):
        CHECKS["traced_once"](SamplerCase("broken", factory))


def _ask_with(bounds):
    def ask(good, key, state):
        return good.ask(key, state)

    return ask


def test_learning_nothing_of_several_objectives_is_caught():
    case = SamplerCase("broken", _wrap(), several={})
    with pytest.raises(AssertionError, match="dominated volumes"):
        CHECKS["objectives"](case)


def test_check_sampler_names_the_check():
    case = SamplerCase("broken", _wrap(ask=_out_of_bounds), variant="wide")
    with pytest.raises(AssertionError) as caught:
        check_sampler(case, only=["info", "round_trip"])
    assert caught.value.__notes__ == ["conformance check 'round_trip' of sampler 'broken-wide'"]
    with pytest.raises(ValueError, match="`only` must be among signatures, "):
        check_sampler(case, only=["speed"])
