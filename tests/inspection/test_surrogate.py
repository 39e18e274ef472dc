"""The model to look at: against refits, closed forms and known functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import gp, inspection

SPACE = {
    "lr": hpo.log_uniform(1e-3, 1.0),
    "idle": hpo.uniform(0.0, 1.0),
    "kind": hpo.choice(["a", "b"]),
}


def value_of(unit):
    return (unit[:, 0] - 0.4) ** 2 + 0.3 * (unit[:, 2] > 0.5)


@pytest.fixture(scope="module")
def space():
    return hpo.Space(SPACE)


@pytest.fixture(scope="module")
def surrogate(space):
    unit = np.random.default_rng(0).uniform(size=(30, 3))
    value = value_of(unit)
    value[[3, 7]] = np.nan, np.inf
    return inspection.fit_surrogate(space, unit, value)


@pytest.mark.parametrize(("bend", "expected"), [(np.exp, 1.0), (np.asarray, 1.0 / 64.0)])
def test_values_are_compressed_as_much_as_they_bend(bend, expected):
    unit = np.random.default_rng(0).uniform(size=(30, 2))
    smooth = 6.0 * (np.sin(5 * unit[:, 0]) + unit[:, 1])
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0), "y": hpo.uniform(0.0, 1.0)})
    found = inspection.fit_surrogate(space, unit, bend(smooth))
    assert float(found.warped.sharpness) == expected


def test_trials_without_a_value_are_left_out_and_others_kept(surrogate):
    assert surrogate.unit.shape == (28, 3)
    prediction = surrogate.predict(surrogate.unit)
    np.testing.assert_allclose(prediction.median, surrogate.value, atol=0.01)
    assert np.all(prediction.lower <= prediction.median)
    assert np.all(prediction.median <= prediction.upper)


def test_predictions_where_nothing_was_seen(surrogate):
    unit = np.random.default_rng(1).uniform(size=(50, 3))
    prediction = surrogate.predict(unit)
    inside = (prediction.lower <= value_of(unit)) & (value_of(unit) <= prediction.upper)
    assert np.corrcoef(prediction.median, value_of(unit))[0, 1] > 0.98
    assert inside.mean() > 0.7


def test_leave_one_out_equals_models_without_that_trial(surrogate):
    found = surrogate.leave_one_out()
    posterior, n = surrogate.posterior, len(surrogate.value)
    hyper, kernel = posterior.hyper, posterior.kernel
    with jax.enable_x64(True):
        features = np.asarray(posterior.scaled) * np.exp(
            np.asarray(kernel.spread(hyper.log_lengthscale))
        )
        target = jnp.asarray(surrogate.warped.target)
        for i in (0, 5, 20):
            mask = jnp.arange(n) != i
            data = gp.Data(jnp.asarray(features), jnp.where(mask, target, 0.0), jnp.zeros(n), mask)
            other = gp.condition(kernel, hyper, data, posterior.bias)
            one = other.predict(jnp.asarray(features[i : i + 1]))
            deviation = np.sqrt(one.variance[0] + jnp.exp(hyper.log_noise))
            np.testing.assert_allclose(found.predicted.mean[i], one.mean[0], rtol=1e-6, atol=1e-7)
            np.testing.assert_allclose(found.predicted.deviation[i], deviation, rtol=1e-5)
            z = (target[i] - one.mean[0]) / deviation
            np.testing.assert_allclose(found.z[i], z, rtol=1e-4, atol=1e-5)
    assert 0.9 < found.r2 <= 1.0
    assert found.coverage > 0.7


def test_what_does_not_matter_is_seen(surrogate):
    assert surrogate.columns == ["lr", "idle", "kind"]
    assert surrogate.lengthscales["idle"] > 3 * surrogate.lengthscales["lr"]
    shares = inspection.sensitivity(surrogate, num_samples=256)
    assert list(shares)[-1] == "idle"
    assert shares["idle"] < 0.02


def test_sensitivity_of_a_sum_is_the_share_of_each_term(space):
    unit = np.random.default_rng(2).uniform(size=(60, 3))
    surrogate = inspection.fit_surrogate(space, unit, -(unit[:, 0] + 2 * unit[:, 1]))
    # Variances 1 and 4; values enter on the model's scale, which is not quite linear.
    shares = inspection.sensitivity(surrogate)
    assert shares["idle"] == pytest.approx(0.8, abs=0.12)
    assert shares["lr"] == pytest.approx(0.2, abs=0.12)
    assert shares["kind"] < 0.02


def test_slices_are_the_predictions_on_their_grid(surrogate):
    cut = inspection.slice_of(surrogate, ["lr", "kind"], num_points=7)
    assert cut.prediction.mean.shape == (7, 2)
    np.testing.assert_allclose(cut.ticks[0], np.geomspace(1e-3, 1.0, 7), rtol=1e-5)
    assert cut.ticks[1] == ["a", "b"]
    again = surrogate.predict(cut.unit.reshape(-1, 3))
    np.testing.assert_array_equal(again.mean, cut.prediction.mean.reshape(-1))
    best = surrogate.unit[np.argmin(surrogate.value)]
    assert np.all(cut.unit[..., 1] == best[1])


def test_a_slice_through_given_params(surrogate):
    at = {"lr": 0.1, "idle": 0.25, "kind": "b"}
    cut = inspection.slice_of(surrogate, "lr", num_points=5, at=at)
    np.testing.assert_allclose(cut.unit[:, 1], 0.25, rtol=1e-6)
    low = inspection.slice_of(surrogate, "lr", num_points=5, at={**at, "kind": "a"})
    assert np.all(cut.prediction.median > low.prediction.median + 0.15)
    assert np.isfinite(cut.acquisition).all()


def test_a_study_gives_its_surrogate_and_maximising_is_negated(space):
    values = []

    def objective(params):
        values.append(-np.log10(params["lr"]))
        return values[-1]

    study = hpo.Study(space, "qmc", direction="maximize", seed=0)
    study.optimize(objective, num_trials=8, progress=False)
    surrogate = study.surrogate()
    np.testing.assert_allclose(np.sort(surrogate.value), np.sort(-np.asarray(values)), rtol=1e-6)


def test_of_many_trials_the_best_and_the_latest_are_kept(space):
    from jaxhpo.inspection._surrogate import MAX_TRIALS, _chosen

    value = np.random.default_rng(0).normal(size=3 * MAX_TRIALS)
    kept = _chosen(np.arange(value.size), value, np.ones(value.size, bool))
    assert kept.size == np.unique(kept).size == MAX_TRIALS
    assert set(np.argsort(value)[: MAX_TRIALS // 2]) <= set(kept)
    assert value.size - 1 in kept
    is_feasible = value > np.sort(value)[2 * MAX_TRIALS]
    kept = _chosen(np.arange(value.size), value, is_feasible)
    assert np.flatnonzero(is_feasible)[np.argmin(value[is_feasible])] in kept


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: inspection.fit_surrogate(s, np.zeros((3, 2)), np.zeros(3)), "`unit` must be"),
        (lambda s: inspection.fit_surrogate(s, np.zeros((3, 3)), np.zeros(2)), "`value` must be"),
        (
            lambda s: inspection.fit_surrogate(s, np.zeros((3, 3)), [1, np.nan, np.inf]),
            "two trials",
        ),
        (
            lambda s: inspection.fit_surrogate(s, np.full((3, 3), np.nan), np.zeros(3)),
            "at a point without NaN, in two trials at least .*got '0 such of 3 trials'",
        ),
        (
            lambda s: inspection.fit_surrogate(s, np.full((3, 3), 1.5), np.zeros(3)),
            "`unit` must be in the unit cube",
        ),
        (
            lambda s: inspection.fit_surrogate(
                s, np.zeros((3, 3)), np.zeros(3), violation=np.zeros(2)
            ),
            "`violation` must be of shape",
        ),
        (
            lambda s: inspection.fit_surrogate(s, np.zeros((3, 3)), [1, 2, 3], kernel="x"),
            "`kernel`",
        ),
    ],
)
def test_bad_input_is_named(space, call, message):
    with pytest.raises(ValueError, match=message):
        call(space)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1])
def test_predictions_are_for_points_of_the_cube(surrogate, bad):
    with pytest.raises(ValueError, match=r"Surrogate.predict: `unit` must be in the unit cube"):
        surrogate.predict([[0.5, bad, 0.5]])


def test_infeasible_trials_teach_but_are_not_the_best(space):
    unit = np.random.default_rng(3).uniform(size=(24, 3))
    value = (unit[:, 0] - 0.4) ** 2 + unit[:, 1]
    violation = np.stack([0.5 - unit[:, 1], np.full(24, -1.0)], axis=1)
    surrogate = inspection.fit_surrogate(space, unit, value, violation=violation)
    assert len(surrogate.value) == 24
    feasible = unit[:, 1] >= 0.5
    np.testing.assert_array_equal(surrogate.is_feasible, feasible)
    assert value[surrogate.best] == value[feasible].min() > value.min()
    cut = inspection.slice_of(surrogate, "lr", num_points=5)
    np.testing.assert_allclose(cut.unit[0, 1], unit[surrogate.best, 1], rtol=1e-6)
    nothing = inspection.fit_surrogate(space, unit, value, violation=np.full(24, np.nan))
    assert nothing.best == np.argmin(value)


def test_a_constrained_study_gives_all_its_trials(space):
    def objective(params):
        return hpo.Outcome(params["idle"], violation=0.5 - params["idle"])

    study = hpo.Study(space, "qmc", seed=0)
    study.optimize(objective, num_trials=8, progress=False)
    surrogate = study.surrogate()
    assert len(surrogate.value) == 8
    assert surrogate.value[surrogate.best] == pytest.approx(study.best_value)
    np.testing.assert_array_equal(surrogate.is_feasible, surrogate.value >= 0.5)


def test_a_study_without_values_has_no_surrogate(space):
    with pytest.raises(ValueError, match="in two trials at least .*got '0 such of 0 trials'"):
        hpo.Study(space, "qmc", seed=0).surrogate()


@pytest.mark.parametrize(
    "call",
    [
        lambda s: inspection.fit_surrogate(s, [["a"] * 3] * 2, [1.0, 2.0]),
        lambda s: inspection.fit_surrogate(s, np.zeros((2, 3)), {"a": 1}),
        lambda s: inspection.fit_surrogate(s, np.zeros((2, 3)), [1j, 2.0]),
        lambda s: inspection.fit_surrogate(s, np.zeros((2, 3)), [1.0, 2.0], violation="a"),
        lambda s: inspection.fit_surrogate(None, np.zeros((2, 3)), [1.0, 2.0]),
        lambda s: inspection.slice_of(None, "lr"),
        lambda s: inspection.sensitivity(None),
    ],
)
def test_what_is_no_array_or_model_is_named(space, call):
    with pytest.raises(TypeError, match="`[a-z]+` must be"):
        call(space)


@pytest.mark.parametrize("names", [3, None, ["lr", 3]])
def test_names_of_a_slice_are_strings(surrogate, names):
    with pytest.raises(TypeError, match="slice_of: `names` must be one or two names"):
        inspection.slice_of(surrogate, names)


@pytest.mark.parametrize("names", ["nope", ["lr", "lr"], ["lr", "idle", "kind"], []])
def test_bad_names_of_a_slice(surrogate, names):
    with pytest.raises(ValueError, match="`names` must be"):
        inspection.slice_of(surrogate, names)


def test_a_value_known_to_be_uncertain_is_not_believed(space):
    """One wrong value moves the model around it, unless its standard error says how wrong."""
    unit = np.random.default_rng(0).uniform(size=(30, 3))
    value, se = value_of(unit), np.full(30, np.nan)
    value[4] += 2.0
    se[4] = 2.0
    truth = value_of(unit[4:5])
    naive = inspection.fit_surrogate(space, unit, value).predict(unit[4:5])
    told = inspection.fit_surrogate(space, unit, value, se=se)
    assert abs(told.predict(unit[4:5]).median - truth) < 0.1
    assert abs(naive.median - truth) > 0.3
    left_out = told.leave_one_out()
    assert abs(left_out.z[4]) < 3, "an observation as uncertain as it is known to be"


def test_a_study_passes_its_errors_on():
    study = hpo.Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", storage=None)
    x = np.linspace(0.0, 1.0, 12)
    se = np.where(np.arange(12) == 5, 3.0, np.nan)
    value = (x - 0.3) ** 2 + np.where(np.arange(12) == 5, 3.0, 0.0)
    study.record([{"x": one} for one in x], value, se=se)
    [found] = study.surrogate().predict([[x[5]]]).median
    assert abs(found - (x[5] - 0.3) ** 2) < 0.1


def test_a_value_of_which_nothing_is_known_is_left_out(space):
    unit = np.random.default_rng(0).uniform(size=(10, 3))
    se = np.where(np.arange(10) == 2, np.inf, np.nan)
    found = inspection.fit_surrogate(space, unit, value_of(unit), se=se)
    np.testing.assert_allclose(found.value, np.delete(value_of(unit), 2))


@pytest.mark.parametrize("se", [np.zeros(3), -np.ones(4)])
def test_bad_errors_of_a_surrogate(space, se):
    with pytest.raises(ValueError, match="fit_surrogate: `se` must be"):
        inspection.fit_surrogate(space, np.full((4, 3), 0.5), np.arange(4.0), se=se)


def test_noise_is_a_share_of_the_values_deviation():
    unit = np.random.default_rng(0).uniform(size=(60, 1))
    noisy = np.sin(6 * unit[:, 0]) + np.random.default_rng(1).normal(size=60) * 0.3
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0)})
    clean, rough = (
        inspection.fit_surrogate(space, unit, value).noise
        for value in (np.sin(6 * unit[:, 0]), noisy)
    )
    assert clean < 0.05
    assert 0.2 < rough < 0.8
