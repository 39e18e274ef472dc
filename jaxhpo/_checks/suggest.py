"""Did you mean: the right spelling of a name that was mistyped, or that a peer library uses."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

# Names of Optuna, scikit-learn, SciPy, Hyperopt, Ray Tune, scikit-optimize and Keras Tuner, without
# underscores and in small letters, and ours; the first that the place at hand knows counts.
_PEERS: dict[str, tuple[str, ...]] = {
    # Arguments.
    "ntrials": ("num_trials",),
    "trials": ("num_trials",),
    "niter": ("num_trials",),
    "niterations": ("num_trials",),
    "ncalls": ("num_trials",),
    "maxevals": ("num_trials",),
    "maxtrials": ("num_trials",),
    "maxiter": ("num_trials", "num_outer"),
    "numsamples": ("num_trials",),
    "budget": ("num_trials",),
    "njobs": ("num_workers",),
    "workers": ("num_workers",),
    "numprocesses": ("num_workers",),
    "nsteps": ("num_steps",),
    "steps": ("num_steps",),
    "epochs": ("num_steps",),
    "studyname": ("name",),
    "url": ("storage",),
    "db": ("storage",),
    "path": ("storage",),
    "directions": ("direction",),
    "mode": ("direction",),
    "maximize": ("direction",),
    "minimize": ("direction",),
    "algo": ("sampler",),
    "algorithm": ("sampler",),
    "method": ("sampler",),
    "searchalg": ("sampler",),
    "randomstate": ("seed", "key"),
    "rng": ("key", "seed"),
    "rstate": ("seed", "key"),
    "seed": ("key",),
    "key": ("seed",),
    "fn": ("objective",),
    "func": ("objective",),
    "function": ("objective",),
    "fun": ("objective",),
    "target": ("objective",),
    "distributions": ("space",),
    "paramdistributions": ("space",),
    "searchspace": ("space",),
    "reductionfactor": ("eta",),
    "factor": ("eta",),
    "graceperiod": ("first_rung",),
    "minresource": ("first_rung",),
    "minresources": ("first_rung",),
    "maxt": ("num_steps",),
    "maxresource": ("num_steps",),
    "maxresources": ("num_steps",),
    "pruner": ("scheduler",),
    "bounds": ("space",),
    "params": ("trials", "params"),
    "timeoutseconds": ("timeout",),
    "showprogressbar": ("progress",),
    "progressbar": ("progress",),
    "verbose": ("progress",),
    "callback": ("callbacks",),
    "loadifexists": ("name",),
    "value": ("values",),
    "trial": ("trials",),
    "state": ("status",),
    "constraints": ("violation",),
    "std": ("se",),
    "batch": ("batch_size",),
    # Attributes of a study.
    "besttrial": ("best",),
    "bestparams": ("best_params",),
    "bestconfig": ("best_params",),
    "bestresult": ("best",),
    "bestscore": ("best_value",),
    "fun_": ("best_value",),
    "trialsdataframe": ("to_dataframe",),
    "todf": ("to_dataframe",),
    "dataframe": ("to_dataframe",),
    "df": ("to_dataframe",),
    "getdataframe": ("to_dataframe",),
    "enqueuetrial": ("enqueue",),
    "enqueuetrials": ("enqueue",),
    "suggest": ("ask",),
    "addtrial": ("record",),
    "addtrials": ("record",),
    "gettrials": ("trials",),
    "getbesttrial": ("best",),
    "getbesttrials": ("best_trials",),
    "results": ("trials",),
    "history": ("trials",),
    "run": ("optimize",),
    "fit": ("optimize",),
    "search": ("optimize",),
    "minimise": ("minimize",),
    "paretofront": ("pareto_front",),
    "front": ("pareto_front",),
    "samplername": ("sampler",),
    # Names of the package.
    "createstudy": ("Study",),
    "loadstudy": ("load_study",),
    "openstudy": ("load_study",),
    "fmin": ("minimize",),
    "tune": ("Study",),
    "loguniform": ("log_uniform",),
    "reciprocal": ("log_uniform",),
    "suggestfloat": ("uniform", "log_uniform"),
    "suggestuniform": ("uniform",),
    "suggestloguniform": ("log_uniform",),
    "suggestdiscreteuniform": ("quantized",),
    "suggestint": ("integer",),
    "suggestcategorical": ("choice",),
    "float": ("uniform",),
    "real": ("uniform",),
    "floatdistribution": ("uniform",),
    "quniform": ("quantized",),
    "qloguniform": ("quantized",),
    "randint": ("integer",),
    "int": ("integer",),
    "qrandint": ("integer",),
    "intdistribution": ("integer",),
    "categorical": ("choice",),
    "categoricaldistribution": ("choice",),
    "gridsearch": ("grid",),
    "constant": ("fixed",),
    "lognormal": ("log_normal",),
    "randn": ("normal",),
    # Samplers.
    "bayes": ("gp",),
    "bayesian": ("gp",),
    "bayesianoptimization": ("gp",),
    "bo": ("gp",),
    "botorch": ("gp",),
    "gaussianprocess": ("gp",),
    "gpsampler": ("gp",),
    "skopt": ("gp",),
    "randomsearch": ("random",),
    "randomsampler": ("random",),
    "sobol": ("qmc",),
    "halton": ("qmc",),
    "lhs": ("qmc",),
    "latinhypercube": ("qmc",),
    "quasirandom": ("qmc",),
    "bruteforce": ("grid",),
    "hyperopt": ("tpe",),
    "parzen": ("tpe",),
    "cma": ("cma_es",),
    "cmaes": ("cma_es",),
    "differentialevolution": ("de",),
    "genetic": ("nsga2", "de"),
    "evolution": ("de",),
    "nsgaii": ("nsga2",),
    "nsgaiii": ("nsga3",),
    "nsga": ("nsga2",),
    "moo": ("nsga2",),
    # Schedulers.
    "sha": ("halving",),
    "successivehalving": ("halving",),
    "successivehalvingpruner": ("halving",),
    "hyperbandpruner": ("hyperband",),
    "hyperbandforbohb": ("hyperband",),
    "ashascheduler": ("asha",),
    "asynchyperband": ("asha",),
    "asynchyperbandscheduler": ("asha",),
    # Bounds.
    "lower": ("low",),
    "min": ("low",),
    "minimum": ("low",),
    "minval": ("low",),
    "a": ("low",),
    "upper": ("high",),
    "max": ("high",),
    "maximum": ("high",),
    "maxval": ("high",),
    "b": ("high",),
    "q": ("step",),
    "size": ("shape",),
    "choices": ("options",),
    "categories": ("options",),
    "probabilities": ("weights",),
    "p": ("weights",),
    "mu": ("mean",),
    "loc": ("mean",),
    "sigma": ("std",),
    "scale": ("std",),
}


def suggest(name: str, known: Iterable[str]) -> list[str]:
    """Names that the user may have meant.

    Args:
        name: what was typed.
        known: the names that there are.

    Returns:
        Those of a peer's name first, else the nearest in spelling, at most three.

    Example:
        >>> suggest("n_trials", ["num_trials", "timeout"]), suggest("TPESampler", ["tpe", "gp"])
        (['num_trials'], ['tpe'])
    """
    names = [one for one in known if not one.startswith("_")]
    if name in names:
        return []
    plain = {_plain(one): one for one in names}
    typed = _plain(name)
    for text in (typed, typed.removesuffix("sampler"), typed.removesuffix("s")):
        if text in plain and plain[text] != name:
            return [plain[text]]
        if found := [one for one in _PEERS.get(text, ()) if one in names]:
            return found
    return [plain[text] for text in difflib.get_close_matches(typed, plain, 3, 0.72)]


def did_you_mean(name: Any, known: Iterable[str]) -> str:
    """The end of an error's sentence: "; did you mean `num_trials`?", or nothing."""
    found = suggest(name, known) if isinstance(name, str) else []
    return f"; did you mean {' or '.join(f'`{one}`' for one in found)}?" if found else ""


def named_arguments(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Lets a function say which of its arguments a mistyped one may be.

    Its signature and its documentation stay its own.

    Args:
        function: takes no `**kwargs`.

    Returns:
        The function; a call that does not fit its signature is a TypeError that names the argument.
    """
    parameters = list(inspect.signature(function).parameters.values())
    assert all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters)
    names = [one.name for one in parameters if one.name not in ("self", "study")]
    positional = [one.name for one in parameters if one.kind is not one.KEYWORD_ONLY]
    required = [one.name for one in parameters if one.default is one.empty]
    where = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def checked(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        for name in kwargs:
            if name not in names:
                hint = did_you_mean(name, names)
                takes = "" if hint else f"; it takes {', '.join(f'`{one}`' for one in names)}"
                raise TypeError(f"{where}: there is no argument `{name}`{hint or takes}")
        if len(args) > len(positional):
            by_name = [f"`{name}`" for name in names if name not in positional]
            expected = f"given by name: {', '.join(by_name)}" if by_name else "left out"
            raise TypeError(
                f"{where}: further arguments must be {expected}, "
                f"got {len(args)} positional arguments."
            )
        for name in required:
            if name not in kwargs and name not in positional[: len(args)]:
                raise TypeError(f"{where}: `{name}` must be given.")
        return function(*args, **kwargs)

    return checked


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").replace(" ", "").lower()
