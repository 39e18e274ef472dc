"""LAPACK uses one thread where the package's own programs call it; outside as many as before."""

import ctypes.util
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg.cython_lapack

import jaxhpo as hpo
from jaxhpo._base import Sampler
from jaxhpo._tracing import lapack_threads
from jaxhpo.ask_tell._compiled import Driver

SPACE = hpo.Space({"x": hpo.uniform(0.0, 1.0)})


@pytest.fixture
def threads():
    """Counts and sets the threads of the OpenBLAS that JAX calls; three of them at first."""
    found = lapack_threads._functions(scipy.linalg.cython_lapack.__file__)
    if found is None:
        pytest.skip("SciPy is not linked to OpenBLAS here")
    before = found.get()
    found.set(3)
    yield found
    found.set(before)


def test_one_inside_as_before_outside(threads):
    with lapack_threads.one_thread():
        assert threads.get() == 1
        with lapack_threads.one_thread():
            assert threads.get() == 1
        assert threads.get() == 1
    assert threads.get() == 3


def test_an_error_inside_gives_the_threads_back(threads):
    with pytest.raises(KeyError), lapack_threads.one_thread():
        raise KeyError
    assert threads.get() == 3


def test_the_last_of_two_that_overlap_gives_the_threads_back(threads):
    is_in, may_leave = threading.Event(), threading.Event()

    def stay():
        with lapack_threads.one_thread():
            is_in.set()
            may_leave.wait(60)

    other = threading.Thread(target=stay)
    with lapack_threads.one_thread():
        other.start()
        assert is_in.wait(60)
    assert threads.get() == 1
    may_leave.set()
    other.join()
    assert threads.get() == 3


def test_what_is_no_openblas_is_left_alone(monkeypatch):
    assert lapack_threads._functions(ctypes.util.find_library("c")) is None
    assert lapack_threads._functions(None) is None
    assert lapack_threads._functions("no such file") is None
    limit = lapack_threads._Limit()
    limit.has_looked = True
    monkeypatch.setattr(lapack_threads, "_limit", limit)
    with lapack_threads.one_thread():
        assert limit.depth == 1
    assert limit.depth == 0


def seeing(counts, threads):
    """A sampler whose ask notes how many threads LAPACK has then."""

    def ask(key, state):
        def look(state):
            counts.append(threads.get())
            return np.asarray(state)

        return jax.pure_callback(look, state, state), jnp.reshape(state, (1, 1))

    wrap = jax.tree_util.Partial
    start = wrap(lambda key: jnp.full((), 0.25))
    return Sampler(start, wrap(ask), wrap(lambda key, state, unit, outcome: (state, None)))


def test_the_host_driver_asks_with_one_thread(threads):
    counts = []
    driver = Driver(seeing(counts, threads), SPACE, (0,), 1)
    driver.ask(0)
    driver.ask(1)
    assert set(counts) == {1}
    assert threads.get() == 3


def test_an_objective_has_all_threads(threads):
    counts = []

    def objective(params):
        counts.append(threads.get())
        return params["x"]

    study = hpo.Study(SPACE, "gp", storage=None)
    study.optimize(objective, num_trials=3, progress=False)
    assert counts == [3, 3, 3]


def test_a_fit_to_look_at_uses_one_thread(threads, monkeypatch):
    counts = []
    fit = hpo.inspection.fit_surrogate.__globals__["_fit"]

    def seen(*args):
        counts.append(threads.get())
        return fit(*args)

    monkeypatch.setitem(hpo.inspection.fit_surrogate.__globals__, "_fit", seen)
    unit = np.linspace(0.0, 1.0, 5)[:, None]
    hpo.inspection.fit_surrogate(SPACE, unit, unit[:, 0] ** 2)
    assert counts == [1]
    assert threads.get() == 3
