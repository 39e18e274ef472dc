"""How many trials a sampler may propose before it has to learn their outcomes."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from jaxhpo._base import Sampler, name_of, proposal_shape, settings_of
from jaxhpo._checks import is_traced
from jaxhpo.samplers._traits import traits_of

logger = logging.getLogger("jaxhpo")

MAX_BATCH = 4096
"""Trials a batch where nothing is learned between batches: a transaction of a second or two."""

_HANDFUL = 8
# Where settings keep the settings of what they are made of.
_PARTS = ("options", "base", "region", "samplers", "sampler")


class Batching(NamedTuple):
    """Sizes of batches, which end at fixed numbers of trials: at `first`, and each `size` later.

    Attributes:
        name: what the sampler is called.
        first: trials of the first batch.
        size: trials of any other.
        learns: whether what is told changes what is proposed.
    """

    name: str
    first: int
    size: int
    learns: bool

    def count_at(self, number: int) -> int:
        """Trials from this number on up to the end of its batch."""
        if number < self.first:
            return self.first - number
        return self.size - (number - self.first) % self.size

    @property
    def words(self) -> str:
        """One sentence for people; empty where batches make no difference."""
        if not self.learns:
            return ""
        first = f"{self.first} trials first, then " if self.first != self.size else ""
        return f"{self.name} learns between batches: {first}{self.size} at a time"


def batching_of(sampler: Sampler) -> Batching:
    """The batches that a sampler can use.

    Args:
        sampler: any sampler.

    Returns:
        As many trials as one likes where values are ignored (`MAX_BATCH`); a generation of a
        population; otherwise the trials that a start-up design has, then a handful.
    """
    settings = settings_of(sampler)
    name = name_of(sampler)
    rows = _rows_of(sampler)
    if not learns(sampler):
        return Batching(name, MAX_BATCH, MAX_BATCH, False)
    generation = max(_found(settings, "population_size"), default=0)
    size = _whole(generation or max(_HANDFUL, rows), rows)
    first = _whole(max(_found(settings, "num_startup"), default=size), rows)
    return Batching(name, first, size, True)


def warn_of_large_batch(where: str, sampler: Sampler, batch_size: int, num_trials: int) -> None:
    """Says what is lost where a sampler that learns proposes many trials before it can.

    Args:
        where: the public function.
        sampler: any sampler.
        batch_size: trials proposed together.
        num_trials: trials in all.
    """
    count = min(batch_size, num_trials)
    if count <= _HANDFUL:
        return
    own = batching_of(sampler)
    if own.learns and count > max(own.first, 2 * own.size):
        logger.warning(
            "%s: batch_size=%d lets %s propose %d trials before it learns what became of the "
            "first. In batches of %d it would learn between them.",
            where, batch_size, own.name, count, own.size,
        )  # fmt: skip


def startup_of(sampler: Sampler) -> int:
    """Trials of a sampler's own start-up design, from which on it has a model; 0 without one."""
    return max(_found(settings_of(sampler), "num_startup"), default=0)


def _whole(count: int, rows: int) -> int:
    """The next multiple of the batch size of one ask."""
    return -(-count // rows) * rows


def learns(sampler: Sampler) -> bool:
    """Whether values change what a sampler, or a part of it, proposes."""
    settings = settings_of(sampler)
    inner = getattr(settings, "samplers", None)
    if name_of(sampler) == "warm_start":
        inner = (settings.sampler,)
    if isinstance(inner, tuple | list) and inner:
        return any(learns(one) for one in inner)
    return not traits_of(name_of(sampler)).ignores_values


def _rows_of(sampler: Sampler) -> int:
    """Points of one ask."""
    return int(proposal_shape(sampler).shape[0])


def _found(settings: Any, name: str) -> Iterator[int]:
    """The whole numbers of this name in settings and in those of their parts."""
    if isinstance(settings, Sampler):
        settings = settings_of(settings)
    if isinstance(settings, tuple | list) and not hasattr(settings, "_fields"):
        for part in settings:
            yield from _found(part, name)
    value: Any = getattr(settings, name, None)
    # An array where it is no part of the program's structure; unknown while something is traced.
    is_number = isinstance(value, jax.Array) and value.shape == () and not is_traced(value)
    if isinstance(value, int) or is_number:
        yield int(value)
    if dataclasses.is_dataclass(settings):
        for part in _PARTS:
            yield from _found(getattr(settings, part, None), name)
