"""`jaxhpo warm`: the programs of samplers, compiled before anybody waits for them."""

from __future__ import annotations

import pathlib
import time
from typing import TYPE_CHECKING, Any

from jaxhpo.cli._errors import UserError
from jaxhpo.cli._tables import print_table, say

if TYPE_CHECKING:
    from jaxhpo.space import Space

DEFAULT_SAMPLERS = ("tpe", "gp", "cma_es", "qmc", "random")


def warm(names: list[str], dims: list[int], trials: int) -> None:
    """Runs a short study in memory, and more, for each sampler and number of dimensions.

    Args:
        names: of samplers; the usual ones if empty.
        dims: numbers of continuous parameters.
        trials: how many trials a study has; later capacities are compiled when they are reached.

    Raises:
        UserError: an unknown sampler, or there is no cache to fill.
    """
    from jaxhpo import samplers
    from jaxhpo.ask_tell import enable_compilation_cache

    names = names or list(DEFAULT_SAMPLERS)
    for name in names:
        if name not in samplers.names():
            raise UserError(
                f"there is no sampler {name!r}; there are {', '.join(samplers.names())}."
            )
    folder = enable_compilation_cache()
    if not folder:
        raise UserError("the compilation cache is off, so there is nothing to fill.")
    say(f"Filling {folder} ...")
    rows = []
    for name in names:
        for count in dims:
            before, began = _size(folder), time.perf_counter()
            _run(name, count, trials)
            seconds, grown = time.perf_counter() - began, _size(folder) - before
            rows.append([name, count, f"{seconds:.1f}", f"{grown / 2**20:.1f}"])
    print_table("Compiled", ("sampler", "dims", "seconds", "MiB added"), rows)
    say(f"{_size(folder) / 2**20:.1f} MiB in all.")


def _run(name: str, count: int, trials: int) -> None:
    """One study, and one search as other libraries' loops ask for it."""
    import jaxhpo as hpo
    from jaxhpo.samplers.internal import traits_of

    space = hpo.Space({f"x{i}": hpo.uniform(0.0, 1.0) for i in range(count)})
    _run_study(space, name, trials)
    if traits_of(name).takes_columns:
        _run_shared(space, name, trials)


def _run_study(space: Space, name: str, trials: int) -> None:
    """What it proposes does not matter."""
    import jaxhpo as hpo
    from jaxhpo.samplers.internal import traits_of

    traits = traits_of(name)
    if traits.needs_gradients:
        raise UserError(f"{name!r} needs gradients, which no study of a Python objective has.")
    several = traits.several_objectives
    direction: Any = ["minimize", "minimize"] if several else "minimize"
    study = hpo.Study(space, name, storage=None, direction=direction)

    def objective(params: dict[str, float]) -> Any:
        value = sum((x - 0.3) ** 2 for x in params.values())
        return (value, params["x0"]) if several else value

    study.optimize(objective, num_trials=trials, progress=False)


def _run_shared(space: Space, name: str, trials: int) -> None:
    """The program of all plain spaces of a width."""
    from jaxhpo.ask_tell import HostSampler, SamplerSpec

    sampler = HostSampler(SamplerSpec("jaxhpo warm", name, {}), space, 0, "warm", 1)
    for number in range(trials):
        asked = sampler.ask(number)
        if asked is None:
            return
        unit = asked[0][None]
        sampler.tell(unit, ((unit - 0.3) ** 2).sum(axis=1, keepdims=True), None)


def _size(folder: Any) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in pathlib.Path(folder).rglob("*") if path.is_file())
