"""By what the checkpoints of a sweep are known: all that its result depends on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from importlib import metadata
from typing import Any

import jax
import numpy as np

from jaxhpo._checks import describe
from jaxhpo.population._compile import Settings
from jaxhpo.population._groups import Group
from jaxhpo.population._trace import TracedTraining, pack

# Raised whenever what is stored changes its meaning.
_FORMAT = 1
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class CheckpointMismatchError(ValueError):
    """The checkpoints of a folder are of another sweep, or damaged."""


def fingerprint(
    settings: Settings,
    groups: list[Group],
    traced: list[TracedTraining],
    scheduler: Any,
    keep_states: bool,
) -> dict[str, str]:
    """What a sweep depends on, each thing by the name that a user knows it by.

    Args:
        settings: of the sweep.
        groups: its trials, before a scheduler has changed their values.
        traced: the training of each group.
        scheduler: None without one.
        keep_states: whether all states are kept.

    Returns:
        Short strings, equal if and only if the sweeps are.
    """
    statics = [repr(group.statics) for group in groups]
    values = [(group.trials, *group.leaves) for group in groups]
    structure = [str(group.template) for group in groups]
    return {
        "version": f"jaxhpo {metadata.version('jaxhpo')}, JAX {jax.__version__}, format {_FORMAT}",
        "hparams": digest(jax.tree.leaves(values), *statics, *structure),
        "key": digest(pack((settings.key, settings.draws)), settings.key.dtype),
        "num_steps": str(settings.steps[-1]),
        "report steps": digest([np.asarray(settings.steps)]),
        "scheduler": digest_of(scheduler),
        "training": digest(_training_leaves(traced), *(j for one in traced for j in one.jaxprs)),
        "share_data_order": str(settings.share_data_order),
        "keep_states": str(keep_states),
        "width": str(settings.width),
    }


def check_fingerprint(where: str, folder: Any, stored: dict[str, str], own: dict[str, str]) -> None:
    """Refuses the checkpoints of another sweep.

    Raises:
        CheckpointMismatchError: it names what differs.
    """
    others = [name for name in own if stored.get(name) != own[name]]
    if others:
        differs = ", ".join(
            f"`{name}` ({describe(own[name])} instead of {describe(stored.get(name))})"
            for name in others
        )
        raise CheckpointMismatchError(
            f"{where}: `checkpoint_dir` must hold checkpoints of this sweep, or none; those in "
            f"{str(folder)!r} are of one with another {differs}. Use another folder, or remove it."
        )


def _training_leaves(traced: list[TracedTraining]) -> Iterable[Any]:
    """The data that the functions close over."""
    return (leaf for one in traced for leaf in pack(one.consts))


def digest_of(scheduler: Any) -> str:
    """A short hash of a scheduler and its settings, "None" without one."""
    if scheduler is None:
        return "None"
    leaves, structure = jax.tree.flatten(scheduler)
    arrays = [leaf if hasattr(leaf, "dtype") else np.asarray(leaf) for leaf in leaves]
    return digest(pack(arrays), structure, scheduler.space)


def digest(leaves: Iterable[Any], *texts: Any) -> str:
    """A short hash of arrays, and of what can be shown, without addresses."""
    digest = hashlib.sha256()
    for leaf in leaves:
        array = np.ascontiguousarray(leaf)
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(array.tobytes())
    for text in texts:
        digest.update(_ADDRESS.sub("", str(text)).encode())
    return digest.hexdigest()[:16]
