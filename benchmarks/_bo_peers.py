"""Studies by each library on the same problems: jaxhpo, Optuna's GPSampler, BoTorch, random search.

A library is a factory `make(problem, seed) -> (ask, tell)` with `ask() -> values` and
`tell(values, value)`; `study` runs one and takes the time of these two alone.
"""

from __future__ import annotations

import functools
import math
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from _bo_problems import Choice, Problem, Real, Whole

Loop = tuple[Callable[[], Mapping[str, Any]], Callable[[Mapping[str, Any], float], None]]


class Studied(NamedTuple):
    """One study: values in order, and CPU seconds of the library."""

    values: list[float]
    cpu_s: float


def study(
    make: Callable[[Problem, int], Loop], problem: Problem, seed: int, trials: int
) -> Studied:
    """Runs one study."""
    ask, tell = make(problem, seed)
    values, seconds = [], 0.0
    for _ in range(trials):
        start = time.process_time()
        point = ask()
        seconds += time.process_time() - start
        values.append(problem.function(point))
        start = time.process_time()
        tell(point, values[-1])
        seconds += time.process_time() - start
    return Studied(values, seconds)


def jaxhpo_space(problem: Problem) -> Any:
    """The problem's space as jaxhpo has it."""
    import jaxhpo as hpo

    def one(param: Real | Whole | Choice) -> Any:
        if isinstance(param, Choice):
            return hpo.choice(list(param.options))
        if isinstance(param, Whole):
            return hpo.integer(param.low, param.high, log=param.log)
        return hpo.log_uniform(*param[:2]) if param.log else hpo.uniform(*param[:2])

    return hpo.Space({name: one(param) for name, param in problem.params.items()})


@functools.cache
def _programs() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """One program to ask and one to tell, shared by all problems of equal structure."""
    import jax

    def ask(sampler: Any, space: Any, key: Any, state: Any) -> Any:
        state, unit = sampler.ask(key, state)
        return state, unit, jax.tree.map(lambda leaf: leaf[0], space.from_unit(unit))

    def tell(sampler: Any, key: Any, state: Any, unit: Any, value: Any) -> Any:
        import jaxhpo as hpo

        return sampler.tell(key, state, unit, hpo.Outcome(value))[0]

    return jax.jit(ask, donate_argnums=3), jax.jit(tell, donate_argnums=2)


def jaxhpo_gp(problem: Problem, seed: int, capacity: int = 104, **settings: Any) -> Loop:
    """This library's `samplers.gp` by its three functions, each compiled once."""
    import jax

    import jaxhpo as hpo

    space = jaxhpo_space(problem)
    sampler = hpo.samplers.gp(space, capacity=capacity, **settings)
    ask_, tell_ = _programs()
    key = jax.random.key(seed)
    held = {"state": jax.jit(sampler.init)(key), "count": 0}

    def ask() -> Mapping[str, Any]:
        step = jax.random.fold_in(key, held["count"])
        held["state"], held["unit"], params = ask_(sampler, space, step, held["state"])
        held["count"] += 1
        return {name: _plain(problem.params[name], params[name]) for name in problem.params}

    def tell(values: Mapping[str, Any], value: float) -> None:
        value = np.asarray([value], held["unit"].dtype)
        held["state"] = jax.block_until_ready(
            tell_(sampler, key, held["state"], held["unit"], value)
        )

    return ask, tell


def _plain(param: Real | Whole | Choice, value: Any) -> Any:
    if isinstance(param, Choice):
        return param.options[int(value)]
    return int(value) if isinstance(param, Whole) else float(value)


def optuna_gp(problem: Problem, seed: int) -> Loop:
    """Optuna's GPSampler with its defaults."""
    import optuna

    return _optuna(problem, optuna.samplers.GPSampler(seed=seed))


def random_search(problem: Problem, seed: int) -> Loop:
    """Uniform draws, by Optuna's RandomSampler."""
    import optuna

    return _optuna(problem, optuna.samplers.RandomSampler(seed=seed))


def _optuna(problem: Problem, sampler: Any) -> Loop:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module="optuna")
    one_study = optuna.create_study(sampler=sampler)
    held: dict[str, Any] = {}

    def ask() -> Mapping[str, Any]:
        trial = held["trial"] = one_study.ask(_distributions(problem))
        return {name: trial.params[name] for name in problem.params}

    def tell(values: Mapping[str, Any], value: float) -> None:
        one_study.tell(held["trial"], value)

    return ask, tell


def _distributions(problem: Problem) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    def one(param: Real | Whole | Choice) -> Any:
        if isinstance(param, Choice):
            return CategoricalDistribution(param.options)
        kind = IntDistribution if isinstance(param, Whole) else FloatDistribution
        return kind(param.low, param.high, log=param.log)

    return {name: one(param) for name, param in problem.params.items()}


BOTORCH_START = 10
MIXED_FIT = 100
"""Steps of a fit of BoTorch's mixed model."""


def botorch_gp(problem: Problem, seed: int) -> Loop:
    """BoTorch's own defaults in the loop of its tutorials.

    `SingleTaskGP` (or `MixedSingleTaskGP`) with its own priors and transforms, log EI, and
    `optimize_acqf` with 10 restarts of 512 raw samples, after 10 scrambled Sobol points. The model
    works in the unit cube; integers are rounded, and each category is optimized by itself. The fit
    of the mixed model stops after `MIXED_FIT` steps, not BoTorch's default: its likelihood is flat
    along some directions, and to the end one study takes more than ten CPU minutes.
    """
    import torch

    torch.manual_seed(seed)
    names = list(problem.params)
    data: dict[str, list[Any]] = {"x": [], "y": []}
    starts = torch.quasirandom.SobolEngine(len(names), scramble=True, seed=seed).draw(
        BOTORCH_START, dtype=torch.double
    )

    def ask() -> Mapping[str, Any]:
        count = len(data["y"])
        point = starts[count] if count < BOTORCH_START else _botorch_propose(problem, data)
        unit, values = _round(problem, point.tolist())
        data["x"].append(unit)
        return dict(zip(names, values, strict=True))

    def tell(values: Mapping[str, Any], value: float) -> None:
        data["y"].append(-value)

    return ask, tell


def _botorch_propose(problem: Problem, data: dict[str, list[Any]]) -> Any:
    import torch
    from botorch.acquisition import LogExpectedImprovement
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import MixedSingleTaskGP, SingleTaskGP
    from botorch.optim import optimize_acqf, optimize_acqf_mixed
    from gpytorch.mlls import ExactMarginalLogLikelihood

    warnings.filterwarnings("ignore")
    x = torch.tensor(data["x"], dtype=torch.double)
    y = torch.tensor(data["y"], dtype=torch.double)[:, None]
    kinds = list(problem.params.values())
    choices = [i for i, param in enumerate(kinds) if isinstance(param, Choice)]
    model = MixedSingleTaskGP(x, y, cat_dims=choices) if choices else SingleTaskGP(x, y)
    limit = {"options": {"maxiter": MIXED_FIT}} if choices else {}
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model), optimizer_kwargs=limit)
    score = LogExpectedImprovement(model, best_f=y.max())
    upper = [len(p.options) - 1.0 if isinstance(p, Choice) else 1.0 for p in kinds]
    bounds = torch.tensor([[0.0] * len(kinds), upper], dtype=torch.double)
    search = {"bounds": bounds, "q": 1, "num_restarts": 10, "raw_samples": 512}
    if not choices:
        return optimize_acqf(score, **search)[0][0].detach()
    [i] = choices
    fixed = [{i: float(k)} for k in range(len(kinds[i].options))]
    return optimize_acqf_mixed(score, fixed_features_list=fixed, **search)[0][0].detach()


def _round(problem: Problem, point: list[float]) -> tuple[list[float], list[Any]]:
    """The point as the model gets it (categories are numbers) and the values it stands for."""
    unit, values = [], []
    for u, param in zip(point, problem.params.values(), strict=True):
        if isinstance(param, Choice):
            index = min(
                int(u * len(param.options)) if 0 < u < 1 else round(u), len(param.options) - 1
            )
            unit.append(float(index))
            values.append(param.options[index])
            continue
        forth = math.log if param.log else float
        low, high = forth(param.low), forth(param.high)
        value = low + u * (high - low)
        value = math.exp(value) if param.log else value
        if isinstance(param, Whole):
            value = round(value)
            u = (forth(value) - low) / (high - low)
        unit.append(u)
        values.append(min(max(value, param.low), param.high))
    return unit, values


LIBRARIES: dict[str, Callable[..., Loop]] = {
    "jaxhpo": jaxhpo_gp,
    "random": random_search,
    "optuna": optuna_gp,
    "botorch": botorch_gp,
}


def one_thread() -> None:
    """One thread of PyTorch, as of all other libraries."""
    set_threads(1)


def set_threads(count: int) -> None:
    """Torch keeps a thread count of its own beside OpenMP's."""
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(count)
