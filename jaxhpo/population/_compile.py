"""From a traced training to a compiled program that fits the memory budget."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxhpo._checks import noted
from jaxhpo.population._groups import Group
from jaxhpo.population._kernel import (
    AXIS,
    Best,
    Carry,
    Lanes,
    build_program,
    build_slopes,
    pick_lanes,
    sharded,
)
from jaxhpo.population._layout import Plan, first_plan, leaf_bytes, shrink, with_measured_bytes
from jaxhpo.population._trace import TracedTraining, trace_training
from jaxhpo.training.internal import Training

_NO_SLOPES = (
    "sweep: raised while `training` was differentiated forward, which `scheduler` needs: a "
    "`jax.custom_vjp` in it has no such derivative."
)

# Measured on CPU, JAX 0.10: level 2 compiles network training in 0.4 of the time of level 3 and
# runs in 0.9 to 1.0 times its time (1.2 times for a model that is all exponentials). Compiling
# without the fusion emitters would halve it again, but runs up to 3 times longer.
_CPU_OPTIONS: dict[str, Any] = {"xla_backend_optimization_level": 2}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all programs of a sweep have in common.

    Attributes:
        training: the user's functions.
        key: `[]` the sweep's key; the first trial's where each has its own.
        draws: `[n]` uint32 numbers that the key is folded with, or the trials' own keys.
        steps: the steps at which losses are reported, ascending; the last one ends a trial.
        devices: devices that share the work.
        memory_budget: bytes.
        share_data_order: whether all trials step with one key.
        width: trials side by side, or None to choose.
        chunk: trials per call, or None to choose.
        num_last: trials that a scheduler trains to the end, or None without one.
        slopes: coordinates of the unit cube by which the loss is differentiated between a
            scheduler's levels.
        num_processes: processes that share the sweep, each with devices of its own.
    """

    training: Training
    key: jax.Array
    draws: Any
    steps: tuple[int, ...]
    devices: tuple[Any, ...]
    memory_budget: int
    share_data_order: bool
    width: int | None
    chunk: int | None
    num_last: int | None = None
    slopes: int = 0
    num_processes: int = 1


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled program with all that a worker needs to call it.

    Attributes:
        call: `call(consts, key, lanes, carry, start, stop) -> (loss, carry)`, compiled.
        slopes: `slopes(consts, key, (lanes, directions), carry, start, stop)`, see `build_slopes`;
            None where no derivatives are wanted.
        gather: `gather((state, alive), source) -> (state, alive)`, see `pick_lanes`; compiled when
            it is first called.
        traced: the training.
        plan: the layout, its bytes measured.
        whole: sharding of what every device holds.
        split: sharding of what is split over the devices.
        seconds: time that tracing and compiling took.
        num_compilations: 1, or more if the estimate of the memory was too low.
    """

    call: Any
    slopes: Any
    gather: Any
    traced: TracedTraining
    plan: Plan
    whole: Any
    split: Any
    seconds: float
    num_compilations: int


def trace_group(where: str, settings: Settings, group: Group) -> TracedTraining:
    """Traces the training on one abstract trial of a group."""
    leaves = tuple(jax.ShapeDtypeStruct(a.shape[1:], a.dtype) for a in group.leaves)
    with noted(f"{where}: raised while `training` was run with `hparams`."):
        return trace_training(where, settings.training, group.rebuild, leaves, settings.key)


def compile_group(where: str, settings: Settings, group: Group, traced: TracedTraining) -> Program:
    """Compiles a group's program, again with fewer trials while its analysis exceeds the budget.

    Raises:
        ValueError: one trial at a time exceeds the memory budget.
    """
    started = time.perf_counter()
    devices = list(settings.devices)
    on_cpu = devices[0].platform == "cpu"
    plan: Plan | None = first_plan(
        traced,
        leaf_bytes(group.leaves),
        devices,
        -(-len(group.trials) // settings.num_processes),
        settings.memory_budget,
        settings.width if group.width is None else group.width,
        settings.chunk,
        settings.num_last and -(-settings.num_last // settings.num_processes),
    )
    mesh = jax.make_mesh(
        (len(devices),), (AXIS,), axis_types=(jax.sharding.AxisType.Auto,), devices=devices
    )
    whole, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(AXIS))
    compiled: dict[tuple[int, int], Any] = {}
    last: Plan | None = None
    while plan is not None:
        shape = (plan.width, plan.groups)
        if shape not in compiled:
            compiled[shape] = _compile(settings, group, traced, plan, mesh)
        call, slopes = compiled[shape]
        plans = [
            with_measured_bytes(plan, one.memory_analysis(), traced.const_bytes, on_cpu)
            for one in (call, slopes)
            if one is not None
        ]
        last = max(plans, key=lambda plan: plan.program_bytes)
        if last.program_bytes <= settings.memory_budget:
            seconds = time.perf_counter() - started
            gather = _gather(traced, last, whole, split)
            return Program(call, slopes, gather, traced, last, whole, split, seconds, len(compiled))
        plan = shrink(last)
    assert last is not None
    raise ValueError(
        f"{where}: `memory_budget` must be at least {last.program_bytes} bytes, the memory "
        f"that one trial at a time takes in the compiled program, got {settings.memory_budget}."
    )


def _compile(
    settings: Settings, group: Group, traced: TracedTraining, plan: Plan, mesh: Any
) -> tuple[Any, Any]:
    """The program of a layout, and the one for its slopes or None."""
    on_cpu = settings.devices[0].platform == "cpu"
    options = _CPU_OPTIONS if on_cpu else None
    shared = settings.share_data_order
    program, whole, split = sharded(
        build_program(traced, settings.steps[-1], plan.width, shared), mesh
    )
    arguments = _arguments(settings, group, traced, plan, whole, split)
    lowered = jax.jit(program, donate_argnums=3).lower(*arguments)
    call = lowered.compile(compiler_options=options)
    if not settings.slopes:
        return call, None
    rows = (plan.groups * plan.num_devices, plan.width, settings.slopes)
    along = [
        jax.ShapeDtypeStruct(rows + a.shape[1:], a.dtype, sharding=_sharding_of(a, split, whole))
        for a in group.leaves
        if jnp.issubdtype(a.dtype, jnp.inexact)
    ]
    consts, key, lanes, carry, *steps = arguments
    program, _, _ = sharded(build_slopes(traced, plan.width, shared), mesh)
    with noted(_NO_SLOPES):
        lowered = jax.jit(program).lower(consts, key, (lanes, along), carry, *steps)
    return call, lowered.compile(compiler_options=options)


def fresh_carry(program: Program) -> Carry:
    """Makes the buffers that a worker reuses from call to call."""
    plan, traced = program.plan, program.traced
    carry: Carry = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), _carry(traced, plan))
    nothing = carry.best._replace(loss=carry.best.loss + np.inf, trial=carry.best.trial - 1)
    placed: Carry = place_carry(program, carry._replace(best=nothing))
    return placed


def place_carry(program: Program, tree: Any) -> Any:
    """Puts host arrays of a carry, `[groups, width, ...]`, where the program wants them."""
    return jax.tree.map(
        lambda a: jax.device_put(a, _sharding_of(a, program.split, program.whole)), tree
    )


def _gather(traced: TracedTraining, plan: Plan, whole: Any, split: Any) -> Any:
    """The program that moves lanes; what it is given is donated."""
    carry = _carry(traced, plan)
    places = jax.tree.map(lambda a: _sharding_of(a, split, whole), (carry.state, carry.alive))
    return jax.jit(pick_lanes, donate_argnums=0, out_shardings=places)


def _sharding_of(a: Any, sharding: Any, whole: Any) -> Any:
    """Where an array belongs: JAX never splits one of no elements."""
    return sharding if math.prod(a.shape) else whole


def _carry(traced: TracedTraining, plan: Plan) -> Carry:
    """Describes the carry of a plan."""
    rows = (plan.groups * plan.num_devices, plan.width)

    def like(leading: tuple[int, ...]) -> list[jax.ShapeDtypeStruct]:
        return [jax.ShapeDtypeStruct(leading + a.shape, a.dtype) for a in traced.state]

    def vector(dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((plan.num_devices,), dtype)

    best = Best(vector(traced.loss_dtype), vector(jnp.int32), like((plan.num_devices,)))
    return Carry(like(rows), jax.ShapeDtypeStruct(rows, jnp.bool_), best)


def _arguments(
    settings: Settings, group: Group, traced: TracedTraining, plan: Plan, whole: Any, split: Any
) -> tuple[Any, ...]:
    """Describes the program's arguments, with their shardings."""
    rows = (plan.groups * plan.num_devices, plan.width)

    def place(tree: Any, sharding: Any) -> Any:
        def like(a: Any) -> jax.ShapeDtypeStruct:
            given = _sharding_of(a, sharding, whole)
            return jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=given)

        return jax.tree.map(like, tree)

    leaves = tuple(jax.ShapeDtypeStruct(rows + a.shape[1:], a.dtype) for a in group.leaves)
    draw = jax.ShapeDtypeStruct(rows, settings.draws.dtype)
    lanes = Lanes(jax.ShapeDtypeStruct(rows, jnp.int32), draw, leaves)
    step = jax.ShapeDtypeStruct((), jnp.int32)
    return (
        place(traced.consts, whole),
        place(settings.key, whole),
        place(lanes, split),
        place(_carry(traced, plan), split),
        place(step, whole),
        place(step, whole),
    )
