"""Worker processes have an accelerator each."""

import glob
import os

import pytest

import jaxhpo as hpo
from jaxhpo.study import Study
from jaxhpo.study.running.engines import _devices

X = {"x": hpo.uniform(0.0, 1.0)}


def own_device(params):
    return float(os.environ.get("CUDA_VISIBLE_DEVICES", "-7"))


@pytest.mark.parametrize(
    ("given", "devices"),
    [
        ("0,1", ["0", "1"]),
        (" 3, 5 ", ["3", "5"]),
        ("GPU-8932f937,MIG-1f4a", ["GPU-8932f937", "MIG-1f4a"]),
        ("2,-1,0", ["2"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
    ],
)
def test_what_the_variable_names_is_shared_out(given, devices, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert _devices.visible_devices() == devices
    shares = [_devices.environment_of(i).get("CUDA_VISIBLE_DEVICES") for i in range(3)]
    assert shares == ([devices[i % len(devices)] for i in range(3)] if devices else [None] * 3)


def test_without_it_all_devices_of_the_machine_are(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    files = [f"/dev/nvidia{i}" for i in (10, 0, 2)] + ["/dev/nvidia0-caps"]
    monkeypatch.setattr(glob, "glob", lambda pattern: files)
    assert _devices.visible_devices() == ["0", "2", "10"]


def test_each_worker_sees_one(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    study = Study(X, "random", storage=None)
    study.optimize(own_device, num_trials=6, num_workers=2, synchronous=True, progress=False)
    assert study.values.tolist() == [3.0, 5.0] * 3
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,5"


def test_where_there_is_none_nothing_is_set(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(glob, "glob", lambda pattern: [])
    study = Study(X, "random", storage=None)
    study.optimize(own_device, num_trials=2, num_workers=2, progress=False)
    assert study.values.tolist() == [-7.0, -7.0]
