"""Which parameters of a define-by-run study belong together."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState


class Groups:
    """Parameters that appear in the same trials, found from the complete trials one by one.

    An objective that always asks for the same parameters makes one group. A branch of a conditional
    one adds a group: those parameters that were there just when the branch was taken. Each group
    can be searched as a space of its own, with the trials that had it as its history.
    """

    def __init__(self) -> None:
        self._latest: dict[str, BaseDistribution] = {}
        self._counts: dict[frozenset[str], int] = {}
        self._seen: set[int] = set()

    def update(self, trials: Sequence[FrozenTrial]) -> None:
        """Takes note of trials that have become complete."""
        for trial in trials:
            if trial.state is TrialState.COMPLETE and trial.number not in self._seen:
                self._seen.add(trial.number)
                self._split(trial.distributions)

    def _split(self, distributions: dict[str, BaseDistribution]) -> None:
        names = frozenset(name for name, d in distributions.items() if not d.single())
        self._latest.update({name: distributions[name] for name in names})
        counts: dict[frozenset[str], int] = {}
        for group, count in self._counts.items():
            if both := group & names:
                counts[both] = count + 1
            if rest := group - names:
                counts[rest] = count
        if fresh := names.difference(*self._counts):
            counts[fresh] = 1
        self._counts = counts

    @property
    def common(self) -> dict[str, BaseDistribution]:
        """Parameters of every complete trial, in alphabetical order; empty before the first."""
        groups = [group for group, count in self._counts.items() if count == len(self._seen)]
        return self._space_of(groups[0]) if groups else {}

    def of(self, name: str, distribution: BaseDistribution) -> dict[str, BaseDistribution] | None:
        """The group that a parameter belongs to.

        Args:
            name: the parameter.
            distribution: what it was asked with now.

        Returns:
            The group with its latest distributions, or None where the parameter has not been seen
            with this distribution.
        """
        if self._latest.get(name) != distribution:
            return None
        return next((self._space_of(group) for group in self._counts if name in group), None)

    def is_whole(self, names: Iterable[str]) -> bool:
        """Whether these are all parameters that any complete trial had."""
        return set(self._counts) == {frozenset(names)}

    def _space_of(self, group: frozenset[str]) -> dict[str, BaseDistribution]:
        return {name: self._latest[name] for name in sorted(group)}


def fits(distribution: BaseDistribution, internal: Any) -> bool:
    """Whether a stored number lies in a distribution."""
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        return bool(0 <= internal < len(choices))
    low, high, step = (getattr(distribution, name) for name in ("low", "high", "step"))
    if not low <= internal <= high:
        return False
    steps = 0.0 if not step or getattr(distribution, "log", False) else (internal - low) / step
    # A number far from 0 cannot lie on a fine grid more closely than its own rounding.
    rounding = 4 * sys.float_info.epsilon * abs(internal) / step if step else 0.0
    return abs(steps - round(steps)) < 1e-8 + rounding
