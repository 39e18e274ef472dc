"""Which accelerator each worker process is to see: one, so that the workers do not share them."""

from __future__ import annotations

import glob
import os

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The variable by which CUDA, and so JAX and PyTorch, are told which devices a process has."""


def visible_devices() -> list[str]:
    """The devices that this process may use, as `VISIBLE` names them; empty where there are none.

    Nothing is opened, so that a driver that computes nothing on them holds no memory of theirs.
    """
    given = os.environ.get(VISIBLE)
    if given is None:
        numbers = [path.removeprefix("/dev/nvidia") for path in glob.glob("/dev/nvidia[0-9]*")]
        return sorted((one for one in numbers if one.isdecimal()), key=int)
    named = [one.strip() for one in given.split(",")]
    # CUDA takes no device behind the first name that is none.
    ends = [
        i for i, one in enumerate(named) if not one or one.startswith("-") or one == "NoDevFiles"
    ]
    return named[: ends[0]] if ends else named


def environment_of(index: int) -> dict[str, str]:
    """What the environment of a worker is to say; empty where there is nothing to share out.

    Args:
        index: the worker's number. Of more workers than devices several have the same one.
    """
    devices = visible_devices()
    return {VISIBLE: devices[index % len(devices)]} if devices else {}
