"""Ray Tune: our samplers as its searchers, Optuna's pruners as its schedulers, a vmapped trainable.

Tune starts a process a trial, which costs seconds. It is worth that for trials of minutes on many
machines, or for one Tune trial that trains a whole batch of ours (`sweep_trainable`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

try:
    from ray import cloudpickle, tune
    from ray.tune.schedulers import FIFOScheduler, TrialScheduler
    from ray.tune.search import Searcher
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'jaxhpo.integrations.ray needs Ray Tune: pip install "jaxhpo[ray]".'
    ) from error

from jaxhpo import _checks
from jaxhpo.ask_tell import HostSampler, SamplerSpec
from jaxhpo.space import Space, from_ray

logger = logging.getLogger("jaxhpo")

_SEARCH = "JaxhpoSearch"
_MODES = ("min", "max")


class JaxhpoSearch(Searcher):
    """A sampler of this package as `search_alg` of `tune.TuneConfig`.

    The space is the tuner's `param_space`, constants and `tune.grid_search` included, unless one is
    given here. Trials that run are pending for the sampler, and one that failed, or never reported
    the metric, counts as failed. A restored searcher knows what the saved one knew.

    Args:
        sampler: a name from `jaxhpo.samplers.names()`, or a function of a `Space` that returns a
            `Sampler`.
        space: a `Space`, or the tree of one, whose params are dicts; None takes `param_space`.
        metric: what to look at in a result; None takes that of the tuner.
        mode: "min" or "max"; None takes that of the tuner.
        max_concurrent: how many trials may run at once; 0 for any number.
        seed: of all proposals.
        points_to_evaluate: configs to try first.
        **settings: settings of the sampler.

    Raises:
        TypeError: an argument of a wrong type, or a setting that the sampler does not have.
        ValueError: an unknown name or mode, or a domain that a `Space` does not have.
    """

    def __init__(
        self,
        sampler: str | Callable[..., Any] = "tpe",
        space: Space | Mapping[str, Any] | None = None,
        *,
        metric: str | None = None,
        mode: str | None = None,
        max_concurrent: int = 0,
        seed: int = 0,
        points_to_evaluate: list[dict[str, Any]] | None = None,
        **settings: Any,
    ) -> None:
        if mode is not None and mode not in _MODES:
            raise _checks.fail(_SEARCH, "mode", "'min' or 'max'", mode)
        super().__init__(metric=metric, mode=mode)
        self._sampler_spec = SamplerSpec(_SEARCH, sampler, settings)
        self._seed = _checks.check_int(_SEARCH, "seed", seed, 0)
        self._max_concurrent = _checks.check_int(_SEARCH, "max_concurrent", max_concurrent, 0)
        self._waiting = [dict(point) for point in points_to_evaluate or ()]
        self._space: Space | None = None
        if space is not None:
            self._space = space if isinstance(space, Space) else Space(space)
        # (unit, value to minimise) of ended trials; number and unit of running ones.
        self._told: list[tuple[np.ndarray, float]] = []
        self._running: dict[str, np.ndarray] = {}
        self._count = 0
        self._sampler: HostSampler | None = None

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Takes what the tuner was given; False where this searcher has a space already."""
        self._metric, self._mode = metric or self._metric, mode or self._mode
        if self._space is not None:
            # A tuner with a space of its own as well would silently lose it.
            return not config
        self._space = from_ray(config)
        return True

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Takes the tuner's `max_concurrent_trials`."""
        self._max_concurrent = int(max_concurrent)
        return True

    def suggest(self, trial_id: str) -> Any:
        """A config; None while enough trials run, `FINISHED` where the space has no more points."""
        if self._space is None:
            raise RuntimeError(
                f"{_SEARCH}: there is no space: give `space`, or `param_space` to the Tuner."
            )
        if self._max_concurrent and len(self._running) >= self._max_concurrent:
            return None
        sampler = self._ready()
        number, self._count = self._count, self._count + 1
        if self._waiting:
            params = self._waiting.pop(0)
            unit = sampler.unit_of([params])[0]
        else:
            proposal = sampler.ask(number)
            if proposal is None:
                logger.info("%s: the space has no untried point", _SEARCH)
                return Searcher.FINISHED
            unit, params = proposal
        self._running[trial_id] = unit
        return dict(params)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Only the last result of a trial counts."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tells the sampler what became of a trial."""
        unit = self._running.pop(trial_id, None)
        if unit is None:
            return
        value = float("nan") if error else float((result or {}).get(str(self._metric), "nan"))
        if not np.isfinite(value):
            value = float("nan")
        minimised = -value if self._mode == "max" else value
        self._told.append((unit, minimised))
        if self._sampler is not None:
            self._sampler.tell(unit[None], np.asarray([[minimised]]), None)

    def save(self, checkpoint_path: str) -> None:
        """Writes what is known to a file."""
        with open(checkpoint_path, "wb") as file:
            cloudpickle.dump(self.__getstate__(), file)

    def restore(self, checkpoint_path: str) -> None:
        """Takes up what `save` wrote."""
        with open(checkpoint_path, "rb") as file:
            self.__setstate__(cloudpickle.load(file))

    def __getstate__(self) -> dict[str, Any]:
        # The sampler's state follows from what was told.
        return {**self.__dict__, "_sampler": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def _ready(self) -> HostSampler:
        if self._sampler is None:
            assert self._space is not None
            self._sampler = HostSampler(self._sampler_spec, self._space, self._seed, "ray", 1)
            # What runs counts as failed until it ends, so that it is not proposed again.
            rows = [*self._told, *((unit, float("nan")) for unit in self._running.values())]
            if rows:
                unit = np.stack([unit for unit, _ in rows])
                self._sampler.tell(unit, np.asarray([[value] for _, value in rows]), None)
        return self._sampler


class PrunerScheduler(FIFOScheduler):
    """An Optuna pruner as Tune's `scheduler`: it stops the trials that the pruner would prune.

    Args:
        pruner: an `optuna.pruners.BasePruner`.
        time_attr: what counts as the step of a result; a whole number.

    Raises:
        TypeError: `pruner` is none.
    """

    def __init__(self, pruner: Any, *, time_attr: str = "training_iteration") -> None:
        import optuna

        super().__init__()
        if not isinstance(pruner, optuna.pruners.BasePruner):
            got = _checks.describe(pruner)
            raise TypeError(f"PrunerScheduler: `pruner` must be an Optuna pruner, got {got}.")
        self._pruner, self._time_attr = pruner, time_attr
        self._metric: str | None = None
        self._study: Any = None
        self._trials: dict[str, Any] = {}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Takes the tuner's metric and mode."""
        import optuna

        if metric is None or mode not in _MODES:
            return False
        self._metric = metric
        self._study = optuna.create_study(
            direction="minimize" if mode == "min" else "maximize", pruner=self._pruner
        )
        return True

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Asks the pruner whether to go on."""
        if self._study is None or self._metric not in result:
            return str(TrialScheduler.CONTINUE)
        if trial.trial_id not in self._trials:
            self._trials[trial.trial_id] = self._study.ask()
        ours = self._trials[trial.trial_id]
        ours.report(float(result[self._metric]), int(result[self._time_attr]))
        if not ours.should_prune():
            return str(TrialScheduler.CONTINUE)
        self._end(trial, "PRUNED")
        return str(TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Lets the pruner know of a trial that ran to its end."""
        self._end(trial, "COMPLETE", (result or {}).get(str(self._metric)))

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Lets the pruner know of a trial that failed."""
        self._end(trial, "FAIL")

    def _end(self, trial: Any, state: str, value: Any = None) -> None:
        from optuna.trial import TrialState

        ours = self._trials.pop(trial.trial_id, None)
        if ours is None:
            return
        if state == "COMPLETE" and (value is None or not np.isfinite(float(value))):
            state = "FAIL"
        values = float(value) if state == "COMPLETE" else None
        self._study.tell(ours, values, state=TrialState[state])


def sweep_trainable(
    training: Any, space: Mapping[str, Any], *, batch_size: int, num_steps: int, **settings: Any
) -> Callable[[dict[str, Any]], None]:
    """A trainable that trains a whole batch of trials as one program.

    Parameters that Tune's config has by name of `space` are the same for the whole batch; all
    others are drawn. Tune so searches over what changes the program (a width, an optimizer), and a
    batch under `vmap` over what does not. `config["seed"]` (0 without it) decides the draws.

    Args:
        training: a `Training`.
        space: dict from names to dimensions.
        batch_size: trials in a batch.
        num_steps: training steps of each.
        **settings: further arguments of `population.sweep`.

    Returns:
        A function of a config. It reports `loss` (of the best trial), `median_loss`, `num_failed`,
        and the best trial's params under `best`.

    Raises:
        TypeError: `space` is no dict.
    """
    given: Any = space
    if not isinstance(given, Mapping):
        got = _checks.describe(space)
        raise TypeError(f"sweep_trainable: `space` must be a dict of dimensions, got {got}.")
    batch_size = _checks.check_int("sweep_trainable", "batch_size", batch_size, 1)
    num_steps = _checks.check_int("sweep_trainable", "num_steps", num_steps, 1)

    def trainable(config: dict[str, Any]) -> None:
        tune.report(_train_batch(training, space, config, batch_size, num_steps, settings))

    return trainable


def _train_batch(
    training: Any,
    space: Mapping[str, Any],
    config: Mapping[str, Any],
    batch_size: int,
    num_steps: int,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    import jax

    from jaxhpo import population
    from jaxhpo.space import fixed, static

    given = {name: config[name] for name in space if name in config}
    # A value that changes the program stays static; any other is the same number in each trial.
    dims = Space(space)
    kinds = {leaf.name: leaf.dimension.describe()["kind"] for leaf in dims.leaves}
    tree = {
        name: dimension
        if name not in given
        else (static([given[name]]) if kinds.get(name) == "static" else fixed(given[name]))
        for name, dimension in space.items()
    }
    held = Space(tree)
    key_draw, key_run = jax.random.split(jax.random.key(int(config.get("seed", 0))))
    hparams = held.sample(key_draw, batch_size)
    found = population.sweep(training, hparams, key=key_run, num_steps=num_steps, **settings)
    losses = found.losses[np.isfinite(found.losses)]
    report: dict[str, Any] = {"loss": float(found.best_loss), "num_failed": int(found.num_failed)}
    report["median_loss"] = float(np.median(losses)) if losses.size else float("inf")
    if found.best_hparams is not None:
        report["best"] = held.decode(found.best_hparams)
    return report


__all__ = ["JaxhpoSearch", "PrunerScheduler", "sweep_trainable"]
