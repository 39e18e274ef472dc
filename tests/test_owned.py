"""A user's function is freed with the arrays it closes over; the same function compiles once."""

import dataclasses
import functools
import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxhpo as hpo
from jaxhpo import population
from jaxhpo._tracing import owned
from jaxhpo.search import _minimize

SPACE = hpo.Space({"x": hpo.uniform(-2.0, 3.0)})
SIZE = 131_072  # numbers of a closure's array: large beside everything else here


def closure(number=1.0):
    """An objective that closes over an array."""
    data = jnp.full(SIZE, number)

    def objective(key, params):
        return (params["x"] - jnp.mean(data)) ** 2

    return objective


def training():
    """A training whose functions close over an array."""
    data = jnp.ones(SIZE)

    def mean(like):
        return jnp.mean(data).astype(like.dtype)

    return hpo.Training(
        init=lambda key, hparams: mean(hparams["lr"]),
        step=lambda key, hparams, state, t: state * (1 - hparams["lr"]) * mean(state),
        loss=lambda hparams, state: state**2 + 0 * mean(state),
    )


def minimize(objective, sampler="random", space=SPACE):
    hpo.minimize(objective, space, sampler, key=0, num_trials=3).best_value.block_until_ready()


def many(layout):
    def run():
        objective = closure()
        keys = jax.random.split(jax.random.key(0), 2)
        hpo.minimize_many(objective, SPACE, "random", keys=keys, num_trials=3, layout=layout)
        return [objective]

    return run


def plain():
    objective = closure()
    minimize(objective)
    return [objective]


def with_gradient():
    objective = closure()
    minimize(hpo.with_gradient(objective, SPACE))
    return [objective]


def replicated():
    objective = closure()
    minimize(hpo.replicates(objective, 2))
    return [objective]


def bound_in_a_partial():
    objective = closure()
    minimize(jax.tree_util.Partial(lambda shift, key, params: objective(key, params) + shift, 1.0))
    return [objective]


def method():
    class Problem:
        def __init__(self):
            self.data = jnp.ones(SIZE)

        def __call__(self, key, params):
            return jnp.mean(self.data) * params["x"]

        def objective(self, key, params):
            return self(key, params)

    one, other = Problem(), Problem()
    minimize(one.objective)
    minimize(other)
    return [one, other]


def several_objectives():
    objective = closure()
    minimize(lambda key, params: jnp.stack([objective(key, params), params["x"]]), "nsga2")
    return [objective]


def constraint():
    data = jnp.ones(SIZE)

    def is_allowed(values):
        return values["x"] < jnp.sum(data)

    space = hpo.Space({"x": hpo.uniform(0.0, 1.0)}, constraints=[is_allowed])
    minimize(_square, space=space)
    study = hpo.Study(space, "random", storage=None, name="s")
    study.optimize(lambda params: params["x"], num_trials=2)
    return [is_allowed]


def of_a_training():
    run = training()
    minimize(_rate(hpo.training.objective(run, 3)))
    return list(run)[:3]


def _square(key, params):
    return params["x"] ** 2


def _rate(objective):
    return lambda key, params: objective(key, {"lr": params["x"] * 0.1})


def descended():
    run = training()
    seen = []

    def test_loss(hparams, state):
        return state + jnp.mean(hparams["lr"])

    def watch(i, value, norm):
        seen.append(value)

    estimator = hpo.hypergrad.unrolled(run, num_steps=3)
    hpo.hypergrad.descend(
        estimator, {"lr": 0.1}, optax.adam(0.1), key=0, num_outer=2, test_loss=test_loss,
        progress=watch,
    )  # fmt: skip
    jax.effects_barrier()
    return [estimator, test_loss, watch, *run[:3]]


def estimated():
    run = training()
    hg = hpo.hypergrad
    estimators = [
        hg.unrolled(run, num_steps=3),
        hg.forward(run, num_steps=3),
        hg.truncated(run, num_steps=3, window=2),
        hg.implicit(run, num_steps=3, solver=hg.gmres()),
        hg.finite_difference(run, num_steps=3),
        hg.es(run, num_steps=3, num_pairs=2, sigma=0.1),
    ]
    for estimator in estimators:
        jax.jit(estimator)(jax.random.key(0), {"lr": 0.1})
    return [*estimators, *run[:3]]


def diagnosed():
    run = training()
    estimator = hpo.hypergrad.unrolled(run, num_steps=3)
    hpo.hypergrad.diagnose(estimator, 0, {"lr": 0.1})
    hpo.hypergrad.recommend(run, hpo.Space({"lr": hpo.uniform(0.0, 1.0)}), 3)
    return [estimator, *run[:3]]


def bilevel():
    data = jnp.ones(SIZE)

    def inner(h, w, x):
        return 0.5 * jnp.mean((w - x) ** 2) + 0.5 * h["l2"] * w**2 * jnp.mean(data)

    def outer(h, w, x):
        return 0.5 * jnp.mean((w - x) ** 2) * jnp.mean(data)

    def metric(h, w):
        return w * jnp.mean(data)

    def rate(count):
        return 0.1 * jnp.mean(data)

    bl = hpo.hypergrad.bilevel
    problem = bl.problem(inner, outer, train=jnp.ones(8), validation=jnp.ones(4), batch_size=2)
    solver = bl.amigo(problem, inner_step=rate, outer_step=0.1)
    bl.solve(solver, {"l2": 0.1}, 0.0, key=0, num_updates=2, metric=metric)
    return [inner, outer, metric, rate]


def swept():
    run = training()
    hparams = {"lr": jnp.array([0.1, 0.2])}
    population.sweep(run, hparams, key=0, num_steps=2)
    return list(run)[:3]


_KEPT = population.Programs()
_STUDY = hpo.Study({"lr": hpo.uniform(0.0, 1.0)}, "random", storage=None, name="kept")


def swept_with_programs():
    run = training()
    hparams = {"lr": jnp.array([0.1, 0.2])}
    population.sweep(run, hparams, key=0, num_steps=2, programs=_KEPT)
    return list(run)[:3]


def swept_in_a_study():
    run = training()
    _STUDY.sweep(run, num_steps=2, num_trials=2)
    return list(run)[:3]


WAYS = {
    "minimize": plain,
    "many-map": many("map"),
    "many-vmap": many("vmap"),
    "with_gradient": with_gradient,
    "replicates": replicated,
    "Partial": bound_in_a_partial,
    "method": method,
    "several": several_objectives,
    "constraint": constraint,
    "training.objective": of_a_training,
    "descend": descended,
    "estimators": estimated,
    "diagnose": diagnosed,
    "bilevel": bilevel,
    "sweep": swept,
    "sweep-programs": swept_with_programs,
    "Study.sweep": swept_in_a_study,
}


def live_bytes():
    gc.collect()
    return sum(array.nbytes for array in jax.live_arrays())


@pytest.mark.parametrize("way", WAYS)
def test_closures_are_freed(way):
    run = WAYS[way]
    run()  # what is compiled once for all is not at issue
    before = live_bytes()
    for _ in range(2):
        refs = [weakref.ref(function) for function in run()]
        after = live_bytes()
        assert [ref() for ref in refs] == [None] * len(refs)
        assert after - before < SIZE


@dataclasses.dataclass(frozen=True)
class ByValue:
    """Equal where its numbers are."""

    shift: float

    def __call__(self, key, params):
        TRACES.append(1)
        return params["x"] + self.shift


TRACES = []


class Methods:
    """Objectives as methods; without a hash."""

    __hash__ = None

    def objective(self, key, params):
        TRACES.append(1)
        return params["x"]


METHODS = Methods()


def _counted(key, params):
    TRACES.append(1)
    return params["x"]


def _shifted(shift, key, params):
    TRACES.append(1)
    return params["x"] + shift


@pytest.mark.parametrize(
    "make",
    [
        lambda: _counted,
        lambda: jax.jit(_counted) if JITTED is None else JITTED,
        lambda: ByValue(1.0),
        lambda: METHODS.objective,
        lambda: hpo.with_gradient(_counted, SPACE),
        lambda: hpo.replicates(_counted, 2),
        lambda: jax.tree_util.Partial(_shifted, 1.0),
        lambda: hpo.replicates(jax.tree_util.Partial(_shifted, jnp.ones(())), 2),
        lambda: PARTIAL,
    ],
    ids=[
        *("function", "jit", "value", "method", "gradient", "replicates", "Partial", "both"),
        "partial",
    ],
)  # fmt: skip
def test_the_same_function_is_traced_once(make):
    minimize(make())
    TRACES.clear()
    for _ in range(2):
        gc.collect()
        minimize(make())
    assert not TRACES


JITTED = jax.jit(_counted)
PARTIAL = functools.partial(_shifted, 1.0)


def test_equal_objects_with_other_numbers_are_other_programs():
    one, other = ByValue(1.0), ByValue(2.0)
    for objective in (one, other):
        found = hpo.minimize(objective, SPACE, "random", key=0, num_trials=2)
        expected = found.trials.params["x"] + objective.shift
        np.testing.assert_allclose(found.trials.value, expected, rtol=1e-6)


def test_a_program_goes_with_the_first_of_its_functions():
    objective = closure()
    minimize(objective)
    before = len(_minimize.run._programs)
    del objective
    gc.collect()
    assert len(_minimize.run._programs) == before - 1


def test_programs_are_bounded(monkeypatch):
    monkeypatch.setattr(owned, "_MAX_PROGRAMS", 2)
    double = owned.jit(lambda function, x: function(x), functions_in=(0,))
    functions = [lambda x, i=i: x + i for i in range(4)]
    assert [int(double(owned.as_pytree(f), jnp.int32(1))) for f in functions] == [1, 2, 3, 4]
    assert (len(double._programs), double._cache_size()) == (2, 4)


def test_a_pytree_outlives_no_function():
    node = owned.as_pytree(lambda key, params: params["x"])
    leaves, structure = jax.tree.flatten(node)
    assert jax.tree.unflatten(structure, leaves).function is node.function
    del node
    gc.collect()
    with pytest.raises(ReferenceError, match="keep the pytree itself"):
        jax.tree.unflatten(structure, leaves)


def test_programs_do_not_outlive_their_owner():
    run, programs = training(), population.Programs()
    population.sweep(run, {"lr": jnp.ones(2)}, key=0, num_steps=2, programs=programs)
    ref = weakref.ref(programs)
    del programs
    gc.collect()
    assert ref() is None


def test_closed_over_tracers():
    """Under a transformation the objective may close over what is traced."""

    def best(scale):
        found = hpo.minimize(
            lambda key, params: scale * params["x"] ** 2, SPACE, "random", key=0, num_trials=4
        )
        return found.best_value

    scales = jnp.arange(1.0, 4.0)
    together = jax.jit(jax.vmap(best))(scales)
    np.testing.assert_allclose(together, together[0] * scales, rtol=1e-6)


def test_programs_of_other_compiler_options_are_other_programs():
    def options(x, level):
        return () if level == 3 else (("xla_backend_optimization_level", level),)

    program = owned.jit(
        lambda x, level: x + level, (0,), static_argnums=(1,), compiler_options=options
    )
    x = jnp.zeros(2)
    assert program.program(x, 0) is program.program(x, 0)
    assert program.program(x, 0) is not program.program(x, 3)
    np.testing.assert_array_equal(program(x, 0), x)
    np.testing.assert_array_equal(program(x, 3), x + 3)
    assert program._cache_size() == 2
