"""How to make a sampler: its name and settings, checked before there is a space."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxhpo import _checks, samplers
from jaxhpo._base import Sampler
from jaxhpo.samplers.internal import check_objectives, constraint_settings, traits_of
from jaxhpo.space import Space
from jaxhpo.space.internal import columns_of, nameless

_SMALLEST_WIDTH, _LARGEST_WIDTH = 4, 32

Factory = Callable[..., Sampler]


@jax.tree_util.register_pytree_node_class
class Repeatable(Space):
    """A part of larger configurations: each of its points may be proposed again and again."""

    may_repeat = True


class SamplerSpec:
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
                        f"{self.where}: `{name}` is not a setting of {self.sampler!r}; its "
                        f"settings are {names}."
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

    def for_repeats(self) -> SamplerSpec:
        """What proposes a discrete part of configurations, whose points come again and again.

        Most samplers never repeat a point, and a model of a function gains little from it. So
        `tpe`, which counts, takes the place of those that learn.
        """
        is_one = self.sampler == "tpe" or traits_of(self.sampler).ignores_values
        return self if is_one else SamplerSpec(self.where, "tpe", {})

    def searched(self, space: Space) -> Space:
        """What the sampler is to be made for: the space, or its columns where all share a program.

        Args:
            space: what is searched.

        Returns:
            A space of at least as many coordinates, of which the first are those of `space`.
        """
        if not isinstance(self.sampler, str) or sees_space(self.settings):
            return space
        takes_columns = traits_of(self.sampler).takes_columns
        columns = columns_of(space, padded_width(space.num_dims)) if takes_columns else None
        return nameless(space) if columns is None else columns

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


def sees_space(settings: Mapping[str, Any]) -> bool:
    """Whether settings speak of dimensions by name, or hold a function that may see values."""
    return any(isinstance(value, Mapping) or callable(value) for value in settings.values())


def bare_space(space: Space, settings: Mapping[str, Any]) -> Space:
    """What a sampler by name is made for, so that as many spaces as can be share its programs.

    Args:
        space: what is searched.
        settings: of the sampler.

    Returns:
        A space of the same coordinates: `space` itself where the settings see more of it.
    """
    return space if sees_space(settings) else nameless(space)


def padded_width(num_dims: int) -> int:
    """Columns of the program that serves spaces of so many dimensions.

    A power of two, up to where more columns than needed cost time.
    """
    if num_dims > _LARGEST_WIDTH:
        return num_dims
    return max(_SMALLEST_WIDTH, 1 << max(num_dims - 1, 0).bit_length())
