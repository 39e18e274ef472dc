"""What a study compiles: the first state, and at each capacity one program beside the growth."""

import jax
import pytest

import jaxhpo as hpo
from jaxhpo import samplers
from jaxhpo.ask_tell import HostSampler, SamplerSpec, _compiled
from jaxhpo.samplers._traits import traits_of
from jaxhpo.study.storage._meta import make_sampler

EVENT = "/jax/core/compile/backend_compile_duration"
NUM_TRIALS = 200
FEWER_TRIALS = {"gp": 70, "gp_multi": 70, "turbo": 70}  # two capacities, in less time
QUICK = {"random", "tpe"}
NAMES = [n for n in samplers.names() if n != "auto" and not traits_of(n).needs_gradients]
TREE = {
    "x": hpo.uniform(-1.0, 2.0),
    "rate": hpo.log_uniform(1e-4, 1.0),
    "k": hpo.integer(1, 9),
    "kind": hpo.choice(["a", "b", "c"]),
}


@pytest.fixture
def compiled():
    """Names of the programs compiled since the test began, whatever was compiled before."""
    names = []

    def listen(event, seconds, **facts):
        if event == EVENT:
            names.append(facts.get("fun_name"))

    jax.clear_caches()
    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


def run(space, name, num_trials, num_objectives=1):
    direction = "minimize" if num_objectives == 1 else ["minimize"] * num_objectives
    study = hpo.Study(space, name, storage=None, direction=direction)

    def objective(params):
        value = (params["x"] - 0.3) ** 2
        return value if num_objectives == 1 else (value, abs(params["x"] - 1.0))

    study.optimize(objective, num_trials=num_trials, progress=False)
    return study


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_a_study_compiles_two_programs_a_capacity(name, compiled):
    space, num_trials = hpo.Space(TREE), FEWER_TRIALS.get(name, NUM_TRIALS)
    num_objectives = 2 if traits_of(name).several_objectives else 1
    sampler, _ = make_sampler(name, space, num_objectives)
    counts = range(1, num_trials + 1)
    capacities = {_compiled.capacity_for(sampler, count) for count in counts}
    run(space, name, num_trials, num_objectives)
    # What the host draws needs no program.
    assert len(compiled) == (0 if name == "random" else 2 * len(capacities)), compiled


def test_constraints_add_one_check(compiled):
    space = hpo.Space(TREE, constraints=[lambda values: values["x"] < 1.5])
    assert len(compiled) == 1, compiled
    study = hpo.Study(space, "random", storage=None)
    study.optimize(lambda params: params["x"], num_trials=3, progress=False)
    assert len(compiled) == 3, compiled


def test_trials_that_wait_compile_nothing(compiled):
    study = hpo.Study(hpo.Space(TREE), "qmc", storage=None)
    study.enqueue({"x": 0.5, "rate": 0.1, "k": 3, "kind": "b"})
    study.optimize(lambda params: params["x"], num_trials=1, progress=False)
    assert compiled == []
    study.optimize(lambda params: params["x"], num_trials=3, progress=False)
    assert len(compiled) == 2, compiled


def test_what_waits_is_checked_and_completed_by_one_program_each(compiled):
    space = hpo.Space(TREE, constraints=[lambda values: values["x"] < 1.5])
    study = hpo.Study(space, "random", storage=None)
    compiled.clear()
    for x in (0.5, 1.0):
        study.enqueue({"x": x, "rate": 0.1, "k": 3, "kind": "b"})
    assert len(compiled) == 1, compiled
    study.to_optuna().enqueue_trial({"x": 0.5})
    study.optimize(lambda params: params["x"], num_trials=3, progress=False)
    # The check, what completes the third trial, a first state, and the tell of a history.
    assert len(compiled) == 4, compiled


@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_a_sampler_by_name_is_taken_up_without_a_trace(name, monkeypatch):
    monkeypatch.setattr(jax, "eval_shape", None)
    HostSampler(SamplerSpec("here", name, {}), hpo.Space(TREE), 0, "here", 1)


def test_a_study_opened_again_compiles_one_more(compiled, tmp_path):
    """The program that tells a history at once."""
    storage = f"sqlite:///{tmp_path}/study.db"
    for _ in range(2):
        jax.clear_caches()
        compiled.clear()
        study = hpo.Study(hpo.Space(TREE), "qmc", storage=storage, name="again")
        study.optimize(lambda params: params["x"], num_trials=20, progress=False)
    assert len(compiled) == 3, compiled


@pytest.mark.parametrize("name", samplers.names())
def test_a_study_knows_the_shape_of_a_named_samplers_ask(name):
    space, num_objectives = hpo.Space(TREE), 2 if traits_of(name).several_objectives else 1
    sampler, asked = make_sampler(name, space, num_objectives)
    found = _compiled.proposal_shape_of(sampler)
    assert (asked.shape, asked.dtype) == (found.shape, found.dtype)


OTHER_TREE = {
    "decay": hpo.normal(0.0, 1.0),
    "width": hpo.uniform(5.0, 9.0),
    "layers": hpo.integer(0, 30),
    "activation": hpo.choice([abs, len, None]),
}


@pytest.mark.parametrize("name", ["qmc", "tpe", pytest.param("cma_es", marks=pytest.mark.slow)])
def test_another_space_of_the_same_kinds_compiles_nothing(name, compiled):
    run(hpo.Space(TREE), name, 20)
    assert len(compiled) == 2
    study = hpo.Study(OTHER_TREE, name, storage=None, seed=4)
    study.optimize(lambda params: params["width"], num_trials=20, progress=False)
    assert len(compiled) == 2, compiled


@pytest.mark.slow
def test_continuous_spaces_of_as_many_dimensions_share_the_programs_of_a_model(compiled):
    for tree in ({"x": TREE["x"], "rate": TREE["rate"]}, {"v": hpo.normal(0.0, 1.0, shape=2)}):
        study = hpo.Study(tree, "gp", storage=None)
        study.optimize(lambda params: 0.0, num_trials=3, progress=False)
        assert len(compiled) == 2, compiled


@pytest.mark.parametrize(
    "door", ["scipy", "hyperopt", pytest.param("gpyopt", marks=pytest.mark.slow)]
)
def test_other_bounds_and_names_compile_nothing_at_other_doors(door, compiled):
    search = {"scipy": _scipy, "hyperopt": _hyperopt, "gpyopt": _gpyopt}[door]
    search("x", -1.0, 2.0)
    first = len(compiled)
    assert first > 0
    search("rate", 3.0, 7.0)
    assert len(compiled) == first, compiled[first:]


def _scipy(name, low, high):
    from jaxhpo.integrations.scipy import minimize

    settings = {"bounds": [(low, high)], "method": "tpe", "options": {"maxiter": 3}}
    minimize(lambda x: float(x[0]), None, **settings)


def _hyperopt(name, low, high):
    hyperopt = pytest.importorskip("hyperopt")
    from jaxhpo.integrations.hyperopt import fmin

    fmin(lambda params: params[name], {name: hyperopt.hp.uniform(name, low, high)}, max_evals=3)


def _gpyopt(name, low, high):
    from jaxhpo.integrations.gpyopt import BayesianOptimization

    domain = [{"name": name, "type": "continuous", "domain": (low, high)}]
    optimization = BayesianOptimization(lambda x: x[:, :1], domain, initial_design_numdata=2)
    optimization.run_optimization(2)
