"""How a sweep is laid out on the machine: one place decides, and says what it chose and why.

Measured on two CPU cores with JAX 0.10 (`benchmarks/sweep_layout.py` prints the table):

- A compiled loop over trials on one CPU device uses one core. Two Python threads that call the same
  compiled program use both: the call releases the interpreter lock and runs in its own thread. So a
  user who set nothing gets all cores, from one compilation.
- With several CPU devices, one program under `shard_map` does the same.
- `vmap` gains much for tiny models, where an operation costs its overhead, and little or nothing
  once the working set of the trials that run side by side leaves the fast cache.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from jaxhpo.population._trace import TracedTraining, num_bytes

# Trials side by side on CPU: as many as keep their working set in a core's cache. The estimate is
# from above, about twice the truth; measured best at 1 to 2 true MiB for networks and convolutions.
_CPU_GROUP_BYTES = 3 * 1024**2
_CPU_MAX_WIDTH = 256
# Where a scheduler stops trials, groups are so small that the last rung still fills one on each
# worker and device; no smaller than this, where `vmap` itself is what makes trials cheap. The
# second number is a guess: it has not been measured on an accelerator.
_CPU_RUNG_WIDTH = 16
_ACCELERATOR_RUNG_WIDTH = 512
# Chunks a worker gets, for progress reports and an even finish.
_CPU_CHUNKS_PER_WORKER = 8
_HOST_BUDGET = 2 * 1024**3
_ACCELERATOR_SHARE = 0.75
# A program that keeps this share of the cores busy by itself gets no second worker.
_BUSY_SHARE = 0.75


@dataclasses.dataclass(frozen=True)
class Plan:
    """The layout of one program.

    Attributes:
        width: trials that run side by side under `vmap` on one device.
        groups: groups of `width` trials that a device runs one after the other in a call.
        num_devices: devices that share a call.
        num_workers: threads that each run calls of their own.
        program_bytes: what the running programs hold by the compiled memory analysis (an estimate
            before compiling): on CPU over all devices and workers, otherwise on one device.
        memory_budget: bytes that they may hold.
        reason: one sentence for people.
    """

    width: int
    groups: int
    num_devices: int
    num_workers: int
    program_bytes: int
    memory_budget: int
    reason: str

    @property
    def layout(self) -> str:
        """Either "vmap" (all trials of a call side by side) or "map" (groups in turn)."""
        return "vmap" if self.groups == 1 else "map"

    @property
    def chunk(self) -> int:
        """Trials that a call holds, over all devices."""
        return self.width * self.groups * self.num_devices

    def __str__(self) -> str:
        return self.reason


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_budget(devices: list[Any]) -> int:
    """Bytes to use if the user names none: 2 GiB of host memory, or most of what a device has."""
    stats = devices[0].memory_stats() if devices[0].platform != "cpu" else None
    if not stats or "bytes_limit" not in stats:
        return _HOST_BUDGET
    return int(_ACCELERATOR_SHARE * (stats["bytes_limit"] - stats.get("bytes_in_use", 0)))


def first_plan(
    traced: TracedTraining,
    hparam_bytes: int,
    devices: list[Any],
    num_trials: int,
    memory_budget: int,
    width: int | None,
    chunk: int | None,
    num_last: int | None = None,
) -> Plan:
    """Chooses a layout from the model's size, before anything is compiled.

    Args:
        traced: the training, with its estimated sizes.
        hparam_bytes: bytes of one trial's hyperparameters.
        devices: local devices.
        num_trials: trials of the group.
        memory_budget: bytes.
        width: trials side by side, or None to choose.
        chunk: trials per call, or None to choose.
        num_last: trials that a scheduler trains to the end, or None without one.

    Returns:
        A plan whose `program_bytes` is 0 and whose reason is empty.
    """
    count = len(devices)
    on_cpu = devices[0].platform == "cpu"
    workers = max(1, num_cores() // count) if on_cpu else 1
    per_device = -(-num_trials // count)
    if chunk is not None:
        per_device = min(per_device, -(-chunk // count))
    # A call holds one state per trial (its buffers are reused), the best one, and what the trials
    # that run side by side work on: at most `work` by the estimate, with copies of their state.
    kept = traced.state_bytes + hparam_bytes + 16
    work = traced.work_bytes + 3 * traced.state_bytes
    share = memory_budget // (workers * count if on_cpu else 1) - traced.const_bytes
    share -= traced.state_bytes
    if width is None:
        # On CPU the rest of the chunk waits its turn, so half the budget is enough for a group.
        room = share // (2 * work) if on_cpu else share // (work + kept)
        width = min(room, _cpu_width(traced)) if on_cpu else room
        if num_last is not None:
            least = _CPU_RUNG_WIDTH if on_cpu else _ACCELERATOR_RUNG_WIDTH
            width = min(width, max(least, -(-num_last // (workers * count))))
        width = max(1, min(width, per_device))
    wanted = -(-per_device // (_CPU_CHUNKS_PER_WORKER * workers)) if on_cpu else per_device
    wanted = per_device if chunk is not None else wanted
    fitting = max(1, (share - width * work) // (kept * width))
    groups = min(-(-wanted // width), fitting)
    workers = workers if num_trials > width else 1
    return Plan(width, groups, count, workers, 0, memory_budget, "")


def _cpu_width(traced: TracedTraining) -> int:
    """Trials whose working set fits a core's cache, as a power of two."""
    bound = max(traced.step_bytes + traced.state_bytes, 1)
    fitting = max(1, _CPU_GROUP_BYTES // bound)
    return min(_CPU_MAX_WIDTH, 1 << (fitting.bit_length() - 1))


def with_measured_bytes(plan: Plan, stats: Any, const_bytes: int, on_cpu: bool) -> Plan:
    """Replaces the estimate by what the compiled program's own analysis says.

    Args:
        plan: the plan that was compiled.
        stats: `compiled.memory_analysis()`, one device of one call.
        const_bytes: bytes of the arrays that all trials and workers share.
        on_cpu: whether all devices and workers share one memory.
    """
    arguments_and_results = (
        stats.argument_size_in_bytes + stats.output_size_in_bytes - stats.alias_size_in_bytes
    )
    own = arguments_and_results + stats.temp_size_in_bytes - const_bytes
    copies = plan.num_devices if on_cpu else 1
    held = copies * (const_bytes + own * plan.num_workers)
    return dataclasses.replace(plan, program_bytes=int(held))


def shrink(plan: Plan) -> Plan | None:
    """Shrinks a measured plan that is over its budget: fewer groups, then workers, then width.

    Returns:
        The smaller plan, or None if it already ran one trial at a time in one worker.
    """
    share = 0.9 * plan.memory_budget / max(plan.program_bytes, 1)
    if plan.groups > 1:
        return dataclasses.replace(plan, groups=max(1, int(plan.groups * share)))
    if plan.num_workers > 1:
        return dataclasses.replace(plan, num_workers=plan.num_workers // 2)
    if plan.width > 1:
        return dataclasses.replace(plan, width=max(1, min(plan.width - 1, int(plan.width * share))))
    return None


def workers_for(plan: Plan, busy_cores: float) -> int:
    """Chooses the number of workers from the cores that the first call kept busy by itself."""
    if busy_cores > _BUSY_SHARE * num_cores():
        return 1
    return plan.num_workers


def with_reason(plan: Plan, platform: str, busy_cores: float | None) -> Plan:
    """Writes the sentence that says what was chosen and why."""
    if plan.layout == "vmap":
        how = f"{plan.width} trials side by side (vmap)"
    elif plan.width == 1:
        how = f"{plan.groups} trials one after the other in a compiled loop"
    else:
        how = f"{plan.groups} groups of {plan.width} trials side by side, one group after the other"
    where = f"{plan.num_devices} {platform} device{'s' * (plan.num_devices > 1)}"
    reason = f"Each call runs {how} on each of {where}"
    if plan.num_workers > 1:
        reason += f", from {plan.num_workers} threads"
    if busy_cores is not None:
        reason += f" (a call alone kept {busy_cores:.1f} of {num_cores()} cores busy)"
    reason += (
        f"; the program holds {_human(plan.program_bytes)} of a budget of "
        f"{_human(plan.memory_budget)}."
    )
    return dataclasses.replace(plan, reason=reason)


def leaf_bytes(leaves: Any) -> int:
    """Bytes of one trial's hyperparameters, given leaves `[g, ...]`."""
    return sum(num_bytes(leaf) // leaf.shape[0] for leaf in leaves)


def _human(num: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if num < 1024:
            return f"{num:.0f} {unit}"
        num /= 1024
    return f"{num:.1f} GiB"
