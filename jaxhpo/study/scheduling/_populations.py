"""The populations of a rule as the storage has them, and which trials go on after a report."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from jaxhpo._direction import Direction
from jaxhpo._status import Status
from jaxhpo.schedulers import Scheduler
from jaxhpo.study.scheduling._population import Population
from jaxhpo.study.scheduling._rule import Rule
from jaxhpo.study.storage._records import Record, Records
from jaxhpo.study.storage._rows import SCHEDULE

if TYPE_CHECKING:
    from jaxhpo.study.reporting._tasks import Task
    from jaxhpo.study.storage._store import Store


class Populations:
    """What every process that runs a rule knows of it, driver or worker: all of them decide alike.

    A population is known by what its trials carry: the rule, the population's number, and its size.
    Several processes that run the same rule share the populations that are not complete.

    Attributes:
        of_trial: the population of each trial, by identifiers.
    """

    def __init__(
        self,
        where: str,
        store: Store,
        scheduler: Any,
        *,
        num_steps: int,
        seed: int,
        direction: Direction,
        is_resumable: bool,
    ) -> None:
        """Nothing is read yet.

        Args:
            where: the function to name in errors.
            store: the study's rows.
            scheduler: as in `Study.optimize`.
            num_steps: reports of a whole trial.
            seed: the study's.
            direction: the study's.
            is_resumable: whether trials that do not go on can wait.
        """
        self._where, self._scheduler, self._num_steps = where, scheduler, num_steps
        self._seed, self._direction, self._is_resumable = seed, direction, is_resumable
        self._records = Records(store)
        self._rules: dict[int, Rule] = {}
        self._known: dict[tuple[int, str], Population] = {}
        self._next_number = 0
        self.of_trial: dict[int, Population] = {}

    def judge(self, task: Task) -> Status | None:
        """Whether a trial goes on after a report."""
        levels = self._levels_of(task)
        if task.step < task.level or task.step not in levels[:-1]:
            return None
        self.refresh()
        population = self.of_trial[task.trial_id]
        row = population.row_of(task.trial_id)
        if row is None:  # one with a smaller number has taken its place
            return Status.PRUNED
        if not self._is_resumable:
            return None if population.goes_on(task.trial_id) else Status.PRUNED
        decision = population.decide(task.trial_id)
        if decision.trial == row:
            task.level = decision.level
            return None
        return Status.PRUNED if decision.status[row] == Status.PRUNED else Status.WAITING

    def rule(self, size: int) -> Rule:
        """The rule for populations of a size; a ready-made scheduler has its own."""
        size = 0 if isinstance(self._scheduler, Scheduler) else size
        if size not in self._rules:
            self._rules[size] = Rule(
                self._where, self._scheduler, size, self._num_steps, self._seed
            )
        return self._rules[size]

    def text(self, rule: Rule) -> str:
        """What tells the rule of a trial from others."""
        return f"{rule.text}-{'resumed' if self._is_resumable else 'stopped'}"

    def refresh(self) -> None:
        """Takes note of all that was recorded since the last time, by whichever process."""
        for record in sorted(self._records.refresh(), key=lambda one: one.number):
            population = self._population_of(record)
            before = self.of_trial.get(record.trial_id)
            if before is not None and before is not population:
                before.remove(record)
                del self.of_trial[record.trial_id]
            if population is not None:
                self.of_trial[record.trial_id] = population
                population.update(record)

    def populations(self) -> Iterable[Population]:
        """All that are known."""
        return self._known.values()

    def open(self) -> tuple[int, Population | None]:
        """The first population that is not complete, or the number of a new one."""
        for (number, _), population in sorted(self._known.items()):
            is_open = population.has_room
            if self._is_resumable:
                is_open |= population.num_running + population.num_waiting > 0
            if is_open:
                return number, population
        return self._next_number, None

    def _levels_of(self, task: Task) -> tuple[int, ...]:
        """The steps at which a trial is judged."""
        if task.trial_id not in self.of_trial:  # a worker has not seen it before
            self.refresh()
        return tuple(self.of_trial[task.trial_id].rule.levels)

    def _population_of(self, record: Record) -> Population | None:
        """The population that a trial belongs to; None if that is none of this rule."""
        found = record.own.get(SCHEDULE)
        if found is None:
            return None
        text, number, size, *_ = found
        self._next_number = max(self._next_number, number + 1)
        if (number, text) not in self._known:
            rule = self.rule(size)
            if rule.size != size or self.text(rule) != text:
                return None
            self._known[number, text] = Population(rule, str(self._direction))
        return self._known[number, text]
