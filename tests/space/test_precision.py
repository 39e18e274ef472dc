"""Intervals that are narrow beside their offset, and numbers out of a device's reach."""

import math
from fractions import Fraction

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo

X64 = jax.config.jax_enable_x64
DTYPE = np.dtype(jnp.result_type(float))
EPS = float(np.finfo(DTYPE).eps)
examples = hypothesis.settings(derandomize=True, deadline=None, max_examples=60, database=None)

NARROW = {
    "time": hpo.quantized(1.7e9, 1.7e9 + 3600, 60),
    "instant": hpo.uniform(1.7e9, 1.7e9 + 3600),
    "wave": hpo.log_uniform(5.0e5, 5.0e5 + 0.01),
    "tiny": hpo.log_uniform(1e-300, 1.0),
    "vast": hpo.uniform(-1e300, 1e300),
    "id": hpo.integer(2**40, 2**41, step=3),
    "log id": hpo.integer(1, 2**50, log=True),
    "all": hpo.integer(-(2**51), 2**51),
    "mean": hpo.normal(1.7e9, 10.0),
    "log mean": hpo.log_normal(math.log(1.7e9), 1e-7),
    "steps": hpo.normal(1.7e9, 10.0, step=0.5),
    "rank": hpo.ordinal([1.7e9, 1.7e9 + 1, 1.7e9 + 60]),
    "deadline": hpo.fixed(1.7e9 + 0.5),
    "key": hpo.fixed(2**40 + 1),
}
KINDS = {name: int if name in ("id", "log id", "all", "key") else float for name in NARROW}


def units(n, d=1):
    return np.asarray(jax.random.uniform(jax.random.key(0), (n, d)))


@st.composite
def intervals(draw):
    """An offset of either sign, and a width from a few of its float64 digits to many."""
    offset = draw(st.floats(1e-3, 1e15)) * draw(st.sampled_from([1, -1]))
    return offset, abs(offset) * 10.0 ** draw(st.floats(-9, 3))


@hypothesis.given(intervals(), st.booleans())
@examples
def test_an_interval_keeps_its_points_apart_on_the_host(interval, is_log):
    low, width = interval
    low = abs(low) if is_log else low
    space = hpo.Space((hpo.log_uniform if is_log else hpo.uniform)(low, low + width))
    unit = units(500)
    values = space.decode(space.host_values(unit))
    assert all(type(value) is float and low <= value <= low + width for value in values)
    assert len(set(values)) == len(np.unique(unit))
    assert space.decode(space.host_values(np.asarray([[0.0], [1.0]]))) == [low, low + width]
    again = space.to_unit(space.encode(values, np.float64))
    resolution = 4 * np.spacing(abs(low) + width) / width
    np.testing.assert_allclose(again, unit, rtol=1e-12, atol=resolution * (30 if is_log else 1))


@hypothesis.given(
    st.integers(-(10**12), 10**12),
    st.sampled_from([0.1, 0.25, 60.0, 1e-3]),
    st.integers(1, 5000),
    st.booleans(),
)
@examples
def test_a_grid_is_exact_at_any_offset(low, step, count, is_log):
    low = abs(low) + 1 if is_log else low
    hypothesis.assume(step > 8 * np.spacing(abs(low) + step * count))
    high = float(low + Fraction(str(step)) * (count - 1))
    space = hpo.Space({"x": hpo.quantized(low, high, step, log=is_log)})
    grid = [float(low + k * Fraction(str(step))) for k in range(count)]
    seen = {row["x"] for row in space.decode(space.host_values(units(200)))}
    assert seen <= set(grid)
    found = space.decode(space.host_values(np.asarray([[0.0], [1.0]])))
    assert [row["x"] for row in found] == [grid[0], grid[-1]]
    # Every point of the grid comes back from its place in the unit cube, in the device's floats.
    rows = [{"x": value} for value in grid]
    unit = space.to_unit(space.encode(rows, np.float64))
    assert space.decode(space.host_values(unit.astype(DTYPE))) == rows


@hypothesis.given(st.integers(-(2**52), 2**52), st.integers(0, 2**52), st.integers(1, 1000))
@examples
def test_integers_are_exact_up_to_two_to_the_53(low, width, step):
    high = min(low + width, 2**53)
    space = hpo.Space({"n": hpo.integer(low, high, step=step)})
    last = low + (high - low) // step * step
    unit = units(200)
    rows = space.decode(space.host_values(unit))
    assert all(type(row["n"]) is int and low <= row["n"] <= last for row in rows)
    assert all((row["n"] - low) % step == 0 for row in rows)
    ends = space.decode(space.host_values(np.asarray([[0.0], [1.0]])))
    assert [row["n"] for row in ends] == [low, last]
    encoded = space.encode(rows)
    assert space.decode(encoded) == rows
    assert space.decode(space.host_values(space.to_unit(encoded))) == rows
    if (high - low) // step > 2**30:
        assert len({row["n"] for row in rows}) == len(np.unique(unit))


def test_logarithmic_integers_fall_by_their_logarithm():
    space = hpo.Space({"n": hpo.integer(1, 2**50, log=True)})
    unit = np.linspace(0, 1, 2001)[:, None]
    found = np.asarray([row["n"] for row in space.decode(space.host_values(unit))], float)
    assert found[0] == 1
    assert found[-1] == 2**50
    assert (np.diff(found) >= 0).all()
    edges = np.log(0.5), np.log(2**50 + 0.5)
    expected = np.round(np.exp(edges[0] + unit[:, 0] * (edges[1] - edges[0])))
    np.testing.assert_allclose(found, np.clip(expected, 1, 2**50), rtol=1e-12)


def test_normal_quantiles_are_scipys():
    from scipy.stats import truncnorm

    unit = np.linspace(0.001, 0.999, 400)[:, None]
    for mean, std in ((1.7e9, 10.0), (0.0, 1.0), (-3e-5, 1e-12)):
        found = hpo.Space(hpo.normal(mean, std)).host_values(unit)
        expected = mean + std * truncnorm(-4, 4).ppf(unit[:, 0])
        assert np.max(np.abs(found - expected)) <= 1e-12 * std + 4 * np.spacing(abs(mean))
    assert len(np.unique(hpo.Space(NARROW["log mean"]).host_values(unit))) == 400
    found = hpo.Space(NARROW["steps"]).host_values(unit)
    expected = np.round(2 * (1.7e9 + 10 * truncnorm(-4, 4).ppf(unit[:, 0]))) / 2
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "sampler",
    ["random", "tpe", pytest.param("gp", marks=pytest.mark.slow), "qmc", "cma_es", "nsga2"],
)
def test_an_objective_gets_python_numbers_and_the_study_keeps_them(sampler, tmp_path):
    space, seen = hpo.Space(NARROW), []

    def objective(params):
        seen.append(params)
        return abs(params["instant"] - 1.7e9 - 1234.5) + abs(params["id"] - 1.5 * 2**40) / 2**30

    storage = f"sqlite:///{tmp_path}/s.db"
    settings = {"storage": storage, "name": "s", "seed": 0}
    hpo.Study(space, sampler, **settings).optimize(objective, num_trials=12, progress=False)
    study = hpo.Study(space, sampler, **settings)
    assert [trial.params for trial in study.trials] == seen
    for name, kind in KINDS.items():
        assert all(type(params[name]) is kind for params in seen)
    for name in ("instant", "wave", "tiny", "vast", "log id", "mean", "log mean"):
        assert len({params[name] for params in seen}) >= 10, name
    study.optimize(objective, num_trials=3, progress=False)
    if sampler != "cma_es":  # it weighs what it is told in one go anew
        whole = hpo.Study(space, sampler, storage=None, seed=0)
        whole.optimize(objective, num_trials=15, progress=False)
        assert [trial.params for trial in whole.trials] == [trial.params for trial in study.trials]
    # Optuna reads them back as they are, and each lies in its own distribution.
    for ours, theirs in zip(study.trials, study.to_optuna().trials, strict=True):
        assert theirs.params == ours.flat
        theirs._validate()


def test_record_and_enqueue_keep_every_digit():
    space = hpo.Space({"t": NARROW["instant"], "x": hpo.uniform(0.0, 1.0), "n": NARROW["id"]})
    given = {"t": 1.7e9 + 0.123456, "x": 0.1234567890123, "n": 2**40 + 3 * 12345}
    study = hpo.Study(space, "random", storage=None, seed=0)
    study.record([given], [1.0])
    study.enqueue({**given, "x": 0.9876543210987})
    study.optimize(lambda params: params["x"], num_trials=1, progress=False)
    assert study.trials[0].params == given
    assert study.trials[1].params == {**given, "x": 0.9876543210987}
    with pytest.raises(ValueError, match=r"`t` must be in \[1700000000.0, 1700003600.0\]"):
        study.record([{**given, "t": 1.7e9 - 1.0}], [1.0])
    with pytest.raises(ValueError, match="`n` must be on the grid"):
        study.record([{**given, "n": 2**40 + 1}], [1.0])


def test_constraints_see_the_exact_values():
    start, stop = hpo.quantized(1.7e9, 1.7e9 + 60, 1), hpo.quantized(1.7e9, 1.7e9 + 60, 1)

    def in_order(values):
        return values["start"] + 10 <= values["stop"]

    rules = [in_order, hpo.forbid({"start": 1.7e9 + 3}), hpo.forbid({"n": 2**40 + 1})]
    tree = {"start": start, "stop": stop, "n": hpo.integer(2**40, 2**40 + 3)}
    space = hpo.Space(tree, constraints=rules)
    for sampler in ("random", "tpe", "gp", "qmc"):
        study = hpo.Study(space, sampler, storage=None, seed=0)
        study.optimize(lambda p: p["stop"] - p["start"], num_trials=15, progress=False)
        found = [trial.params for trial in study.trials]
        assert all(in_order(params) for params in found)
        assert not any(p["start"] == 1.7e9 + 3 or p["n"] == 2**40 + 1 for p in found)
        assert len({(p["start"], p["stop"]) for p in found}) >= 12
    with pytest.raises(ValueError, match="allowed by the space's constraints"):
        study.enqueue({"start": 1.7e9 + 20, "stop": 1.7e9 + 29, "n": 2**40})
    study.enqueue({"start": 1.7e9 + 20, "stop": 1.7e9 + 30, "n": 2**40})
    assert all(in_order(params) for params in space.decode(space.sample(jax.random.key(0), 50)))


@pytest.mark.skipif(X64, reason="float64 holds these")
@pytest.mark.parametrize("name", [name for name in NARROW if name not in ("rank", "deadline")])
def test_compiled_code_refuses_what_it_cannot_hold(name):
    space = hpo.Space({name: NARROW[name], "x": hpo.uniform(0.0, 1.0)})
    expected = f"`{name}` must be a dimension that compiled code can hold, but .*(float|int)32"
    with pytest.raises(ValueError, match=f"minimize: {expected}"):
        hpo.minimize(lambda key, p: p["x"], space, "random", key=0, num_trials=4)
    with pytest.raises(ValueError, match=f"minimize_many: {expected}"):
        hpo.minimize_many(
            lambda key, p: p["x"], space, "random", keys=jax.random.split(jax.random.key(0)),
            num_trials=4,
        )  # fmt: skip
    training = hpo.Training(
        init=lambda key, h: h["x"], step=lambda key, h, state, t: state, loss=lambda h, state: state
    )
    study = hpo.Study(space, "random", storage=None)
    with pytest.raises(ValueError, match=f"Study.sweep: {expected}"):
        study.sweep(training, num_trials=4, num_steps=1)
    with pytest.raises(ValueError, match=f"Space.from_unit: {expected}"):
        jax.jit(lambda s, u: s.from_unit(u))(space, jnp.zeros((3, space.num_dims)))


@pytest.mark.skipif(X64, reason="float64 holds these")
def test_options_that_compiled_code_would_see_as_indices_are_refused():
    for dimension in (NARROW["rank"], hpo.choice([2**40, 1])):
        with pytest.raises(ValueError, match="cannot hold its options"):
            hpo.minimize(
                lambda key, p: p["x"] * 1.0, hpo.Space({"x": dimension}), "random", key=0,
                num_trials=4,
            )  # fmt: skip


@pytest.mark.skipif(not X64, reason="needs float64")
def test_compiled_code_holds_them_in_float64():
    space = hpo.Space({name: NARROW[name] for name in NARROW if name != "rank"})
    found = hpo.minimize(lambda key, p: p["instant"] - 1.7e9, space, "random", key=0, num_trials=64)
    params = space.decode(found.trials.params)
    assert len({row["instant"] for row in params}) == 64
    assert len({row["id"] for row in params}) == 64
    assert {(row["time"] - 1.7e9) % 60 for row in params} == {0.0}


@pytest.mark.skipif(X64, reason="float64 holds these")
def test_a_population_that_would_collapse_is_refused():
    training = hpo.Training(
        init=lambda key, h: h["t"], step=lambda key, h, state, t: state, loss=lambda h, state: state
    )
    values = hpo.Space({"t": NARROW["instant"]}).sample(jax.random.key(0), 100)
    with pytest.raises(ValueError, match=r"`hparams\['t'\]` must be made of values that float32"):
        hpo.population.sweep(training, values, key=0, num_steps=1)


def test_float64_has_its_limits_too():
    with pytest.raises(ValueError, match="quantized: `step` must be larger"):
        hpo.quantized(1e17, 1e17 + 1000, 1.0)
    with pytest.raises(ValueError, match=r"`high` must be at most 2\*\*53"):
        hpo.integer(0, 2**53 + 1)
    with pytest.raises(ValueError, match="log_normal: `std` must be such that"):
        hpo.log_normal(700.0, 100.0)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_forbidden_number_is_never_proposed(sampler):
    tree = {"x": hpo.quantized(0, 1, 0.1), "n": hpo.integer(0, 4)}
    space = hpo.Space(tree, constraints=[hpo.forbid({"x": 0.3}), hpo.forbid({"n": 2})])
    study = hpo.Study(space, sampler, storage=None, seed=0)
    study.optimize(lambda p: p["x"] + p["n"], num_trials=30, progress=False)
    assert not any(t.params["x"] == 0.3 or t.params["n"] == 2 for t in study.trials)
    assert len({(t.params["x"], t.params["n"]) for t in study.trials}) > 20


def test_spaces_with_exact_numbers_compare_and_share_programs():
    def make():
        return hpo.Space({"t": hpo.uniform(1.7e9, 1.7e9 + 3600), "n": hpo.integer(0, 2**40)})

    assert jax.tree.structure(make()) == jax.tree.structure(make())
    assert make().describe() == make().describe()
    assert make().describe()[0]["low"] == 1.7e9
    assert make().num_levels.tolist() == [0, 0]
    assert hpo.Space({"n": hpo.integer(2**40, 2**40 + 9)}).cardinality == 10
