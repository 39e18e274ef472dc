"""Optuna: every sampler of this package in a study of theirs.

`JaxhpoSampler("gp")` is a `sampler=` of `optuna.create_study`. The objective may be define-by-run.
`import_study` takes a study of theirs over; `FoldPruner` is a `pruner=` of theirs with our rule.
Their pruners end trials of our studies as well: `Study.optimize(…, scheduler=pruner)`.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from jaxhpo import _checks
from jaxhpo.ask_tell import SamplerSpec
from jaxhpo.integrations.optuna._block import Block, is_supported
from jaxhpo.integrations.optuna._bridge import import_study as import_study
from jaxhpo.integrations.optuna._groups import Groups
from jaxhpo.integrations.optuna._pruner import FoldPruner as FoldPruner
from jaxhpo.study.internal import CONSTRAINTS_ATTR, record_compile_seconds

logger = logging.getLogger("jaxhpo")

_WHERE = "JaxhpoSampler"
_MAX_BLOCKS = 64
_MAX_STUDIES = 8
_MAX_READ = 64


class JaxhpoSampler(BaseSampler):
    """A sampler of this package for Optuna's studies.

    Parameters that every complete trial had are proposed together. Parameters of a branch of a
    conditional objective are a space of their own, whose history is the trials that took the
    branch; a discrete part of a configuration, such as the choice of the branch, may be proposed
    again and again. A parameter that is met for the first time, or with another range, is drawn at
    random; so is the whole first trial. Trials that run in this process are pending for the
    sampler; those of other processes count as failed until they end. Failed trials count as
    failed, pruned ones with their last value, and parameters that a `Space` cannot express are
    drawn at random.

    Optuna counts the time of a proposal as part of the trial. How much of it went to the compiler
    is in the trial's system attribute "jaxhpo", as `compile_seconds`.

    The draws of trial `i` follow from the seed and from `i`: two workers on one study never repeat
    each other, a resumed study does not repeat its first draws, and `reseed_rng` has nothing to do.

    When to use it: for a program that is written for Optuna. An objective that JAX can trace runs
    orders of magnitude faster under `minimize`, and any other without Optuna's own API in `Study`.

    Args:
        sampler: a name from `jaxhpo.samplers.names()`, or a function of a `Space` that returns a
            `Sampler`.
        seed: fixes all draws; None takes a fresh one.
        constraints_func: `constraints_func(trial) -> sequence of floats`, violated where above 0.
            Constraints that the objective sets itself with `trial.set_constraint` count as well.
            With it, "gp", "gp_multi" and what "auto" chooses of them model constraints.
        stop_when_exhausted: end the study when every configuration of a discrete space has been
            tried, instead of going on with those that the sampler would see again.
        **settings: settings of the sampler, as its factory in `jaxhpo.samplers` documents them.

    Raises:
        TypeError: an argument of a wrong type, or a setting that the sampler does not have.
        ValueError: an unknown name. Several objectives are refused when the study first asks a
            sampler that cannot take them.

    Example:
        >>> import optuna
        >>> from jaxhpo.integrations.optuna import JaxhpoSampler
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> study = optuna.create_study(sampler=JaxhpoSampler("qmc", seed=0))
        >>> study.optimize(lambda trial: trial.suggest_float("x", -1, 3) ** 2, n_trials=20)
        >>> study.best_value < 0.1
        True
    """

    def __init__(
        self,
        sampler: str | Callable[..., Any] = "tpe",
        *,
        seed: int | None = None,
        constraints_func: Callable[[FrozenTrial], Sequence[float]] | None = None,
        stop_when_exhausted: bool = False,
        **settings: Any,
    ) -> None:
        has_constraints = constraints_func is not None
        self._sampler_spec = SamplerSpec(_WHERE, sampler, settings, has_constraints=has_constraints)
        if seed is not None:
            seed = _checks.check_int(_WHERE, "seed", seed, 0)
        self._seed = secrets.randbits(31) if seed is None else seed
        if constraints_func is not None:
            _checks.check_callable(_WHERE, "constraints_func", constraints_func)
        self._constraints_func = constraints_func
        self._stops = bool(stop_when_exhausted)
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._memories: dict[str, _StudyCache] = {}

    def __getstate__(self) -> dict[str, Any]:
        # What is remembered of a study follows from its trials; compiled programs stay here.
        dropped = ("_lock", "_memories")
        return {key: value for key, value in self.__dict__.items() if key not in dropped}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def __str__(self) -> str:
        return f"{_WHERE}({self._sampler_spec.sampler!r})"

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Parameters that every complete trial had, as far as a `Space` expresses them."""
        with self._lock:
            cache = self._cache(study)
            cache.groups.update(cache.read(study, trial, anew=True))
            return cache.drop_unsupported(cache.groups.common)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Proposes the parameters of a search space together."""
        self._check_objectives(study)
        if not search_space:
            return {}
        with self._lock:
            found = self._propose(study, trial, search_space)
        if found is not None:
            return found
        return {n: _draw(self._seed, trial.number, n, d) for n, d in search_space.items()}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Proposes one parameter: with its group where it has one, else at random."""
        self._check_objectives(study)
        with self._lock:
            cache = self._cache(study)
            cache.groups.update(cache.read(study, trial))
            group = cache.groups.of(param_name, param_distribution)
            is_whole = group is not None and cache.drop_unsupported(group) == group
            if is_whole and group is not None and not self._sampler_spec.plans_ahead:
                found = self._propose(study, trial, group)
                if found is not None:
                    return found[param_name]
        return _draw(self._seed, trial.number, param_name, param_distribution)

    def _propose(
        self, study: Study, trial: FrozenTrial, space: dict[str, BaseDistribution]
    ) -> dict[str, Any] | None:
        found = self._ask_block(study, trial, space)
        if found is None:
            cache = self._cache(study)
            self._tell_exhausted(study, cache)
            if not self._stops:  # what has been learned says which configurations to repeat
                cache.mark_used_up(space)
                found = self._ask_block(study, trial, space)
        return found

    def _ask_block(
        self, study: Study, trial: FrozenTrial, space: dict[str, BaseDistribution]
    ) -> dict[str, Any] | None:
        cache = self._cache(study)
        block = cache.block(self._sampler_spec, space, self._seed)
        found = block.propose(trial.number, cache.read(study, trial))
        if waited := block.clock.take():
            record_compile_seconds(study._storage, trial._trial_id, waited)
        return found

    def _tell_exhausted(self, study: Study, cache: _StudyCache) -> None:
        if self._stops:
            logger.info("study %r ends: every configuration has been tried", study.study_name)
            study.stop()
        elif not cache.said_exhausted:
            cache.said_exhausted = True
            logger.warning(
                "study %r: every configuration has been tried; further trials repeat some",
                study.study_name,
            )

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Stores the constraints of a trial that has ended."""
        with self._lock:
            self._cache(study).forget(trial)
        if self._constraints_func is None or state not in (TrialState.COMPLETE, TrialState.PRUNED):
            return
        found = [float(value) for value in self._constraints_func(trial)]
        if any(math.isnan(value) for value in found):
            raise ValueError(f"{_WHERE}: `constraints_func` must return numbers, got {found}.")
        study._storage.set_trial_system_attr(trial._trial_id, CONSTRAINTS_ATTR, found)

    def reseed_rng(self) -> None:
        """Does nothing: a trial's draws follow from its number, which no two trials share."""

    def _cache(self, study: Study) -> _StudyCache:
        name = study.study_name
        if name not in self._memories:
            while len(self._memories) >= _MAX_STUDIES:
                self._memories.pop(next(iter(self._memories)))
            self._memories[name] = _StudyCache([d.name.lower() for d in study.directions])
        return self._memories[name]

    def _check_objectives(self, study: Study) -> None:
        """Refuses several objectives where the sampler cannot take them."""
        with self._lock:
            cache = self._cache(study)
            if len(cache.directions) > 1 and not cache.takes_objectives:
                from jaxhpo.space import Space, uniform

                space = Space({"p00": uniform(0.0, 1.0)})
                self._sampler_spec.make(space, len(cache.directions))
                cache.takes_objectives = True


class _StudyCache:
    """What is known of one study; all of it follows from its trials."""

    def __init__(self, directions: list[str]) -> None:
        self.directions = directions
        self.groups = Groups()
        self.takes_objectives = False
        self.said_exhausted = False
        self._unsupported_logged: set[str] = set()
        self._blocks: dict[Any, Block] = {}
        self._used_up: set[Any] = set()
        self._read: dict[int, list[FrozenTrial]] = {}

    def read(self, study: Study, trial: FrozenTrial, *, anew: bool = False) -> list[FrozenTrial]:
        """The study's trials as they were when `trial` was first asked about."""
        if anew or trial.number not in self._read:
            while len(self._read) >= _MAX_READ:  # trials that nobody ended
                self._read.pop(next(iter(self._read)))
            self._read[trial.number] = study.get_trials(deepcopy=False)
        return self._read[trial.number]

    def forget(self, trial: FrozenTrial) -> None:
        """Lets go of what was read for a trial that has ended."""
        self._read.pop(trial.number, None)

    def block(self, spec: SamplerSpec, space: dict[str, BaseDistribution], seed: int) -> Block:
        """The block of a group of parameters with these distributions."""
        # A part of a configuration may come again with other values of the rest.
        is_part = _key(space) in self._used_up or not self.groups.is_whole(space)
        key = (_key(space), is_part)
        if key not in self._blocks:
            while len(self._blocks) >= _MAX_BLOCKS:
                self._blocks.pop(next(iter(self._blocks)))
            made = Block(spec, dict(space), seed, self.directions, is_part=is_part)
            self._blocks[key] = made
        return self._blocks[key]

    def mark_used_up(self, space: dict[str, BaseDistribution]) -> None:
        """Notes that every configuration of a group has been proposed once."""
        self._used_up.add(_key(space))

    def drop_unsupported(self, space: dict[str, BaseDistribution]) -> dict[str, BaseDistribution]:
        """Leaves out what no `Space` can hold, and says so once."""
        for name, distribution in space.items():
            if not is_supported(distribution) and name not in self._unsupported_logged:
                self._unsupported_logged.add(name)
                logger.warning(
                    "%s: parameter %r has too many values for a Space and is drawn at random: %s",
                    _WHERE,
                    name,
                    distribution,
                )
        return {name: d for name, d in space.items() if is_supported(d)}


def _key(space: dict[str, BaseDistribution]) -> tuple[tuple[str, str], ...]:
    return tuple((name, repr(space[name])) for name in sorted(space))


def _draw(seed: int, number: int, name: str, distribution: BaseDistribution) -> Any:
    """A random value of a distribution; the same one for the same seed, trial and name."""
    rng = np.random.default_rng([seed, number, zlib.crc32(name.encode())])
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(rng.integers(len(distribution.choices)))]
    is_integer = isinstance(distribution, IntDistribution)
    low, high = (float(getattr(distribution, end)) for end in ("low", "high"))
    step = getattr(distribution, "step", None)
    if getattr(distribution, "log", False):
        half = 0.5 if is_integer else 0.0
        value = math.exp(rng.uniform(math.log(low - half), math.log(high + half)))
    elif step is not None:
        if is_integer:  # of any size
            count = (distribution.high - distribution.low) // step + 1  # type: ignore[attr-defined]
        else:
            count = round((high - low) / step) + 1
        index = int(rng.integers(count)) if count < 2**63 else int(rng.random() * count)
        value = distribution.low + index * step  # type: ignore[attr-defined]
    else:
        value = rng.uniform(low, high)
    value = round(value) if is_integer else float(value)
    return min(max(value, distribution.low), distribution.high)  # type: ignore[attr-defined]


__all__ = ["FoldPruner", "JaxhpoSampler", "import_study"]
