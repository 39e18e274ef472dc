"""Bad input: one sentence that names the argument, what was expected and what came."""

import jax
import numpy as np
import pytest

import jaxhpo as hpo

ONE = hpo.Space({"x": hpo.uniform(0, 1), "opt": ["adam", "sgd"]})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hpo.uniform(2, 1), r"uniform: `low` must not exceed `high`, got low=2, high=1"),
        (lambda: hpo.uniform(float("nan"), 1), r"`low` must be finite, got nan"),
        (lambda: hpo.uniform(0, float("inf")), r"`high` must be finite, got inf"),
        (lambda: hpo.log_uniform(0, 1), r"`low` must be greater than 0 on a log scale, got low=0"),
        (lambda: hpo.log_uniform(-1, 1), r"greater than 0 on a log scale"),
        (lambda: hpo.integer(0, 5, log=True), r"integer: `low` must be greater than 0"),
        (lambda: hpo.integer(5, 1), r"`low` must not exceed `high`"),
        (lambda: hpo.integer(0, 2**60), r"`high` must be at most 2\*\*53"),
        (lambda: hpo.quantized(0, 1, 0), r"`step` must be greater than 0, got 0"),
        (lambda: hpo.quantized(0, 1, 1e-17), r"`step` must be large enough"),
        (lambda: hpo.normal(0, 0), r"normal: `std` must be greater than 0, got 0"),
        (lambda: hpo.normal(0.5, 0.01, step=10.0), r"`step` must be small enough"),
        (lambda: hpo.choice([]), r"at least one option"),
        (lambda: hpo.choice({}), r"at least one option"),
        (lambda: hpo.static([1, 1]), r"free of duplicates \(1 repeats\)"),
        (lambda: hpo.ordinal([1.0, float("nan")]), r"free of NaN"),
        (lambda: hpo.choice(["a"], weights=[1, 2]), r"`weights` must be one number per option"),
        (lambda: hpo.choice(["a", "b"], weights=[1, 0]), r"`weights` must be finite and greater"),
        (lambda: hpo.choice([{"x": hpo.uniform(0, 1)}], shape=2), r"`shape` must be \(\)"),
        (lambda: hpo.ordinal([1, 3, 2]), r"`values` must be in order"),
        (lambda: hpo.uniform(0, 1, shape=(0,)), r"`shape` must be at least 1, got 0"),
        (lambda: hpo.Space({}), r"at least one dimension"),
        (lambda: hpo.Space({"a": []}), r"`a`: choice: `options` must be"),
        (lambda: hpo.Space({"a.b": [1, 2], "a": {"b": [1]}}), r"two dimensions named `a.b`"),
        (
            lambda: hpo.Space({"x": hpo.uniform(0, 1)}, constraints=lambda v: v["x"] > 2),
            r"`constraints` left no allowed point",
        ),
        (
            lambda: hpo.Space({"x": hpo.uniform(0, 1, shape=2)}, constraints=lambda v: v["x"] > 0),
            r"must return one bool, got an array of shape \(2,\)",
        ),
        (
            lambda: hpo.Space({"x": [1, 2]}, constraints=[hpo.forbid({"y": 1})]),
            r"`y` is not a parameter of the space; it has \['x'\]",
        ),
        (
            lambda: hpo.Space({"x": [1, 2]}, constraints=[hpo.forbid({"x": 3})]),
            r"`x` must be one of \[1, 2\], got 3",
        ),
        (
            lambda: hpo.Space({"x": hpo.uniform(0, 1)}, constraints=lambda v: v["nope"] > 0),
            r"`constraints` must read the space's own values; one of them asked for 'nope'",
        ),
        (
            lambda: hpo.Space({"x": hpo.uniform(0, 1, shape=2), "x[0]": hpo.uniform(0, 1)}),
            r"names must be unique, got `x\[0\]` twice",
        ),
        (lambda: hpo.forbid({}), r"`combination` must be a dict of at least one"),
        (lambda: ONE.encode({"x": 2.0, "opt": "sgd"}), r"`x` must be in \[0.0, 1.0\], got 2.0"),
        (lambda: ONE.encode({"x": 0.5, "opt": "lamb"}), r"`opt` must be one of .*got 'lamb'"),
        (lambda: ONE.encode({"x": 0.5}), r"a dict with the keys \['x', 'opt'\]"),
        (lambda: hpo.Space({"q": hpo.quantized(0, 1, 0.1)}).encode({"q": 0.15}), r"on the grid"),
        (lambda: ONE.decode({"x": np.zeros(3)}), r"must have the space's structure"),
        (lambda: ONE.from_unit(np.zeros((3, 5))), r"`unit` must be of shape \[..., 2\]"),
        (lambda: ONE.sample(jax.random.key(0), 0), r"`n` must be at least 1, got 0"),
        (lambda: ONE.features(np.zeros((1, 2)), "embedding"), r"`categories` must be"),
        (lambda: ONE.unflatten_params({"x": 0.5}), r"`opt` is missing"),
        (
            lambda: ONE.unflatten_params({"x": 0.5, "opt": "sgd", "y": 1}),
            r"unknown or inactive parameters \['y'\]",
        ),
    ],
)
def test_value_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hpo.uniform("0", 1), r"`low` must be a real number, got '0'"),
        (lambda: hpo.uniform(True, 2), r"`low` must be a real number, got True"),
        (lambda: hpo.integer(1, 2.5), r"`high` must be an integer"),
        (lambda: hpo.choice("abc"), r"`options` must be a sequence of options, got 'abc'"),
        (lambda: hpo.Space({"lr": 0.1}), r"`lr` must be a dimension .* got 0.1"),
        (lambda: hpo.Space({"a": {"b": None}}), r"`a.b` must be a dimension"),
        (lambda: hpo.Space((1e-5, 1e-1)), r"`0` must be a dimension"),
        (lambda: hpo.Space({"x": [1]}, constraints=[3]), r"`constraints` must hold callables"),
        (lambda: hpo.forbid(["x"]), r"`combination` must be a dict of parameter names"),
        (lambda: ONE.sample("seed", 3), r"`key` must be a key"),
    ],
)
def test_type_errors(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_traced_sampling_marks_rows_without_an_allowed_point():
    # Concrete bounds are allowed, but the traced ones leave nothing.
    space = hpo.Space({"x": hpo.uniform(0, 1)}, constraints=lambda v: v["x"] > 0.5)
    narrow = jax.tree.map(lambda bound: bound * 0.25, space)
    values = jax.jit(lambda s: s.sample(jax.random.key(0), 2))(narrow)
    assert np.isnan(np.asarray(values["x"])).all()
