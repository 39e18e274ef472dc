"""What a person types and reads: names of peers are understood, and `help` shows what there is."""

import importlib
import inspect
import pathlib
import pkgutil
import pydoc
import re
import types
import typing

import jax
import jax.numpy as jnp
import pytest

import jaxhpo as hpo
from jaxhpo._checks.suggest import did_you_mean, named_arguments, suggest
from jaxhpo.study import Study

X = {"x": hpo.uniform(0.0, 1.0)}


# What users may rely on: a name that leaves this list is a change that they notice.
LISTED = pathlib.Path(__file__).with_name("public_names.txt").read_text().split()


def packages():
    """All public packages, the one at the top included: those of which names are listed."""
    known = {name.rsplit(".", 1)[0] for name in LISTED}
    for info in [None, *pkgutil.walk_packages(hpo.__path__, "jaxhpo.")]:
        name = "jaxhpo" if info is None else info.name
        if name in known:
            yield importlib.import_module(name)


def public_callables():
    """`(name, function)` of all public functions, classes and their methods, each once."""
    seen = set()
    for package in packages():
        for name in package.__all__:
            found = getattr(package, name)
            if isinstance(found, types.ModuleType) or id(found) in seen or not callable(found):
                continue
            if typing.get_origin(found) is not None:  # a type alias has no docstring
                continue
            seen.add(id(found))
            where = f"{package.__name__}.{name}"
            yield where, found
            if inspect.isclass(found) and found.__module__.startswith("jaxhpo"):
                # What another library's base class asks for is documented there.
                theirs = {
                    part
                    for base in found.__mro__
                    if not base.__module__.startswith("jaxhpo")
                    for part in vars(base)
                }
                for part, member in vars(found).items():
                    is_ours = not part.startswith("_") and part not in theirs
                    if is_ours and inspect.isfunction(member):
                        yield f"{where}.{part}", member


CALLABLES = dict(public_callables())


def test_public_names_are_those_that_are_listed():
    found = {f"{package.__name__}.{name}" for package in packages() for name in package.__all__}
    assert sorted(found) == LISTED


@pytest.mark.parametrize("package", [p.__name__ for p in packages()])
def test_every_package_lists_its_public_names(package):
    module = importlib.import_module(package)
    listed = module.__all__
    assert len(set(listed)) == len(listed)
    for name in listed:
        assert getattr(module, name) is not None
    own = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, types.ModuleType)
        and getattr(value, "__module__", package).startswith(package)
    }
    assert own <= set(listed) | {"annotations", "TYPE_CHECKING"}


@pytest.mark.parametrize("where", sorted(CALLABLES))
def test_every_public_callable_says_what_it_takes(where):
    function = CALLABLES[where]
    assert (function.__doc__ or "").strip(), "no docstring"
    if inspect.isclass(function):
        return
    text = inspect.getdoc(function)
    parameters = inspect.signature(function).parameters.values()
    named = [p for p in parameters if p.name not in ("self", "cls", "study")]
    for parameter in named:
        is_open = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if is_open or len(named) > 2:
            word = re.escape(parameter.name)
            assert re.search(rf"(?<![\w]){word}(?![\w])", text), f"`{parameter.name}` is not told"


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (hpo.Study, ["space", "sampler", "change_sampler", "storage"]),
        (hpo.Study.optimize, ["num_trials", "max_first_failures", "catch"]),
        (hpo.Study.sweep, ["num_steps", "batch_size", "memory_budget", "share_data_order"]),
        (hpo.Study.record, ["curves", "curve_steps", "violation", "seconds"]),
        (hpo.plots, ["history(", "pareto_front(", "learning_curves(", "save("]),
        (hpo.load_study, ["name", "storage", "missing"]),
        (hpo.samplers, ["tpe(", "gp("]),
        (hpo.space, ["uniform(", "forbid("]),
    ],
)
def test_help_shows_signatures_and_arguments(what, words):
    text = pydoc.plain(pydoc.render_doc(what))
    for word in words:
        assert word in text
    if inspect.isfunction(what):
        assert "**" not in text.splitlines()[2]
        assert "Args:" in text


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("n_trials", ["num_trials", "timeout"], ["num_trials"]),
        ("num_trails", ["num_trials", "num_workers"], ["num_trials"]),
        ("n_jobs", ["num_workers", "n"], ["num_workers"]),
        ("Storage", ["storage"], ["storage"]),
        ("random_state", ["key", "space"], ["key"]),
        ("TPESampler", ["tpe", "gp"], ["tpe"]),
        ("xyzzy", ["tpe", "gp"], []),
        ("tpe", ["tpe"], []),
    ],
)
def test_suggestions(name, known, expected):
    assert suggest(name, known) == expected
    assert bool(did_you_mean(name, known)) == bool(expected)


@pytest.mark.parametrize(
    ("method", "arguments", "meant"),
    [
        (None, {"study_name": "s"}, "name"),
        (None, {"directions": ["minimize"]}, "direction"),
        (None, {"random_state": 0}, "seed"),
        (None, {"load_if_exists": True}, "name"),
        (None, {"algo": "tpe"}, "sampler"),
        ("optimize", {"n_trials": 3}, "num_trials"),
        ("optimize", {"num_trials": 3, "n_jobs": 2}, "num_workers"),
        ("optimize", {"num_trials": 3, "show_progress_bar": True}, "progress"),
        ("optimize", {"num_trials": 3, "time_out": 2}, "timeout"),
        ("sweep", {"n_trials": 3}, "num_trials"),
        ("sweep", {"num_trials": 3, "epochs": 5}, "num_steps"),
        ("ask", {"num": 2}, "n"),
        ("record", {"param": [], "values": []}, "params"),
        ("report", {"path": "a", "modell": True}, "model"),
    ],
)
def test_arguments_of_a_study_that_are_called_otherwise(method, arguments, meant):
    settings = {"storage": None}
    call = (lambda **kw: Study(X, **settings, **kw)) if method is None else None
    study = Study(X, "qmc", **settings)
    function = call or getattr(study, method)
    if method == "optimize":
        arguments = {"objective": lambda params: params["x"], **arguments}
    if method == "sweep":
        arguments = {"training": None, **arguments}
    with pytest.raises(TypeError, match=r"there is no argument `\w+`") as caught:
        function(**arguments)
    assert f"`{meant}`" in str(caught.value)
    assert study.trials == []


def test_arguments_of_functions_that_are_called_otherwise():
    space = hpo.Space(X)

    def objective(key, params):
        return params["x"]

    for call, meant in [
        (lambda: hpo.minimize(objective, space, "qmc", key=0, n_trials=2), "num_trials"),
        (lambda: hpo.minimize(objective, space, "qmc", seed=0, num_trials=2), "key"),
        (lambda: hpo.minimize(fn=objective, space=space, sampler="qmc", key=0), "objective"),
        (
            lambda: hpo.minimize_many(
                objective, space, "qmc", keys=jax.random.split(jax.random.key(0)), n_trials=1
            ),
            "num_trials",
        ),
        (lambda: hpo.load_study(study_name="s"), "name"),
        (lambda: hpo.uniform(lower=0.0, high=1.0), "low"),
        (lambda: hpo.uniform(0.0, max=1.0), "high"),
        (lambda: hpo.quantized(0.0, 1.0, q=0.1), "step"),
        (lambda: hpo.choice(choices=["a"]), "options"),
        (lambda: hpo.normal(mu=0.0, std=1.0), "mean"),
        (lambda: hpo.Space(X, constraint=[]), "constraints"),
    ]:
        with pytest.raises(TypeError, match=f"did you mean .*`{meant}`"):
            call()


def test_what_is_given_by_place_or_left_out_is_named():
    study = Study(X, "qmc", storage=None)
    with pytest.raises(TypeError, match=r"Study\.optimize: .*by name: `num_trials`"):
        study.optimize(lambda params: 1.0, 100)
    with pytest.raises(TypeError, match=r"Study\.optimize: `num_trials` must be given"):
        study.optimize(lambda params: 1.0)
    with pytest.raises(TypeError, match=r"Study: `space` must be given"):
        Study(storage=None)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("best_trial", "best"),
        ("best_parms", "best_params"),
        ("trials_dataframe", "to_dataframe"),
        ("enqueue_trial", "enqueue"),
        ("add_trial", "record"),
        ("get_trials", "trials"),
        ("optimise", "optimize"),
    ],
)
def test_attributes_of_a_study_that_are_called_otherwise(name, meant):
    study = Study(X, "qmc", storage=None)
    with pytest.raises(AttributeError, match=f"'{name}'; did you mean `{meant}`"):
        getattr(study, name)
    assert not hasattr(study, name)
    with pytest.raises(AttributeError, match="no attribute 'xyzzy'$"):
        _ = study.xyzzy


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("create_study", "Study"),
        ("loguniform", "log_uniform"),
        ("suggest_float", "uniform"),
        ("suggest_int", "integer"),
        ("suggest_categorical", "choice"),
        ("randint", "integer"),
        ("quniform", "quantized"),
        ("Categorical", "choice"),
        ("fmin", "minimize"),
        ("minimise", "minimize"),
        ("load_studdy", "load_study"),
    ],
)
def test_names_of_the_package_that_are_called_otherwise(name, meant):
    with pytest.raises(AttributeError, match=f"no attribute '{name}'; did you mean .*`{meant}`"):
        getattr(hpo, name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TPESampler", "tpe"),
        ("bayes", "gp"),
        ("random_search", "random"),
        ("RandomSampler", "random"),
        ("CmaEsSampler", "cma_es"),
        ("sobol", "qmc"),
        ("NSGAIISampler", "nsga2"),
        ("gird", "grid"),
    ],
)
def test_samplers_that_are_called_otherwise(name, meant, tmp_path):
    message = f"must be one of .*got '{name}'; did you mean .*`{meant}`"
    with pytest.raises(ValueError, match=message):
        hpo.samplers.get(name, hpo.Space(X))
    with pytest.raises(ValueError, match=f"Study: `sampler` {message}"):
        Study(X, name, storage=tmp_path / "s.db")
    assert not list(tmp_path.iterdir())


def test_checked_functions_keep_signature_documentation_and_place():
    signature = inspect.signature(hpo.Study.optimize)
    assert list(signature.parameters)[:3] == ["self", "objective", "num_trials"]
    assert hpo.minimize.__name__ == "minimize"
    assert "traceable" in hpo.minimize.__doc__

    @named_arguments
    def double(number, *, factor=2):
        return number * factor

    assert double(3) == 6
    assert double(number=jnp.asarray(3), factor=3) == 9
    assert jax.jit(double)(3) == 6
