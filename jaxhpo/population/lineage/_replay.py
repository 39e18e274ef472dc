"""`replay`: the training run that led to a trial of a population, once more and alone."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Any

import jax
import numpy as np

from jaxhpo._checks import check_bool, check_instance, check_int, fail
from jaxhpo._checks.suggest import named_arguments
from jaxhpo._tracing import compilation_cache
from jaxhpo.population._compile import Settings
from jaxhpo.population._groups import group_trials
from jaxhpo.population._layout import default_budget
from jaxhpo.population._program_cache import Programs
from jaxhpo.population._progress import progress_callback
from jaxhpo.population._record import Sweep, SweepRecorder
from jaxhpo.population._run import compile_all, run_part, trace_all, wait_for
from jaxhpo.population._states import HostStates
from jaxhpo.population._threads import Part, Workers
from jaxhpo.population.lineage._lineage import Lineage
from jaxhpo.progress import make_reporter
from jaxhpo.training.internal import Training, check_training

_WHERE = "replay"


@named_arguments
def replay(
    training: Training,
    swept: Sweep,
    trial: int | None = None,
    *,
    share_data_order: bool = False,
    progress: Any = True,
    programs: Programs | None = None,
) -> Sweep:
    """Trains the state of a trial anew: its ancestors' pieces one after the other, and no others.

    On the same machine and versions loss and state are those of the sweep, bit for bit: each piece
    is trained with the key and the hyperparameters of the trial that trained it.

    Args:
        training: as it was given to the sweep.
        swept: a sweep whose scheduler changed hyperparameters.
        trial: number of the trial; None takes the best one.
        share_data_order: as it was given to the sweep.
        progress: as in `sweep`.
        programs: keeps the compiled program for the next replay that is given it.

    Returns:
        A `Sweep` of one trial; its curve has the losses at the steps of the lineage.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: a sweep without a lineage, or no trial of that number that has begun.

    Example:
        >>> import jax, jax.numpy as jnp, jaxhpo as hpo
        >>> training = hpo.Training(
        ...     init=lambda key, hparams: jnp.ones(()),
        ...     step=lambda key, hparams, state, t: state * (1 - hparams["lr"]),
        ...     loss=lambda hparams, state: state**2,
        ... )
        >>> space = hpo.Space({"lr": hpo.uniform(0.1, 0.9)})
        >>> swept = hpo.population.sweep(
        ...     training, space.sample(0, 8), key=0, num_steps=40, scheduler="pbt", space=space
        ... )
        >>> again = hpo.population.replay(training, swept)
        >>> bool(again.losses[0] == swept.best_loss)
        True
    """
    started = time.perf_counter()
    compilation_cache.enable_compilation_cache()
    check_training(_WHERE, training)
    share_data_order = check_bool(_WHERE, "share_data_order", share_data_order)
    programs = Programs() if programs is None else programs
    check_instance(_WHERE, "programs", programs, Programs, "a Programs or None")
    lineage, trial = _check_trial(swept, trial)
    who, schedule = lineage.ancestors(trial), lineage.schedule(trial)
    who = who[who >= 0]
    pieces = [jax.tree.map(lambda leaf: leaf[i : i + 1], schedule) for i in range(len(who))]  # noqa: B023
    device = jax.local_devices()[0]
    settings = Settings(
        training,
        swept.key,
        swept.draws[who[:1]],
        tuple(lineage.steps[: len(who)].tolist()),
        (device,),
        default_budget([device]),
        share_data_order,
        int(swept.width[trial]),
        None,
    )
    is_ours = not callable(progress)
    display, note = progress if is_ours else False, f"{settings.steps[-1]} steps"
    with make_reporter(_WHERE, display, _WHERE, 1, note=note) as reporter:
        callback = progress_callback(reporter) if is_ours else progress
        recorder = SweepRecorder(settings, pieces[-1], 1, False, callback, started)
        _train(recorder, pieces, swept.draws[who], programs)
        return recorder.finish()


def _train(recorder: SweepRecorder, pieces: list[Any], draws: Any, programs: Programs) -> None:
    """Trains one piece after the other, each with values and a key of its own."""
    settings, groups = recorder.settings, [group_trials(_WHERE, one)[0][0] for one in pieces]
    found = trace_all(settings, groups[:1], recorder, programs)
    future = compile_all(settings, groups[:1], found)[0]
    program = wait_for(settings, groups[0], future, recorder, programs)
    workers = Workers(program, settings, groups[0], False, HostStates(program, 1))
    for piece, group in enumerate(groups):
        workers.group = group
        workers.settings = dataclasses.replace(settings, draws=draws[piece : piece + 1])
        part = Part(np.zeros(1, int), range(piece, piece + 1))
        run_part(workers, recorder, math.inf, part)
    recorder.add_group(program, workers)


def _check_trial(swept: Any, trial: Any) -> tuple[Lineage, int]:
    check_instance(_WHERE, "swept", swept, Sweep, "a Sweep")
    if swept.lineage is None:
        expected = "a sweep whose scheduler changes hyperparameters"
        raise fail(_WHERE, "swept", expected, "one without a lineage")
    if trial is None:
        if swept.best_index < 0:
            raise fail(_WHERE, "trial", "a number where no trial is complete", trial)
        return swept.lineage, int(swept.best_index)
    trial = check_int(_WHERE, "trial", trial, 0)
    begun = np.flatnonzero(swept.width > 0)
    if trial not in begun or swept.lineage.parent[trial, 0] < 0:
        raise fail(_WHERE, "trial", "the number of a trial that has begun", trial)
    return swept.lineage, trial
