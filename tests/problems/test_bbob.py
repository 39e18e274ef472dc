"""BBOB against the published reference implementation, which knows nothing of this one."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhpo.problems import bbob

FUNCTIONS = range(1, bbob.NUM_FUNCTIONS + 1)
INSTANCES = (1, 2, 7)


@jax.jit
def _every(stacked, x):
    over = jax.vmap(jax.vmap(bbob.evaluate, (None, None, 0)), (None, 0, None))
    return jnp.stack([over(f, stacked[f - 1], x) for f in FUNCTIONS])


@pytest.fixture(scope="module")
def values():
    """One program a shape: all 24 functions of some instances at points, `[24, instances, k]`."""

    def run(d, numbers, x, dtype=jnp.float64):
        stacked = [
            jax.tree.map(lambda *a: np.stack(a), *(bbob.instance(f, d, n) for n in numbers))
            for f in FUNCTIONS
        ]
        with jax.enable_x64(True):
            return np.asarray(_every(stacked, jnp.asarray(x, dtype)))

    return run


def points(d):
    rng = np.random.default_rng(d)
    spread = rng.uniform(-5, 5, (20, d))
    outside = rng.uniform(-7, 7, (5, d))  # penalties count beyond the box
    return np.concatenate([spread, outside, np.zeros((1, d)), np.full((1, d), 4.0)])


@pytest.mark.parametrize("d", [2, 5, pytest.param(10, marks=pytest.mark.slow)])
def test_agrees_with_the_reference(values, d):
    cocoex = pytest.importorskip("cocoex", reason="coco-experiment is not installed")
    x = points(d)
    ours = values(d, INSTANCES, x)
    listed = ",".join(map(str, INSTANCES))
    suite = cocoex.Suite("bbob", f"instances: {listed}", f"dimensions:{d}")
    wrong, seen = [], 0
    for problem in suite:
        f, n = problem.id_function, problem.id_instance
        expected = np.asarray([problem(point) for point in x])
        found = ours[f - 1, INSTANCES.index(n)]
        if not np.allclose(found, expected, rtol=1e-9, atol=1e-8):
            wrong.append((problem.id, found[:3], expected[:3]))
        seen += 1
    assert seen == 24 * len(INSTANCES)
    assert not wrong


def test_the_optimum_is_where_it_says(values):
    d = 5
    for f in FUNCTIONS:
        problem = bbob.problem(f, d, 3)
        assert problem.minimum == float(bbob.instance(f, d, 3).f_opt)
    x = np.stack([np.asarray(bbob.problem(f, d, 3).minimizers[0]) for f in FUNCTIONS])
    x = np.concatenate([x, x[:3]])  # as many as the other tests have: one program
    found = values(d, (3, 3, 3), x)
    for f in FUNCTIONS:
        # The ripples of functions 20 and 24 are given to ten digits.
        assert found[f - 1, 0, f - 1] == pytest.approx(bbob.problem(f, d, 3).minimum, abs=1e-6)


def test_the_optimum_of_the_reference(tmp_path, monkeypatch):
    cocoex = pytest.importorskip("cocoex", reason="coco-experiment is not installed")
    monkeypatch.chdir(tmp_path)
    for problem in cocoex.Suite("bbob", "instances: 4", "dimensions:3"):
        problem._best_parameter("print")
        place = np.loadtxt("._bbob_problem_best_parameter.txt")
        os.remove("._bbob_problem_best_parameter.txt")
        ours = bbob.instance(problem.id_function, 3, 4)
        np.testing.assert_allclose(ours.x_opt, place, atol=1e-8, err_msg=problem.id)
        assert float(ours.f_opt) == pytest.approx(problem(place), abs=1e-8), problem.id


def test_float32_is_close(values):
    d = 5
    x = points(d)
    exact = values(d, INSTANCES, x)
    found = values(d, INSTANCES, x, jnp.float32)
    assert found.dtype == np.float32
    for f in FUNCTIONS:
        if f in (16, 23):  # ripples finer than float32 resolves
            continue
        scale = np.abs(exact[f - 1]).max()
        np.testing.assert_allclose(found[f - 1], exact[f - 1], rtol=2e-2, atol=1e-3 * scale)


@pytest.mark.parametrize("arguments", [(0, 5, 1), (25, 5, 1), (1, 1, 1), (1, 5, 0)])
def test_refuses_what_is_not_there(arguments):
    with pytest.raises(ValueError, match="bbob.instance: `"):
        bbob.instance(*arguments)
    with pytest.raises(ValueError, match="bbob.evaluate: `function`"):
        bbob.evaluate(25, None, jnp.zeros(2))
