"""A group of parameters with the sampler that proposes them and the trials that had them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from jaxhpo._direction import to_minimized
from jaxhpo.ask_tell import HostSampler, Repeatable, SamplerSpec
from jaxhpo.integrations.optuna._groups import fits
from jaxhpo.space import Space, choice, integer, log_uniform, quantized, uniform
from jaxhpo.study.internal import internal_value

# Up to so many numbers, an order says less than counts do.
_FEW_LEVELS = 8


class _Proposal(NamedTuple):
    """What was proposed for a trial: its unit row and its values by name."""

    unit: np.ndarray
    params: dict[str, Any]


class Block:
    """Proposes one group of parameters, and keeps its sampler in step with a study's trials."""

    def __init__(
        self,
        spec: SamplerSpec,
        distributions: dict[str, BaseDistribution],
        seed: int,
        directions: Sequence[str],
        *,
        is_part: bool = False,
    ) -> None:
        """Makes the group's space and its sampler.

        Args:
            spec: which sampler.
            distributions: the group; what `is_supported` refuses is left out by the caller.
            seed: of everything.
            directions: "minimize" or "maximize", one per objective.
            is_part: whether trials have more parameters than these, or have tried all that there
                is: the values of a discrete group are then proposed again.
        """
        # Parameters of one kind stand together under plain names, so that groups of equal shape
        # share compiled programs whatever the user called their parameters.
        self.names = sorted(distributions, key=lambda name: (_kind(distributions[name]), name))
        self.distributions = distributions
        labels = [f"p{i:03d}" for i in range(len(self.names))]
        if spec.needs_names:
            labels = self.names
        self._labels = labels
        may_repeat = is_part and is_discrete(distributions.values())
        if may_repeat:
            spec = spec.for_repeats()
        # In a part, tpe counts how often which of a few values was good.
        most = _FEW_LEVELS if is_part and spec.sampler == "tpe" else 0
        self._listed = {name: v for name, d in distributions.items() if (v := _listed(d, most))}
        tree = {
            label: choice(list(range(len(self._listed[name]))))
            if name in self._listed
            else _dimension(distributions[name])
            for label, name in zip(labels, self.names, strict=True)
        }
        # A grid has no points but its own, so it begins anew.
        self._starts_over = may_repeat and spec.sampler == "grid"
        space = (Repeatable if may_repeat else Space)(tree)
        self._directions = tuple(directions)
        # It follows one value: by how many trials a trial is dominated.
        self._by_rank = spec.sampler == "tpe" and len(directions) > 1
        count = 1 if self._by_rank else len(directions)
        self._sampler = HostSampler(spec, space, seed, "\n".join(self.names), count)
        self.clock = self._sampler.clock
        self._asked: dict[int, _Proposal | None] = {}
        self._told: set[int] = set()
        # Trials of other processes that count as failed until they end.
        self._assumed_failed: set[int] = set()

    def propose(self, number: int, trials: Sequence[FrozenTrial]) -> dict[str, Any] | None:
        """Values for a trial, the same ones if it is asked again.

        Args:
            number: the trial's number.
            trials: the study so far.

        Returns:
            Values by name, or None where the space has no further point.
        """
        if number not in self._asked:
            self._sync(trials, number)
            proposal = self._sampler.ask(number)
            if proposal is None and self._starts_over:
                self._sampler.reset()
                proposal = self._sampler.ask(number)
            asked = None
            if proposal is not None:
                asked = _Proposal(proposal[0], self._values(proposal[1]))
            self._asked[number] = asked
        found = self._asked[number]
        return None if found is None else found.params

    def _values(self, params: dict[str, Any]) -> dict[str, Any]:
        found = {}
        for label, name in zip(self._labels, self.names, strict=True):
            distribution, value = self.distributions[name], params[label]
            if name in self._listed:
                found[name] = self._listed[name][value]
            elif isinstance(distribution, IntDistribution):
                found[name] = int(value)
            elif isinstance(distribution, FloatDistribution):
                found[name] = float(min(max(value, distribution.low), distribution.high))
        return found

    def _sync(self, trials: Sequence[FrozenTrial], now: int) -> None:
        """Tells the sampler of new trials; if a known one has changed, of all of them anew."""
        fresh = [trial for trial in trials if trial.number not in self._told]
        fresh = [trial for trial in fresh if self._matters(trial, now)]
        has_changed = any(self._has_other_params(trial) for trial in fresh)
        if has_changed or self._has_newly_ended(trials) or (self._by_rank and fresh):
            self._sampler.reset()
            self._told.clear()
            self._assumed_failed.clear()
            fresh = [trial for trial in trials if self._is_usable(trial, now)]
        self._tell(fresh)

    def _matters(self, trial: FrozenTrial, now: int) -> bool:
        is_ours = self._asked.get(trial.number) is not None
        if trial.state.is_finished():
            return is_ours or self._internal(trial) is not None
        # What this object asked is pending in the sampler's state already.
        return not is_ours and self._is_usable(trial, now)

    def _is_usable(self, trial: FrozenTrial, now: int) -> bool:
        """Whether the sampler should hear of a trial: it had all of the group's parameters."""
        is_waiting = trial.state is TrialState.WAITING
        return trial.number != now and not is_waiting and self._internal(trial) is not None

    def _has_other_params(self, trial: FrozenTrial) -> bool:
        """Whether a trial of ours ended with other parameters than it was given."""
        asked = self._asked.get(trial.number)
        return asked is not None and any(
            name not in trial.params or trial.params[name] != value
            for name, value in asked.params.items()
        )

    def _has_newly_ended(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether a trial has ended that counted as failed while it ran elsewhere."""
        if not self._assumed_failed:
            return False
        return any(t.number in self._assumed_failed and t.state.is_finished() for t in trials)

    def _tell(self, trials: Sequence[FrozenTrial]) -> None:
        if not trials:
            return
        foreign = [trial for trial in trials if not self._is_as_asked(trial)]
        params = [self._internal(trial) for trial in foreign]
        units = self._sampler.unit_of(params) if params else np.zeros((0, 0))
        rows = dict(zip((trial.number for trial in foreign), units, strict=True))
        unit = np.stack([
            rows[t.number] if t.number in rows else self._asked[t.number].unit  # type: ignore[union-attr]
            for t in trials
        ])  # fmt: skip
        value = np.stack([self._value(trial) for trial in trials])
        if self._by_rank:
            value = _num_dominating(value)[:, None]
        violation = None
        if any(trial.constraints for trial in trials):
            violation = np.asarray([max(t.constraints.values(), default=0.0) for t in trials])
        self._sampler.tell(unit, value, violation)
        self._told.update(trial.number for trial in trials)
        self._assumed_failed.update(t.number for t in trials if not t.state.is_finished())

    def _is_as_asked(self, trial: FrozenTrial) -> bool:
        return self._asked.get(trial.number) is not None and not self._has_other_params(trial)

    def _value(self, trial: FrozenTrial) -> np.ndarray:
        """What to minimise `[m]`; NaN for a trial that failed or still runs elsewhere."""
        if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED) or not trial.values:
            return np.full(len(self._directions), np.nan)
        value = to_minimized(np.asarray(trial.values, np.float64), self._directions)
        return np.where(np.isfinite(value).all(), value, np.nan)

    def _internal(self, trial: FrozenTrial) -> dict[str, Any] | None:
        """A trial's params in the space's own form, or None if it lacks some or one is outside."""
        found = {}
        for label, name in zip(self._labels, self.names, strict=True):
            if name not in trial.params:
                return None
            distribution = self.distributions[name]
            try:
                number = internal_value(distribution, trial.params[name])
            except (ValueError, TypeError):
                return None
            if not fits(distribution, number):
                return None
            if not isinstance(distribution, CategoricalDistribution) and name in self._listed:
                listed = np.asarray(self._listed[name], np.float64)
                number = int(np.argmin(np.abs(listed - number)))
            is_real = isinstance(distribution, FloatDistribution) and name not in self._listed
            found[label] = float(number) if is_real else int(number)
        return found


def _num_dominating(value: np.ndarray) -> np.ndarray:
    """By how many of `[n, m]` values each is dominated, `[n]`; NaN where one is NaN."""
    is_complete = ~np.isnan(value).any(axis=1)
    known = value[is_complete]
    counts = [np.sum((known <= one).all(axis=1) & (known < one).any(axis=1)) for one in known]
    found = np.full(len(value), np.nan)
    found[is_complete] = counts
    return found


def is_supported(distribution: BaseDistribution) -> bool:
    """Whether a `Space` has a dimension for a distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return True
    try:
        _dimension(distribution)
    except (ValueError, TypeError):  # more numbers than a float64 can count
        return False
    return True


def is_discrete(distributions: Iterable[BaseDistribution]) -> bool:
    """Whether a group has finitely many configurations."""
    return not any(isinstance(d, FloatDistribution) and d.step is None for d in distributions)


def _kind(distribution: BaseDistribution) -> tuple[str, bool, bool, int]:
    """What decides the shape of a dimension's program."""
    step = isinstance(distribution, FloatDistribution) and distribution.step is not None
    choices = len(getattr(distribution, "choices", ()))
    return type(distribution).__name__, bool(getattr(distribution, "log", False)), step, choices


def _listed(distribution: BaseDistribution, most: int) -> tuple[Any, ...]:
    """The values that count as unordered options: choices, and numbers if at most so many."""
    if isinstance(distribution, CategoricalDistribution):
        return tuple(distribution.choices)
    low, high, step = (getattr(distribution, name) for name in ("low", "high", "step"))
    if step is None or (high - low) / step > most - 0.5:
        return ()
    values = tuple(low + i * step for i in range(round((high - low) / step) + 1))
    return values if isinstance(distribution, IntDistribution) else tuple(map(float, values))


def _dimension(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, IntDistribution):
        step = 1 if distribution.log else distribution.step
        return integer(distribution.low, distribution.high, step=step, log=distribution.log)
    assert isinstance(distribution, FloatDistribution)
    if distribution.step is not None:
        return quantized(distribution.low, distribution.high, distribution.step)
    dimension = log_uniform if distribution.log else uniform
    return dimension(distribution.low, distribution.high)
