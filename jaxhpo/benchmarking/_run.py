"""Runs cells (a sampler on a problem, many seeds as one program) and keeps them in a file."""

from __future__ import annotations

import functools
import json
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks, samplers
from jaxhpo._base import Outcome, Sampler
from jaxhpo._status import Status
from jaxhpo.benchmarking._hypervolume import hypervolume_gap, num_objectives_of
from jaxhpo.benchmarking._problems import PROBLEMS, SETS, SEVERAL
from jaxhpo.samplers.internal import names_with, settings_for, traits_of
from jaxhpo.search import chosen_layout, minimize, with_gradient
from jaxhpo.space import Space

NEEDS_GRADIENT = ("gradient",)
_DIGITS = 7


class Cell(NamedTuple):
    """One sampler on one problem.

    Attributes:
        problem: name of the problem.
        sampler: name of the sampler.
        num_trials: trials of each study.
        num_seeds: studies, run as one program.
        seed: of the first key.
        batch_size: points that the sampler proposes at once.
    """

    problem: str
    sampler: str
    num_trials: int
    num_seeds: int
    seed: int = 0
    batch_size: int = 1


def cells(
    problems: Iterable[str],
    sampler_names: Iterable[str],
    *,
    num_trials: int,
    num_seeds: int,
    seed: int = 0,
    batch_size: int = 1,
) -> list[Cell]:
    """Lists what there is to run, problem by problem.

    Args:
        problems: names of problems or of sets of them.
        sampler_names: names of samplers.
        num_trials: trials of each study.
        num_seeds: studies of each cell.
        seed: of the keys.
        batch_size: points that a sampler proposes at once.

    Returns:
        The cells.

    Raises:
        ValueError: an unknown name, or a number out of range.

    Example:
        >>> from jaxhpo import benchmarking
        >>> listed = benchmarking.cells(["quick"], ["random", "qmc"], num_trials=8, num_seeds=2)
        >>> len(listed), listed[0].problem
        (6, 'branin')
    """
    num_trials = _checks.check_count("bench", "num_trials", num_trials, 1)
    num_seeds = _checks.check_count("bench", "num_seeds", num_seeds, 1)
    batch_size = _checks.check_count("bench", "batch_size", batch_size, 1)
    for argument, given in (("problems", problems), ("sampler_names", sampler_names)):
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise TypeError(
                f"bench: `{argument}` must be a list of names, got {_checks.describe(given)}."
            )
    names: list[str] = []
    for name in problems:
        if not isinstance(name, str):
            raise _checks.fail("bench", "problems", "names", name)
        if name not in SETS and name not in PROBLEMS:
            expected = f"among {', '.join([*SETS, *PROBLEMS])}"
            raise _checks.fail("bench", "problems", expected, name)
        names += [part for part in SETS.get(name, (name,)) if part not in names]
    listed, known = list(sampler_names), samplers.names()
    for name in listed:
        if not isinstance(name, str) or name not in known:
            raise _checks.fail("bench", "sampler_names", f"among {', '.join(known)}", name)
    chosen = list(dict.fromkeys(listed))
    for name in chosen:
        for problem in names:
            _check_pair(problem, name)
    return [
        Cell(problem, name, num_trials, num_seeds, seed, batch_size)
        for problem in names
        for name in chosen
    ]


def _check_pair(problem: str, sampler: str) -> None:
    """Refuses a sampler of one objective on a problem of several, and the other way round."""
    for_several = (*names_with("several_objectives"), *names_with("ignores_values"), "auto")
    if problem in SEVERAL and sampler not in for_several:
        expected = f"among {', '.join(for_several)} on the problem {problem}"
        raise _checks.fail("bench", "sampler_names", expected, sampler)
    if problem not in SEVERAL and traits_of(sampler).several_only:
        expected = f"one of one objective on the problem {problem}"
        raise _checks.fail("bench", "sampler_names", expected, sampler)


def run(
    listed: Sequence[Cell],
    path: pathlib.Path,
    report: Callable[[int, Cell, str], None] = lambda done, cell, note: None,
) -> list[dict[str, Any]]:
    """Runs the cells that the file does not have yet.

    Problems whose spaces have one structure run as one program, and are written as soon as it has
    ended. The sampler "auto" is the sampler that it chooses, so it is not run a second time.

    Args:
        listed: what to run.
        path: a file of one JSON object a line; made where there is none.
        report: called as `report(done, cell, note)` before a program runs.

    Returns:
        The records of all cells that were listed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {_cell_of(record): record for record in load(path)}
    chosen = {cell: _chosen(cell) for cell in listed}
    missing = [cell for cell in dict.fromkeys(chosen.values()) if cell not in known]
    for group in groups(missing):
        done = sum(cell in known for cell in chosen.values())
        report(done, group[0], f"{len(group)} problems as one program")
        records = measure(group)
        with path.open("a") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
        known |= {_cell_of(record): record for record in records}
    return [{**known[chosen[cell]], "sampler": cell.sampler} for cell in listed]


def groups(listed: Iterable[Cell]) -> list[list[Cell]]:
    """Puts cells together that may be one program: all equal but the problem and its bounds.

    Bounds of discrete dimensions decide shapes, so spaces that have some are programs of their own.
    """
    found: dict[Any, list[Cell]] = {}
    for cell in listed:
        problem = PROBLEMS[cell.problem]()
        space = problem.space
        structure = cell.problem if space.num_levels.any() else jax.tree.structure(space)
        kind = (structure, num_objectives_of(problem), _has_constraints(problem))
        found.setdefault((cell._replace(problem=""), kind), []).append(cell)
    return list(found.values())


def _chosen(cell: Cell) -> Cell:
    """The cell of the sampler that "auto" chooses."""
    if cell.sampler != "auto":
        return cell
    problem = PROBLEMS[cell.problem]()
    choice = samplers.choose(
        problem.space, num_trials=cell.num_trials, num_objectives=num_objectives_of(problem)
    )
    return cell._replace(sampler=choice.name)


def measure(group: Sequence[Cell]) -> list[dict[str, Any]]:
    """Runs cells that are one program.

    Args:
        group: cells that differ in the problem alone, over spaces of one structure.

    Returns:
        Their records: the cell's fields, `best_so_far` of each seed (None for infinity; of several
        objectives the share of the volume below the front that is missing), `minimum`, and this
        cell's share of the CPU and wall seconds to run, and of the seconds to compile.
    """
    cell = group[0]
    problems = [PROBLEMS[other.problem]() for other in group]
    spaces = jax.tree.map(lambda *numbers: jnp.stack([jnp.asarray(n) for n in numbers]),
                          *[problem.space for problem in problems])  # fmt: skip
    keys = jax.random.split(jax.random.key(cell.seed), cell.num_seeds)
    num_objectives = num_objectives_of(problems[0])
    objectives = [problem.objective for problem in problems]
    study = functools.partial(_study, cell, num_objectives, objectives)
    sampler = _sampler(cell, problems[0].space, num_objectives)
    if chosen_layout(sampler) == "map":
        over = lambda run, *args: jax.lax.map(lambda row: run(*row), args)  # noqa: E731
    else:
        over = lambda run, *args: jax.vmap(run)(*args)  # noqa: E731

    @jax.jit
    def curves(spaces: Any, numbers: jax.Array, keys: jax.Array) -> jax.Array:
        if len(group) == 1:
            return over(lambda key: study(problems[0].space, numbers[0], key), keys)[None]
        return over(lambda s, n: over(lambda key: study(s, n, key), keys), spaces, numbers)

    numbers = jnp.arange(len(group), dtype=jnp.int32)
    start = time.perf_counter()
    program = curves.lower(spaces, numbers, keys).compile()
    compiled, cpu = time.perf_counter(), time.process_time()
    found = np.asarray(program(spaces, numbers, keys), np.float64)
    share = 1 / len(group)
    facts = {
        "compile_s": round(compiled - start, 3),
        "programs": round(share, 4),
        "run_s": round((time.perf_counter() - compiled) * share, 4),
        "cpu_s": round((time.process_time() - cpu) * share, 4),
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
    }
    if num_objectives > 1:
        found = np.stack(
            [hypervolume_gap(p, rows) for p, rows in zip(problems, found, strict=True)]
        )
    return [
        {
            **other._asdict(),
            "minimum": 0.0 if num_objectives > 1 else problem.minimum,
            **facts,
            "best_so_far": [[_rounded(value) for value in row] for row in rows],
        }
        for other, problem, rows in zip(group, problems, found, strict=True)
    ]


def _sampler(cell: Cell, space: Space, num_objectives: int) -> Sampler:
    has_constraints = _has_constraints(PROBLEMS[cell.problem]())
    settings = settings_for(cell.sampler, num_objectives, has_constraints)
    return samplers.get(cell.sampler, space, batch_size=cell.batch_size, **settings)


def _has_constraints(problem: Any) -> bool:
    return getattr(problem, "violation", None) is not None


def _study(
    cell: Cell,
    num_objectives: int,
    objectives: Sequence[Callable[..., Any]],
    space: Space,
    number: jax.Array,
    key: jax.Array,
) -> jax.Array:
    """Best value so far `[t]` of one study, of the problem with this number; else all `[t, m]`."""
    branches = [functools.partial(_outcome, objective) for objective in objectives]

    def objective(key: jax.Array, params: Any) -> Any:
        return jax.lax.switch(number, branches, key, params)

    told = with_gradient(objective, space) if cell.sampler in NEEDS_GRADIENT else objective
    sampler = _sampler(cell, space, num_objectives)
    result = minimize(told, space, sampler, key=key, num_trials=cell.num_trials)
    if num_objectives == 1:
        return result.best_so_far
    is_complete = result.trials.status == int(Status.COMPLETE)
    return jnp.where(is_complete[:, None], result.trials.value, jnp.nan)


def _outcome(objective: Callable[..., Any], key: jax.Array, params: Any) -> Any:
    """What an objective returns, in one form for all problems of a program."""
    found, dtype = objective(key, params), jnp.result_type(float)
    if not isinstance(found, Outcome):
        return jnp.asarray(found, dtype)
    violation = None if found.violation is None else jnp.max(found.violation).astype(dtype)
    return Outcome(jnp.asarray(found.value, dtype), violation=violation)


def load(path: pathlib.Path) -> list[dict[str, Any]]:
    """Reads the records of a file; a line that was cut off is left out.

    Args:
        path: the file; may be missing.

    Returns:
        One record per cell; the last one where a cell was run twice.
    """
    records = {_cell_of(record): record for record in _lines(path)}
    return list(records.values())


def _lines(path: pathlib.Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    text = path.read_text()
    if text and not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]  # killed while it wrote: the next line starts afresh
        path.write_text(text)
    for line in text.splitlines():
        yield json.loads(line)


def _cell_of(record: dict[str, Any]) -> Cell:
    return Cell(*(record[field] for field in Cell._fields))


def _rounded(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None
