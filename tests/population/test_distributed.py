"""Sweeps that several processes share: the same result everywhere, and that of one process."""

import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from jaxhpo.population.distributed._homes import Homes
from jaxhpo.population.distributed._processes import Processes

ROOT = pathlib.Path(__file__).parents[2]
CHILD = "tests/population/distributed_child.py"


def start(index, count, port, out, devices):
    command = [sys.executable, "-W", "error", CHILD]
    command += [str(x) for x in (index, count, port, out)]
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=pipe, text=True)


def run_all(count, devices, folder):
    """The results of `count` processes that share sweeps."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    files = [folder / f"{count}-{devices}-{i}.npz" for i in range(count)]
    running = [start(i, count, port, file, devices) for i, file in enumerate(files)]
    for process in running:
        _, said = process.communicate(timeout=280)
        assert process.returncode == 0, said
    return [dict(np.load(file)) for file in files]


@pytest.mark.slow
def test_two_processes_get_what_one_gets(tmp_path):
    [alone] = run_all(1, 2, tmp_path)
    assert alone["pbt False parent"].shape == (26, 6)
    for devices in (1, 4):  # of each process: 2 and 8 in all
        for result in run_all(2, devices, tmp_path):
            assert result.keys() == alone.keys()
            for name, expected in alone.items():
                np.testing.assert_array_equal(result[name], expected, name)


class Group(Processes):
    """Several processes in one: what is gathered is what each has put down."""

    def __init__(self, count):
        super().__init__(count, 0)


def test_trials_stay_where_they_are_if_the_shares_are_even():
    homes, rows = Homes(Group(3), 12), np.arange(12)
    assert homes.bring(None, rows, False).tolist() == [0] * 4 + [1] * 4 + [2] * 4
    # Of the survivors 5 are with the first and none with the last.
    homes._home[:] = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    survivors = np.asarray([0, 1, 2, 3, 4, 6])
    owner = homes._share_out(survivors)
    assert np.bincount(owner, minlength=3).tolist() == [2, 2, 2]
    assert owner[[0, 1, 5]].tolist() == [0, 0, 1]


def test_any_number_of_trials_is_shared_out():
    rng = np.random.default_rng(0)
    for _ in range(50):
        count, n = int(rng.integers(1, 5)), int(rng.integers(1, 30))
        homes = Homes(Group(count), n)
        homes._home[:] = rng.integers(0, count, n)
        rows = np.sort(rng.permutation(n)[: int(rng.integers(1, n + 1))])
        sizes = np.bincount(homes._share_out(rows), minlength=count)
        assert sizes.sum() == len(rows)
        assert sizes.max() - sizes.min() <= 1


def test_alone_nothing_is_exchanged():
    alone, arrays = Processes(), [np.arange(3), np.zeros((2, 0))]
    assert alone.gather(arrays)[0] == arrays
    assert alone.least(7) == 7
    assert alone.any(True)
    assert not alone.any(False)
    alone.check_same("sweep", "key", "the same", 3)
