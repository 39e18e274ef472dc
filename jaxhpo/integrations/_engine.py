"""A sampler on the host, for systems that own the trials: ask by number, tell what ended.

Nothing here is stored. The point of trial `i` follows from the seed, from `i` and from what has
been told, so a worker that starts anew and is told the same trials goes on as the old one would.
"""

from __future__ import annotations

import inspect
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import numpy as np

from jaxhpo import _checks, samplers
from jaxhpo._base import Sampler
from jaxhpo._driver import Driver, asked_shape
from jaxhpo._progress import told_if_slow
from jaxhpo.samplers._traits import check_objectives, constraint_settings, traits_of
from jaxhpo.space import Space

Factory = Callable[..., Sampler]


@jax.tree_util.register_pytree_node_class
class Repeatable(Space):
    """A part of larger configurations: each of its points may be proposed again and again."""

    may_repeat = True


class Recipe:
    """How to make a sampler for a space that is not known yet; checked when it is written down."""

    def __init__(
        self,
        where: str,
        sampler: Any,
        settings: Mapping[str, Any],
        *,
        has_constraints: bool = False,
    ) -> None:
        """Checks the name and the settings.

        Args:
            where: the public class, for errors.
            sampler: a name from `jaxhpo.samplers.names()`, or a function of a space that returns a
                `Sampler`.
            settings: the factory's settings.
            has_constraints: whether trials say by how much they violate constraints.

        Raises:
            TypeError: neither a name nor a function, or a setting that the factory does not have.
            ValueError: an unknown name, or a setting out of range.
        """
        if isinstance(sampler, Sampler) or not (isinstance(sampler, str) or callable(sampler)):
            expected = f"a name ({', '.join(samplers.names())}) or a function of a space"
            got = _checks.describe(sampler)
            raise TypeError(f"{where}: `sampler` must be {expected}, got {got}.")
        self.where, self.sampler = where, sampler
        known = constraint_settings(sampler) if has_constraints else {}
        self.settings = {**known, **settings}
        # Settings that speak of dimensions by name need the real names.
        self.needs_names = any(isinstance(value, Mapping) for value in settings.values())
        self._check()

    def _check(self) -> None:
        """Tries the settings on a small space, so that errors come where they are written."""
        from jaxhpo.space import uniform

        if traits_of(self.sampler).needs_gradients:
            expected = "one that needs no gradient, since trials from outside have none"
            raise _checks.fail(self.where, "sampler", expected, self.sampler)
        if isinstance(self.sampler, str):
            known = inspect.signature(self._factory()).parameters
            for name in self.settings:
                if name not in known:
                    names = ", ".join(key for key in known if key != "space")
                    raise TypeError(
                        f"{self.where}: `{name}` is no setting of {self.sampler!r}; it has {names}."
                    )
        if isinstance(self.sampler, str) and not self.needs_names:
            self.make(Space({"p00": uniform(0.0, 1.0), "p01": uniform(0.0, 1.0)}))

    def _factory(self) -> Factory:
        if not isinstance(self.sampler, str):
            factory: Factory = self.sampler
            return factory
        if self.sampler not in samplers.names():
            expected = f"one of {', '.join(samplers.names())}"
            raise _checks.fail(self.where, "sampler", expected, self.sampler)
        named: Factory = getattr(samplers, self.sampler)
        return named

    @property
    def plans_ahead(self) -> bool:
        """Whether the points fill one fixed space evenly, whatever their values."""
        return traits_of(self.sampler).plans_ahead

    def for_repeats(self) -> Recipe:
        """What proposes a discrete part of configurations, whose points come again and again.

        Most samplers never repeat a point, and a model of a function gains little from it. So
        `tpe`, which counts, takes the place of those that learn.
        """
        is_one = self.sampler == "tpe" or traits_of(self.sampler).ignores_values
        return self if is_one else Recipe(self.where, "tpe", {})

    def make(self, space: Space, num_objectives: int = 1) -> Sampler:
        """Makes the sampler.

        Args:
            space: what it searches.
            num_objectives: values of one trial.

        Raises:
            ValueError: the sampler does not take so many objectives.
        """
        factory, extra = self._factory(), {}
        if "num_objectives" in inspect.signature(factory).parameters:
            extra = {"num_objectives": num_objectives}
        made = factory(space, **{**self.settings, **extra})
        if num_objectives > 1:
            check_objectives(self.where, made, num_objectives)
        return made


class Engine:
    """One sampler over one space, with its state."""

    def __init__(
        self, recipe: Recipe, space: Space, seed: int, label: str, num_objectives: int
    ) -> None:
        """Makes the sampler; nothing is compiled yet.

        Args:
            recipe: which sampler.
            space: what is searched.
            seed: of everything.
            label: names this space among others of the same seed, whose draws must differ.
            num_objectives: values of one trial.
        """
        self._space = space
        sampler = recipe.make(space, num_objectives)
        self._driver = Driver(sampler, space, (seed, zlib.crc32(label.encode())), num_objectives)
        self._rows_an_ask: int = asked_shape(sampler).shape[0]
        self._num_objectives = num_objectives
        self._where, self._has_asked = recipe.where, False
        self.reset()

    def reset(self) -> None:
        """Forgets everything that was told and asked."""
        self._driver.reset()
        self._queue: deque[tuple[np.ndarray, Any]] = deque()
        self._held = 0

    def ask(self, number: int) -> tuple[np.ndarray, Any] | None:
        """Proposes the point of a trial.

        Args:
            number: the trial's number; it decides the draws.

        Returns:
            The unit row `[d]` and the params, or None where the space has no further point.
        """
        if not self._queue:
            with self._waiting():
                self._driver.make_room(self._held + self._rows_an_ask)
                unit, values = self._driver.ask(number)
            self._held += len(unit)
            rows = self._space.decode(values)
            has_point = ~np.isnan(unit).any(axis=1)
            self._queue.extend((unit[i], rows[i]) for i in np.flatnonzero(has_point))
        return self._queue.popleft() if self._queue else None

    def _waiting(self) -> AbstractContextManager[None]:
        """Says once what takes so long where the first proposal does."""
        if self._has_asked:
            return nullcontext()
        self._has_asked = True
        return told_if_slow(f"{self._where}: the sampler is being compiled for its first proposal")

    def tell(self, unit: np.ndarray, value: np.ndarray, violation: np.ndarray | None) -> None:
        """Says what became of points, asked or not.

        Args:
            unit: `[n, d]`.
            value: `[n, m]` to minimise; NaN where a trial failed.
            violation: `[n]` largest violation, or None without constraints.
        """
        if len(unit) == 0:
            return
        self._held += len(unit)
        self._driver.make_room(self._held + self._rows_an_ask)
        shaped = value if self._num_objectives > 1 else value[:, 0]
        self._driver.tell(self._held, unit, shaped, violation)

    def unit_of(self, params: list[Any]) -> np.ndarray:
        """Unit points `[n, d]` of params that lie in the space."""
        return np.asarray(self._space.to_unit(self._space.encode(params, np.float64)))
