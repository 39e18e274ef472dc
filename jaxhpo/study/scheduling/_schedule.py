"""Under a rule: which trial to run next, up to where, and what becomes of those that are left."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jaxhpo._checks import fail
from jaxhpo._status import Status
from jaxhpo.study.scheduling._left_behind import warn_of_left
from jaxhpo.study.scheduling._population import Population
from jaxhpo.study.scheduling._populations import Populations
from jaxhpo.study.scheduling._rule import Rule
from jaxhpo.study.storage._records import Record
from jaxhpo.study.storage._rows import SCHEDULE

if TYPE_CHECKING:
    from jaxhpo.study._core import StudyCore
    from jaxhpo.study._trial import Trial
    from jaxhpo.study.reporting._source import Source
    from jaxhpo.study.reporting._tasks import Task

logger = logging.getLogger("jaxhpo")


class Schedule:
    """The trials that a study runs under a scheduler, population by population.

    Attributes:
        num_left: trials that this run may still begin.
        num_begun: trials that it has begun.
        is_waiting: whether nothing can be run before other processes have got further.
        judge: whether a trial goes on after a report.
    """

    def __init__(
        self,
        where: str,
        study: StudyCore,
        source: Source,
        scheduler: Any,
        *,
        num_trials: int,
        num_steps: int,
        on_ended: Callable[[Sequence[Trial]], Any],
    ) -> None:
        """Checks the scheduler.

        Args:
            where: the function to name in errors.
            study: the study.
            source: begins its trials, and takes them up again.
            scheduler: as in `Study.optimize`.
            num_trials: trials that this run may begin.
            num_steps: reports of a whole trial.
            on_ended: is told of trials that the rule has ended while they waited.
        """
        self._study, self._source = study, source
        self._all = Populations(
            where,
            study._store,
            scheduler,
            num_steps=num_steps,
            seed=study._meta["seed"],
            direction=study.direction,
            is_resumable=source.is_resumable,
        )
        self.judge = self._all.judge
        self.num_left, self.num_begun, self.is_waiting = num_trials, 0, False
        self._on_ended = on_ended
        rule = self._all.rule(max(num_trials, 1))
        if not source.is_resumable and rule.waits_for_others:
            expected = (
                "'asha', or another rule that does not wait for a whole rung, unless the objective "
                "takes `checkpoint` and so can be paused"
            )
            raise fail(where, "scheduler", expected, rule.text.partition("-")[0])

    def next(self) -> Task | None:
        """The next piece of a trial to run; None if there is none now (see `is_waiting`)."""
        self.is_waiting = False
        while True:
            self._all.refresh()
            number, population = self._all.open()
            if population is None:
                return self._begin(number, self._all.rule(self.num_left)) if self.num_left else None
            if not self._source.is_resumable:
                return self._begin(number, population.rule) if self.num_left else None
            decision = population.decide()
            if self._stop(population, decision.status):
                continue
            if decision.trial < 0:
                if population.num_running:
                    self.is_waiting = True
                    return None
                self._prune(population.waiting())
                continue
            if decision.trial >= len(population.records):
                if not self.num_left:
                    return None
                task = self._begin(number, population.rule)
                if task is not None or not population.has_room:
                    return task
                population.close()  # the sampler has no further point
                continue
            record = population.records[decision.trial]
            task = self._source.resume(record.number)
            if task is not None:
                task.level = decision.level
                return task

    def warn_of_waiting(self) -> None:
        """Says which trials wait for others that this run may not begin any more."""
        _, population = self._all.open()
        if population is None or population.num_running:
            return
        if num_waiting := population.num_waiting:
            logger.warning(
                "study %r: %d trials wait for the rest of their population, of which %d of %d are "
                "still to begin: run as many more with the same scheduler.",
                self._study.name,
                num_waiting,
                population.rule.size - len(population.records),
                population.rule.size,
            )

    @property
    def awaited(self) -> list[Record]:
        """The running trials of the population that is open."""
        _, population = self._all.open()
        return [] if population is None else [r for r in population.records if r.state == "RUNNING"]

    def warn_of_left(self) -> None:
        """Says which trials wait for another rule than this one."""
        self._all.refresh()
        mine = [one.number for each in self._all.populations() for one in each.records]
        warn_of_left(self._study, mine)

    def _begin(self, number: int, rule: Rule) -> Task | None:
        """Begins a trial in a population; None if the sampler has no further point."""
        entry = [self._all.text(rule), number, rule.size, list(rule.levels)]
        for task in self._source.begin(1, {SCHEDULE: entry}):
            self._all.refresh()
            population = self._all.of_trial[task.trial_id]
            if population.row_of(task.trial_id) is None:
                # Another process began the last one at the same time: this one waits for the next.
                self._source.drop(task)
                return self.next()
            self.num_left, self.num_begun = self.num_left - 1, self.num_begun + 1
            task.level = rule.levels[0]
            return task
        return None

    def _stop(self, population: Population, status: Any) -> bool:
        """Ends the waiting trials that the rule has stopped; whether there were any."""
        stopped = population.waiting(status == Status.PRUNED)
        self._prune(stopped)
        return bool(stopped)

    def _prune(self, records: Sequence[Record]) -> None:
        """Ends waiting trials as pruned."""
        if ended := self._source.prune([one.number for one in records]):
            self._on_ended(ended)
