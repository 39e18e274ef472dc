"""The public functions that are fuzzed, with good arguments of each, and those that are not.

A public callable that is in neither table fails a test: enrol it, or say why it cannot be.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optuna

import jaxhpo as hpo
from jaxhpo import acquisition, samplers, schedulers
from jaxhpo.training import schedules
from tests import test_malformed as malformed
from tests.fuzz.verdict import in_cube, nothing, samples_in_bounds
from tests.test_public_names import CALLABLES


@dataclasses.dataclass(frozen=True)
class Entry:
    """A function that is fuzzed.

    Attributes:
        function: it.
        given: good arguments, or a function that makes them anew.
        is_traced: whether it is traced and not run, since it runs long.
        may_be_nan: whether NaN is a value that it gives on purpose.
        check: `(result, arguments) -> fault | None`.
        names: further names that its errors may use; "" where they may name a part of what came.
        keeps: arguments that are not drawn.
    """

    function: Callable[..., Any]
    given: Mapping[str, Any] | Callable[[], Mapping[str, Any]]
    is_traced: bool = False
    may_be_nan: bool = False
    check: Callable[..., str | None] = nothing
    names: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()


SPACE = hpo.Space({"x": hpo.uniform(0.0, 1.0), "n": hpo.integer(1, 5), "c": ["a", "b"]})
UNIT = np.full((2, 3), 0.4)
VALUES = SPACE.from_unit(UNIT)
PARAMS = {"x": 0.25, "n": 3, "c": "b"}


def study():
    """A study in memory with a few trials."""
    made = hpo.Study(SPACE, "random", storage=None)
    made.record([PARAMS, {**PARAMS, "x": 0.5}], [1.0, 2.0])
    return made


def method(name, **given):
    """A method of a study, which is made anew for each call."""

    def run(**arguments):
        return getattr(study(), name)(**arguments)

    run.__signature__ = inspect.signature(getattr(study(), name))
    return Entry(run, given, may_be_nan=True)


def dimension(function, **given):
    return Entry(function, given, check=samples_in_bounds)


STEPS = {"num_trials": 8, "num_steps": 9}
OWN = {
    # -- spaces
    "jaxhpo.uniform": dimension(hpo.uniform, low=0.0, high=1.0),
    "jaxhpo.log_uniform": dimension(hpo.log_uniform, low=0.1, high=1.0),
    "jaxhpo.quantized": dimension(hpo.quantized, low=0.0, high=1.0, step=0.25),
    "jaxhpo.integer": dimension(hpo.integer, low=1, high=9),
    "jaxhpo.normal": dimension(hpo.normal, mean=0.0, std=1.0),
    "jaxhpo.log_normal": dimension(hpo.log_normal, mean=0.0, std=1.0),
    "jaxhpo.ordinal": dimension(hpo.ordinal, values=[1, 2, 4]),
    "jaxhpo.choice": dimension(hpo.choice, options=["a", "b"]),
    "jaxhpo.static": dimension(hpo.static, options=[1, 2]),
    "jaxhpo.fixed": Entry(hpo.fixed, {"value": 1.0}),
    "jaxhpo.forbid": Entry(hpo.forbid, {"combination": {"x": 0.5}}),
    "jaxhpo.Space": Entry(
        hpo.Space, {"tree": {"x": hpo.uniform(0.0, 1.0)}}, names=("",)),
    "jaxhpo.Space.from_unit": Entry(SPACE.from_unit, {"unit": UNIT}),
    "jaxhpo.Space.to_unit": Entry(SPACE.to_unit, {"values": VALUES}, check=in_cube),
    "jaxhpo.Space.decode": Entry(SPACE.decode, {"values": VALUES}),
    "jaxhpo.Space.encode": Entry(SPACE.encode, {"params": PARAMS}),
    "jaxhpo.Space.flatten_params": Entry(SPACE.flatten_params, {"params": PARAMS}),
    "jaxhpo.Space.unflatten_params": Entry(
        SPACE.unflatten_params, {"flat": PARAMS}, names=("",)),
    "jaxhpo.Space.active": Entry(SPACE.active, {"values": VALUES}),
    "jaxhpo.Space.feasible": Entry(SPACE.feasible, {"values": VALUES}),
    "jaxhpo.Space.features": Entry(SPACE.features, {"unit": UNIT}),
    "jaxhpo.space.from_scipy": Entry(hpo.space.from_scipy, {"bounds": [(0.0, 1.0)]}),
    "jaxhpo.space.from_optuna": Entry(hpo.space.from_optuna, {"distributions": {
        "x": optuna.distributions.FloatDistribution(0.0, 1.0)}}),
    "jaxhpo.space.from_gpyopt": Entry(hpo.space.from_gpyopt, {"domain": [
        {"name": "x", "type": "continuous", "domain": (0.0, 1.0)}]}),
    "jaxhpo.space.from_sklearn": Entry(
        hpo.space.from_sklearn, {"param_distributions": {"x": [1, 2]}}),
    "jaxhpo.space.from_hyperopt": Entry(
        hpo.space.from_hyperopt, {"space": {"x": 1.0}}, names=("",)),
    "jaxhpo.space.from_ray": Entry(
        hpo.space.from_ray, {"param_space": {"x": 1.0}}, names=("",)),
    # -- studies
    "jaxhpo.Study": Entry(
        hpo.Study, {"space": SPACE, "sampler": "random", "storage": None}, keeps=("storage",)),
    "jaxhpo.Study.ask": method("ask", n=1),
    "jaxhpo.Study.tell": method("tell", trials=0, values=0.5),
    "jaxhpo.Study.record": method("record", params=[PARAMS], values=[0.5]),
    "jaxhpo.Study.enqueue": method("enqueue", params=PARAMS),
    "jaxhpo.Study.set_metric_names": method("set_metric_names", names="loss"),
    "jaxhpo.Study.fail_stale": method("fail_stale"),
    "jaxhpo.Study.optimize": dataclasses.replace(
        method("optimize", objective=lambda params: 0.5, num_trials=2, progress=False),
        keeps=("num_workers", "progress"),
    ),
    "jaxhpo.load_study": Entry(hpo.load_study, {"name": "s", "storage": "sqlite:///no.db"}),
    "jaxhpo.study.Terminator": Entry(hpo.study.Terminator, {"patience": 3}),
    # -- samplers and schedulers
    "jaxhpo.samplers.choose": Entry(samplers.choose, {"space": SPACE}),
    "jaxhpo.make_sampler": Entry(hpo.make_sampler, {
        "settings": (), "init": lambda s, k: 0, "ask": lambda s, k, t: 0,
        "tell": lambda s, k, t, u, o: 0}),
    "jaxhpo.schedulers.make_scheduler": Entry(schedulers.make_scheduler, {
        "settings": (), "init": lambda s, k: 0, "ask": lambda s, k, t: 0,
        "tell": lambda s, k, t, j, o: 0}),
    "jaxhpo.schedulers.get": Entry(schedulers.get, {"name": "halving", **STEPS}),
    **{f"jaxhpo.schedulers.{name}": Entry(
        getattr(schedulers, name), STEPS, names=("space",)) for name in (
        "asha", "halving", "hyperband", "median", "patience")},
    # -- models
    "jaxhpo.acquisition.embedding_of": Entry(acquisition.embedding_of, {"space": SPACE}),
    "jaxhpo.inspection.Surrogate.predict": Entry(
        malformed.SURROGATE.predict, {"unit": np.full((2, 1), 0.5)}),
    # -- training
    "jaxhpo.training.constant": Entry(hpo.training.constant, {"value": 1.0}),
    "jaxhpo.training.dropout": Entry(hpo.training.dropout, {
        "key": jax.random.key(0), "inputs": jnp.ones(4), "rate": 0.5}),
    "jaxhpo.training.gradient": Entry(hpo.training.gradient, {"fun": lambda x: x}),
    "jaxhpo.training.trial_keys": Entry(hpo.training.trial_keys, {"key": 0}),
    **{f"jaxhpo.training.schedules.{name}": Entry(getattr(schedules, name), given)
       for name, given in {
        "constant": {"value": 1.0},
        "cosine_decay": {"init_value": 1.0, "decay_steps": 5},
        "cosine_onecycle": {"transition_steps": 5, "peak_value": 1.0},
        "exponential_decay": {"init_value": 1.0, "transition_steps": 5, "decay_rate": 0.5},
        "linear": {"init_value": 1.0, "end_value": 0.0, "transition_steps": 5},
        "linear_onecycle": {"transition_steps": 5, "peak_value": 1.0},
        "polynomial": {
            "init_value": 1.0, "end_value": 0.0, "power": 1.0, "transition_steps": 5},
        "piecewise_constant": {"init_value": 1.0, "boundaries_and_scales": {2: 0.5}},
        "piecewise_interpolate": {
            "interpolate_type": "linear", "init_value": 1.0, "boundaries_and_scales": {2: 0.5}},
        "sgdr": {"cosine_kwargs": [
            {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 1, "decay_steps": 4}]},
        "join": {"schedules": [schedules.constant(1.0), schedules.constant(2.0)],
                 "boundaries": [3]},
        "warmup_constant": {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 3},
        "warmup_cosine_decay": {
            "init_value": 0.0, "peak_value": 1.0, "warmup_steps": 3, "decay_steps": 9},
        "warmup_exponential_decay": {
            "init_value": 0.0, "peak_value": 1.0, "warmup_steps": 3, "transition_steps": 3,
            "decay_rate": 0.5},
       }.items()},
    # -- problems
    **{f"jaxhpo.problems.{name}": Entry(getattr(hpo.problems, name), {}) for name in (
        "ackley", "griewank", "levy", "michalewicz", "rastrigin", "rosenbrock", "schwefel",
        "sphere", "styblinski_tang", "zdt1", "zdt2", "zdt3", "zdt4", "zdt6", "dtlz1", "dtlz2",
        "dtlz7", "c2_dtlz2", "mf_hartmann", "categorical", "mixed")},
    "jaxhpo.problems.bbob.problem": Entry(
        hpo.problems.bbob.problem, {"function": 1, "num_dims": 2}),
    "jaxhpo.problems.bbob.instance": Entry(
        hpo.problems.bbob.instance, {"function": 1, "num_dims": 2}),
    "jaxhpo.problems.tabular.problem": Entry(
        hpo.problems.tabular.problem, {"name": hpo.problems.tabular.NAMES[0]}),
    "jaxhpo.problems.Function.shifted": Entry(hpo.problems.branin().shifted, {}),
}  # fmt: skip


def core(function):
    """The function itself, by which one under two names is found."""
    function = getattr(function, "__func__", function)
    return function if inspect.isclass(function) else inspect.unwrap(function)


# By the names of `tests.test_malformed`: values, or lists of them, that are NaN on purpose.
_NAN = {"sweep", "replay", "pes", "noisy_quadratic", "ranks", "problem", "warp"}
_BY_CORE = {id(core(function)): name for name, function in CALLABLES.items()}
_SHARED = {
    f"malformed.{name}": Entry(
        function, given, is_traced, may_be_nan=name in _NAN,
        # They call functions of the user's with what they are given.
        keeps=("progress",),
    )
    for table, is_traced in ((malformed.CALLS, False), (malformed.TRACED, True))
    for name, (function, given) in table.items()
}  # fmt: skip
ENTRIES = {**OWN, **_SHARED}

ARRAYS_ONLY = "takes arrays of stated shapes inside of other programs, and checks nothing"
PARTS = "a part for those who write samplers; its arguments come from other parts"
SLOW = "reads data or trains a model for seconds; its arguments are those of what is fuzzed"
THEIRS = "has the signature that another library asks for; its own tests call it with theirs"
FIGURE = "draws what another function has computed; tests/plots has its malformed arguments"
NONE = "takes no argument that could be wrong"
EXCEPTIONS = {
    "jaxhpo.cli.main": "reads the command line; tests/cli calls it with malformed arguments",
    "jaxhpo.Space.tree_flatten": "part of the protocol of JAX's trees",
    **dict.fromkeys(
        ["jaxhpo.Space.host_values", "jaxhpo.Space.check_precision", "jaxhpo.Space.snap",
         "jaxhpo.Space.levels", "jaxhpo.Space.from_levels", "jaxhpo.Space.cell_ends",
         "jaxhpo.Space.active_columns", "jaxhpo.Space.allows", "jaxhpo.space.Dimension.",
         "jaxhpo.space.Discrete.", "jaxhpo.space.Dimension", "jaxhpo.space.Discrete",
         "jaxhpo.space.cell_ends", "jaxhpo.acquisition.", "jaxhpo.population.Programs",
         "jaxhpo.hypergrad.bilevel.BilevelProblem.", "jaxhpo.Sampler", "jaxhpo.testing."], PARTS),
    **dict.fromkeys(["jaxhpo.gp."], ARRAYS_ONLY),
    **dict.fromkeys(["jaxhpo.plots."], FIGURE),
    **dict.fromkeys(["jaxhpo.integrations."], THEIRS),
    **dict.fromkeys(
        ["jaxhpo.hypergrad.diagnose", "jaxhpo.report.write_report",
         "jaxhpo.benchmarking.", "jaxhpo.training.from_", "jaxhpo.problems.", "jaxhpo.population.",
         "jaxhpo.study.StoredStudy", "jaxhpo.inspection."], SLOW),
    **dict.fromkeys(
        ["jaxhpo.Space.describe", "jaxhpo.Study.stop", "jaxhpo.Study.prune_waiting",
         "jaxhpo.samplers.names", "jaxhpo.schedulers.names",
         "jaxhpo.study.enable_compilation_cache"], NONE),
}  # fmt: skip
"""Beginnings of names, and why these are not fuzzed."""


def is_record(found):
    """Whether a class only holds what it is given: results, states and errors."""
    if not inspect.isclass(found):
        return False
    is_tuple = issubclass(found, tuple) and hasattr(found, "_fields")
    return is_tuple or dataclasses.is_dataclass(found) or issubclass(found, Exception)


def enrolled():
    """Identities of all that is fuzzed."""
    return {id(core(entry.function)) for entry in ENTRIES.values()} | {
        id(core(CALLABLES[name])) for name in OWN if name in CALLABLES
    }
