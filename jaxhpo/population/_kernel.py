"""The one compiled program of a sweep: initialise, advance and evaluate a chunk of trials.

A chunk is `[groups, width]` lanes: the lanes of a group run side by side under `vmap`, the groups
one after the other in a loop whose length is traced, so that padding costs nothing. With one group
this is plain `vmap`; with `width=1` it is a compiled loop over trials.

Everything that differs between calls is an argument: which trials, their hyperparameters, the first
and last step. So a sweep needs one compilation, whatever the values and the number of chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxhpo.population._trace import TracedTraining
from jaxhpo.training.internal import trial_keys

AXIS = "trials"
# The key of the data order that all trials share is the fold of a number that no trial has.
_SHARED_ORDER = np.uint32(0xFFFFFFFF)


class Lanes(NamedTuple):
    """Which trials a call runs.

    Attributes:
        trial: `[groups, width]` int32 places in the sweep; -1 pads.
        draw: `[groups, width]` uint32 numbers that the sweep's key is folded with, or the trials'
            own keys.
        leaves: hyperparameter leaves `[groups, width, ...]`.
    """

    trial: Any
    draw: Any
    leaves: Any


class Best(NamedTuple):
    """The best finished trial that a worker has seen, one per device (leading axis 1).

    Attributes:
        loss: `[1]`, infinite before the first.
        trial: `[1]` int32, -1 before the first.
        state: its state leaves `[1, ...]`.
    """

    loss: Any
    trial: Any
    state: Any


class Carry(NamedTuple):
    """What a worker hands from one call to the next; the buffers are donated.

    Attributes:
        state: state leaves `[groups, width, ...]`.
        alive: `[groups, width]` bool, trials that have not failed.
        best: see `Best`.
    """

    state: Any
    alive: Any
    best: Best


def build_program(
    traced: TracedTraining, num_steps: int, width: int, share_data_order: bool
) -> Callable[..., tuple[Any, Carry]]:
    """Builds `program(consts, key, lanes, carry, start, stop) -> (loss, carry)` for one device.

    Args:
        traced: the unbatched training.
        num_steps: last step of a trial; a call that stops there updates `carry.best`.
        width: lanes a group; static.
        share_data_order: whether all trials step with one key; static.

    Returns:
        The program; `loss` is `[groups, width]`, NaN where a trial has failed.
    """
    batch = _batched(traced, width, share_data_order)
    begin = _beginning(batch, share_data_order)

    def program(
        consts: Any, key: Any, lanes: Lanes, carry: Carry, start: Any, stop: Any
    ) -> tuple[Any, Carry]:
        losses = jnp.full(lanes.trial.shape, jnp.nan, traced.loss_dtype)

        def run_group(g: Any, loop: tuple[Any, Carry]) -> tuple[Any, Carry]:
            losses, carry = loop
            here, step_key, old, alive = begin(
                consts, key, _read(g, (lanes, carry.state, carry.alive)), start
            )
            new = batch.run(consts, step_key, here.leaves, old, alive, start, stop)
            loss = batch.loss(consts, here.leaves, new)
            new = _select(alive, new, old)
            alive = alive & jnp.isfinite(loss)
            loss = jnp.where(alive, loss, jnp.nan)
            best = _update_best(carry.best, loss, here.trial, new, stop == num_steps)
            state, alive = _write(g, (carry.state, carry.alive), (new, alive))
            return _write(g, losses, loss), Carry(state, alive, best)

        return jax.lax.fori_loop(0, _num_groups(lanes), run_group, (losses, carry))

    return program


def build_slopes(
    traced: TracedTraining, width: int, share_data_order: bool
) -> Callable[..., jax.Array]:
    """Builds `slopes(consts, key, lanes, carry, start, stop)` for one device.

    The loss at `stop` is differentiated forward, through the steps from `start` on and with the
    state there held fixed. So any number of steps needs the same memory, a state for each
    direction, and one program serves all intervals, whose lengths are traced.

    Args:
        traced: the unbatched training.
        width: lanes a group; static.
        share_data_order: whether all trials step with one key; static.

    Returns:
        The program. Its `lanes` are those of `build_program` with directions of the real leaves,
        `[groups, width, k, ...]`, and its result the derivatives along them, `[groups, width, k]`.
    """
    batch = _batched(traced, width, share_data_order)
    begin = _beginning(batch, share_data_order)

    def slopes(
        consts: Any, key: Any, lanes: tuple[Lanes, Any], carry: Carry, start: Any, stop: Any
    ) -> jax.Array:
        known, along = lanes
        found = jnp.full((*known.trial.shape, along[0].shape[2]), jnp.nan, traced.loss_dtype)

        def run_group(g: Any, found: Any) -> Any:
            here, step_key, old, alive = begin(
                consts, key, _read(g, (known, carry.state, carry.alive)), start
            )
            is_real = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in here.leaves]

            def loss(real: list[Any]) -> Any:
                given = iter(real)
                leaves = tuple(
                    next(given) if kind else leaf
                    for kind, leaf in zip(is_real, here.leaves, strict=True)
                )
                last = batch.run(consts, step_key, leaves, old, alive, start, stop)
                return batch.loss(consts, leaves, last)

            real = [leaf for kind, leaf in zip(is_real, here.leaves, strict=True) if kind]

            def slope(direction: list[Any]) -> Any:
                return jax.jvp(loss, (real,), (direction,))[1]

            slope_of = jax.vmap(slope, in_axes=1, out_axes=1)
            return _write(g, found, slope_of(_read(g, along)))

        return jax.lax.fori_loop(0, _num_groups(known), run_group, found)

    return slopes


def _num_groups(lanes: Lanes) -> Any:
    return jnp.sum(jnp.any(lanes.trial >= 0, axis=1), dtype=jnp.int32)


def sharded(program: Callable[..., Any], mesh: Mesh) -> tuple[Callable[..., Any], Any, Any]:
    """Spreads a program's lanes over the devices of a mesh.

    Returns:
        `(program, whole, split)`: shardings for what every device holds and for what is split.
    """
    whole, split = PartitionSpec(), PartitionSpec(AXIS)
    if mesh.size > 1:
        program = jax.shard_map(
            program,
            mesh=mesh,
            in_specs=(whole, whole, split, split, whole, whole),
            out_specs=split,
            check_vma=False,
        )
    return program, NamedSharding(mesh, whole), NamedSharding(mesh, split)


def pick_lanes(tree: tuple[Any, Any], source: Any) -> tuple[Any, Any]:
    """Moves lane `source[i]` to lane `i`; what comes from -1 is not alive.

    Args:
        tree: state leaves `[groups, width, ...]`, and which lanes are alive.
        source: `[groups * width]` lanes, counted through all groups.

    Returns:
        The same of the lanes that were picked.
    """

    def pick(lanes: Any) -> Any:
        # Not -1: a leaf of no elements would leave it open.
        flat = lanes.reshape((source.shape[0], *lanes.shape[2:]))
        return flat[jnp.maximum(source, 0)].reshape(lanes.shape)

    state, alive = jax.tree.map(pick, tree)
    return state, alive & (source >= 0).reshape(alive.shape)


class _Batched(NamedTuple):
    """The training's functions over a group of `width` lanes."""

    init: Callable[..., Any]
    step: Callable[..., Any]
    loss: Callable[..., Any]

    def run(
        self, consts: Any, key: Any, leaves: Any, old: Any, alive: Any, start: Any, stop: Any
    ) -> Any:
        """Takes the steps from `start` to `stop`."""
        # A group whose trials have all failed takes no step.
        last = jnp.where(jnp.any(alive), stop, start)
        return jax.lax.fori_loop(
            start, last, lambda t, s: self.step(consts, key, leaves, s, t), old
        )


def _beginning(batch: _Batched, share_data_order: bool) -> Callable[..., Any]:
    """`begin(consts, key, (lanes, state, alive), start)`, of one group: where it goes on from."""

    def begin(consts: Any, key: Any, group: Any, start: Any) -> Any:
        here, old, alive = group
        alive = jnp.where(start == 0, here.trial >= 0, alive)
        keys = jax.vmap(lambda draw: trial_keys(key_of(key, draw)))(here.draw)
        if share_data_order:
            keys = (keys[0], trial_keys(jax.random.fold_in(key, _SHARED_ORDER))[1])
        old = jax.lax.cond(
            start == 0, lambda: batch.init(consts, keys[0], here.leaves), lambda: old
        )
        return here, keys[1], old, alive

    return begin


def _batched(traced: TracedTraining, width: int, share_data_order: bool) -> _Batched:
    """Lifts the unbatched functions; one lane is squeezed, which compiles to simpler code."""
    key_axis = None if share_data_order else 0
    if width > 1:
        return _Batched(
            jax.vmap(traced.init, in_axes=(None, 0, 0)),
            jax.vmap(traced.step, in_axes=(None, key_axis, 0, 0, None)),
            jax.vmap(traced.loss, in_axes=(None, 0, 0)),
        )
    one = lambda tree: jax.tree.map(lambda a: a[0], tree)  # noqa: E731
    many = lambda tree: jax.tree.map(lambda a: a[None], tree)  # noqa: E731
    return _Batched(
        lambda c, k, h: many(traced.init(c, one(k), one(h))),
        lambda c, k, h, s, t: many(
            traced.step(c, k if share_data_order else one(k), one(h), one(s), t)
        ),
        lambda c, h, s: many(traced.loss(c, one(h), one(s))),
    )


def key_of(key: Any, draw: Any) -> Any:
    """The key of one trial: its own, or the sweep's folded with its number."""
    is_own = jax.dtypes.issubdtype(draw.dtype, jax.dtypes.prng_key)
    return draw if is_own else jax.random.fold_in(key, draw)


@jax.jit
def keys_of(key: Any, draws: Any) -> Any:
    """The keys of several trials."""
    return jax.vmap(lambda draw: key_of(key, draw))(draws)


def _read(g: Any, tree: Any) -> Any:
    """Takes row `g` of every leaf."""
    return jax.tree.map(lambda a: jax.lax.dynamic_index_in_dim(a, g, keepdims=False), tree)


def _write(g: Any, tree: Any, rows: Any) -> Any:
    """Puts row `g` of every leaf."""
    return jax.tree.map(lambda a, r: jax.lax.dynamic_update_index_in_dim(a, r, g, 0), tree, rows)


def _select(mask: Any, new: Any, old: Any) -> Any:
    """Keeps the old state in lanes that failed before: a frozen trial changes no more."""

    def pick(a: Any, b: Any) -> Any:
        return jnp.where(mask.reshape(mask.shape + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(pick, new, old)


def _update_best(best: Best, loss: Any, trial: Any, state: Any, is_last: Any) -> Best:
    """Keeps the group's best trial if it beats what the worker has; NaN never does.

    Of equal losses the lowest number wins, in whatever order and on whatever device they ended.
    """
    losses = jnp.where(jnp.isnan(loss), jnp.inf, loss)
    lane = jnp.argmin(losses)
    is_first = (losses[lane] == best.loss[0]) & (trial[lane] < best.trial[0])

    def take() -> Best:
        def row(a: Any) -> Any:
            return jax.lax.dynamic_slice_in_dim(a, lane, 1)

        return Best(row(losses), row(trial), jax.tree.map(row, state))

    is_better = (losses[lane] < best.loss[0]) | is_first
    return jax.lax.cond(is_last & is_better, take, lambda: best)
