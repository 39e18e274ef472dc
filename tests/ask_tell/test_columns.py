"""One program for all plain spaces of a width: the same points as programs of their own."""

import json
import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import acquisition
from jaxhpo.ask_tell import HostSampler, Repeatable, SamplerSpec
from jaxhpo.ask_tell._sampler_spec import padded_width
from jaxhpo.space.internal import columns_of

MIXED = {
    "c": hpo.choice(["a", "b", "c"]),
    "x": hpo.uniform(-1.0, 2.0),
    "k": hpo.integer(1, 9),
    "n": hpo.integer(4, 500, log=True),
    "g": hpo.quantized(0.0, 1.0, 0.1),
    "h": hpo.quantized(0.1, 3.0, 0.1, log=True),
}
OTHER = {"rate": hpo.log_uniform(1e-4, 1.0), "m": hpo.integer(2, 7), "o": hpo.choice([1, 2])}


def points_of(columns, dims, n=200):
    """Random points and the ends of the cube, with unused columns at 0.5."""
    unit = np.random.default_rng(0).random((n, dims)).astype(np.float32)
    unit = np.concatenate([unit, np.zeros((1, dims)), np.ones((1, dims))])
    rest = columns.num_dims - dims
    return jnp.asarray(unit), jnp.pad(jnp.asarray(unit), ((0, 0), (0, rest)), constant_values=0.5)


def test_columns_answer_what_the_space_answers():
    space = hpo.Space(MIXED)
    columns, d = columns_of(space, 8), space.num_dims
    unit, wide = points_of(columns, d)
    np.testing.assert_array_equal(columns.levels(wide)[:, :d], space.levels(unit))
    snapped = columns.snap(wide)
    close = {"rtol": 0, "atol": 4 * float(jnp.finfo(snapped.dtype).eps)}
    np.testing.assert_allclose(snapped[:, :d], space.snap(unit), **close)
    np.testing.assert_array_equal(snapped[:, d:], 0.5)
    np.testing.assert_array_equal(columns.snap(wide.at[:, 2].set(jnp.nan)), jnp.nan)
    levels = space.levels(unit)
    centres = columns.from_levels(jnp.pad(levels, ((0, 0), (0, 2))))
    np.testing.assert_allclose(centres[:, :d], space.from_levels(levels), **close)
    for found, expected in zip(columns.cell_ends(wide), space.cell_ends(unit), strict=True):
        np.testing.assert_allclose(found[:, :d], expected, **close)
    np.testing.assert_array_equal(columns.active_columns(wide)[0], [True] * d + [False] * 2)


@pytest.mark.parametrize("tree", [MIXED, OTHER, {"x": hpo.uniform(0.0, 1.0)}])
def test_features_of_columns_lie_as_far_apart(tree):
    space = hpo.Space(tree)
    columns = columns_of(space, padded_width(space.num_dims))
    unit, wide = points_of(columns, space.num_dims, 20)
    square = []
    for one, points in ((space, space.snap(unit)), (columns, columns.snap(wide))):
        embedding = acquisition.embedding_of(one)
        features = embedding.features(one, points)
        rate = embedding.kernel().spread(1.0 + jnp.arange(one.num_dims, dtype=features.dtype))
        scaled = np.asarray(features * rate[None, :], np.float64)
        square.append(np.sum((scaled[:, None] - scaled[None]) ** 2, axis=2))
        free = embedding.replace_free(one, points, features)
        np.testing.assert_array_equal(free, points)
    np.testing.assert_allclose(square[1], square[0], rtol=1e-5, atol=1e-5)


def test_spaces_of_one_width_have_one_structure():
    trees = [MIXED, {**OTHER, "x": hpo.uniform(0, 1), "y": [1, 2, 3], "z": hpo.integer(1, 99)}]
    made = [SamplerSpec("here", "tpe", {}).make(columns_of(hpo.Space(t), 8)) for t in trees]
    assert jax.tree.structure(made[0]) == jax.tree.structure(made[1])
    # Features for options reach from the first column to the last unordered one.
    small = [{"x": hpo.uniform(0, 1)}, {"a": [1, 2, 3], "b": OTHER["rate"], "m": OTHER["m"]}]
    made = [SamplerSpec("here", "gp", {}).make(columns_of(hpo.Space(t), 4)) for t in small]
    assert jax.tree.structure(made[0]) == jax.tree.structure(made[1])


@pytest.mark.parametrize(
    "space",
    [
        hpo.Space({"c": hpo.choice({"a": {"x": hpo.uniform(0, 1)}, "b": None})}),
        hpo.Space({"x": hpo.uniform(0, 1)}, constraints=[lambda v: v["x"] < 1]),
        hpo.Space({"c": hpo.choice(["a", "b"], weights=[0.2, 0.8]), "x": hpo.uniform(0, 1)}),
        hpo.Space({"k": hpo.integer(1, 9), "c": ["a", "b"]}),
        hpo.Space({"o": hpo.ordinal([1, 2, 8]), "x": hpo.uniform(0, 1)}),
        hpo.Space({"n": hpo.normal(0.0, 1.0, step=0.5), "x": hpo.uniform(0, 1)}),
    ],
    ids=["conditional", "constrained", "weighted", "finite", "ordinal", "stepped normal"],
)  # fmt: skip
def test_other_spaces_keep_programs_of_their_own(space):
    assert columns_of(space, 8) is None
    searched = SamplerSpec("here", "tpe", {}).searched(space)
    assert type(searched) is hpo.Space
    assert searched.num_dims == space.num_dims


def test_a_part_whose_points_come_again_has_columns():
    assert columns_of(Repeatable({"k": hpo.integer(1, 9)}), 4) is not None


def test_settings_that_see_the_space_keep_it():
    space = hpo.Space(OTHER)
    prior = SamplerSpec("here", "gp", {"prior": lambda params: jnp.zeros(())})
    assert prior.searched(space) is space
    assert SamplerSpec("here", lambda space: hpo.samplers.gp(space), {}).searched(space) is space
    assert type(SamplerSpec("here", "cma_es", {}).searched(space)) is hpo.Space
    assert SamplerSpec("here", "gp", {}).searched(space).num_dims == 4


def proposed(space, name, num_trials, *, shared, settings=None):
    spec = SamplerSpec("here", name, settings or {})
    if not shared:
        spec.searched = lambda space: space
    sampler = HostSampler(spec, space, 7, "here", 1)
    found = []
    for number in range(num_trials):
        unit, _ = sampler.ask(number)
        found.append(unit)
        sampler.tell(unit[None], np.sum((unit - 0.3) ** 2, keepdims=True)[None], None)
    return np.asarray(found)


# Two programs may round apart, and a model goes on from that.
@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("random", 1e-6),
        ("qmc", 1e-6),
        ("tpe", 1e-5),
        pytest.param("gp", 1e-4, marks=pytest.mark.slow),
    ],
)
def test_the_shared_program_proposes_the_same_points(name, tolerance):
    space = hpo.Space(OTHER)
    own, shared = (proposed(space, name, 24, shared=flag) for flag in (False, True))
    np.testing.assert_allclose(shared, own, rtol=0, atol=tolerance)


CONDITIONAL = textwrap.dedent("""
    import collections, json, sys
    import jax, optuna
    from jaxhpo import _base
    from jaxhpo.integrations.optuna import JaxhpoSampler
    events, roles = collections.Counter(), collections.Counter()
    def listen(name, *_, **__):
        events.update([name])
    jax.monitoring.register_event_listener(listen)
    jax.monitoring.register_event_duration_secs_listener(listen)
    call = _base._Keyed.__call__
    def counted(self, *args, **named):
        roles.update([self.role])
        return call(self, *args, **named)
    _base._Keyed.__call__ = counted
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    low, high, kinds = json.loads(sys.argv[1])
    def objective(trial):
        kind = trial.suggest_categorical("kind", kinds)
        x = trial.suggest_float("x", low, high)
        if kind == kinds[0]:
            return x**2 + trial.suggest_float("lr", 1e-4, high, log=True)
        return x**2 + (trial.suggest_int("depth", 1, 9) if kind == kinds[1] else 1)
    study = optuna.create_study(sampler=JaxhpoSampler(sys.argv[2], seed=3))
    study.optimize(objective, n_trials=16)
    print(json.dumps({
        "compiled": events["/jax/core/compile/backend_compile_duration"],
        "missed": events["/jax/compilation_cache/cache_misses"],
        "traced": roles["ask"] + roles["tell"],
    }))
""")


def conditional(folder, name, *search):
    environment = {one: value for one, value in os.environ.items() if one != "JAXHPO_CACHE"}
    environment |= {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    command = [sys.executable, "-W", "error", "-c", CONDITIONAL, json.dumps(search), name]
    child = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout)


# The first state, a trial, and the history of a branch that is new; each of gp and of the tpe that
# takes its place in a discrete branch.
@pytest.mark.parametrize(
    ("name", "most"), [("tpe", 3), pytest.param("gp", 6, marks=pytest.mark.slow)]
)
def test_a_conditional_study_compiles_for_one_space_and_another_starts_warm(name, most, tmp_path):
    first = conditional(tmp_path, name, -1.0, 1.0, ["a", "b", "c"])
    assert 0 < first["missed"] <= first["compiled"] <= most
    other = conditional(tmp_path, name, -5.0, 3.0, ["p", "q", "r", "s"])
    assert other["compiled"] <= most
    assert other["missed"] == other["traced"] == 0
