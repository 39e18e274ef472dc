"""A sweep that is killed and called again ends as if nothing had happened, to the last bit."""

import dataclasses
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import population
from tests.population.sweep_problems import FLOAT, hparams, regression

SPACE = hpo.Space({"lr": hpo.log_uniform(1e-3, 0.1), "momentum": hpo.uniform(0.0, 0.9)})
STEPS, TRIALS = 40, 20
SCHEDULERS = [None, "asha", "halving", "hyperband", "pb2", "pbt"]
OPTIONS = {"plain": {}, "states kept": {"keep_states": True}, "one call": {"chunk": TRIALS}}
QUICK = {("halving", "plain"), ("halving", "one call"), ("pbt", "states kept"), (None, "plain")}
CASES = [
    pytest.param(name, kind, marks=() if (name, kind) in QUICK else pytest.mark.slow)
    for name in SCHEDULERS
    for kind in OPTIONS
]
ROOT = pathlib.Path(__file__).parents[2]


class Stopped(Exception):
    """What the power cut of the quick tests raises."""


def scheduler_of(name):
    if name in ("pbt", "pb2"):
        return getattr(hpo.schedulers, name)(TRIALS, STEPS, space=SPACE, interval=8)
    return name


def run(scheduler=None, directory=None, stop_at=None, training=None, given=None, **options):
    """A sweep; `stop_at` is the number of the progress report that raises."""
    seen = []

    def progress(event):
        seen.append(event)
        if directory is not None:
            time.sleep(0.02)  # the disk keeps up
        if len(seen) == stop_at:
            raise Stopped

    options = {"key": 3, "num_steps": STEPS, "num_reports": 4, "width": 5, **options}
    given = SPACE.sample(jax.random.key(0), TRIALS) if given is None else given
    training = regression() if training is None else training
    scheduler = scheduler_of(scheduler)
    options |= {"scheduler": scheduler, "checkpoint_dir": directory, "progress": progress}
    return population.sweep(training, given, **options), len(seen)


def assert_same(one, other):
    """All that a result says of the trials; how it was computed is another matter."""
    timings = {"seconds", "compile_seconds", "wait_seconds", "num_compilations", "plans"}
    for field in dataclasses.fields(population.Sweep):
        if field.name not in timings:
            parts = [getattr(sweep, field.name) for sweep in (one, other)]
            if field.name == "lineage" and parts[0] is not None:
                parts = [(x.steps, x.parent, x.hparams) for x in parts]
            if field.name == "key":
                parts = [jax.random.key_data(x) for x in parts]
            jax.tree.map(np.testing.assert_array_equal, *parts)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_what_was_cut_short_goes_on(name, kind, tmp_path):
    options = OPTIONS[kind]
    whole, _ = run(name, **options)
    checkpointed, total = run(name, tmp_path / "whole", **options)
    assert_same(checkpointed, whole)
    with pytest.raises(Stopped):
        run(name, tmp_path / "cut", 2 * total // 3, **options)
    resumed, left = run(name, tmp_path / "cut", **options)
    assert left < total
    assert_same(resumed, whole)


def test_a_finished_sweep_is_read_and_not_trained(tmp_path):
    count = {}
    training = regression(count=count)
    whole, _ = run("halving", tmp_path, training=training, keep_states=True)
    assert os.listdir(tmp_path) == [str(max(int(name) for name in os.listdir(tmp_path)))]
    count.clear()
    again, _ = run("halving", tmp_path, training=training, keep_states=True)
    assert again.num_compilations == 0
    assert count == {"init": 1, "loss": 2}  # traced, to know that it is this training
    assert str(again.plan) == str(whole.plan)
    assert_same(again, whole)


def odd_training():
    """A state with a typed key, a leaf without elements, a flag and bfloat16; trials that fail."""

    def init(key, h):
        width = h["width"]
        return {
            "w": jax.random.normal(key, (width,), FLOAT),
            "key": key,
            "none": jnp.zeros((0, 2), FLOAT),
            "flag": jnp.bool_(True),
            "small": jnp.ones(2, jnp.bfloat16),
        }

    def step(key, h, s, t):
        noise = jax.random.normal(jax.random.fold_in(s["key"], t), s["w"].shape, FLOAT)
        w = s["w"] * (1 - h["lr"]) + h["lr"] * noise
        return {**s, "w": w, "flag": ~s["flag"], "small": s["small"] * jnp.bfloat16(0.9)}

    def loss(h, s):
        return jnp.sum(s["w"] ** 2) + jnp.sum(s["small"]).astype(FLOAT)

    return hpo.Training(init=init, step=step, loss=loss)


@pytest.mark.parametrize("name", [None, pytest.param("pbt", marks=pytest.mark.slow)])
def test_static_values_failures_and_odd_leaves(name, tmp_path):
    space = hpo.Space({"lr": hpo.log_uniform(1e-3, 0.5), "width": hpo.static([2, 5])})
    given = space.sample(jax.random.key(1), TRIALS)
    given = {**given, "lr": given["lr"].at[jnp.array([3, 7])].set(jnp.inf)}
    scheduler = None if name is None else hpo.schedulers.pbt(TRIALS, STEPS, space=space, interval=8)
    options = {"training": odd_training(), "given": given, "keep_states": True}
    whole, _ = run(scheduler, **options)
    _, total = run(scheduler, tmp_path / "whole", **options)
    with pytest.raises(Stopped):
        run(scheduler, tmp_path / "cut", total // 2, **options)
    resumed, _ = run(scheduler, tmp_path / "cut", **options)
    assert_same(without_keys(resumed), without_keys(whole))


def without_keys(swept):
    """States whose typed keys are their data."""

    def plain(leaf):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return jax.random.key_data(leaf) if is_key else leaf

    states, best = (jax.tree.map(plain, tree) for tree in (swept.states, swept.best_state))
    return dataclasses.replace(swept, states=states, best_state=best)


def test_a_checkpoint_of_another_sweep_is_refused(tmp_path):
    run("halving", tmp_path)
    other_space = hpo.Space({"lr": hpo.log_uniform(1e-3, 0.1), "momentum": hpo.uniform(0.0, 0.8)})
    for changed, what in (
        ({"key": 4}, "key"),
        ({"given": hparams(TRIALS)}, "hparams"),
        ({"given": hparams(TRIALS + 1)}, "hparams"),
        ({"given": other_space.sample(jax.random.key(0), TRIALS)}, "hparams"),
        ({"num_steps": STEPS + 1}, "num_steps"),
        ({"num_reports": 3}, "report steps"),
        ({"scheduler": None}, "scheduler"),
        ({"scheduler": hpo.schedulers.halving(TRIALS, STEPS, eta=3)}, "scheduler"),
        ({"training": regression(batch_size=4)}, "training"),
        ({"first_trial": 1}, "key"),
        ({"share_data_order": True}, "share_data_order"),
        ({"keep_states": True}, "keep_states"),
        ({"width": 8}, "width"),
    ):
        changed = {"scheduler": "halving", **changed}
        match = rf"sweep: `checkpoint_dir` must hold .* with another .*`{what}`"
        with pytest.raises(population.CheckpointMismatchError, match=match):
            run(changed.pop("scheduler"), tmp_path, **changed)
    assert run("halving", tmp_path)[0].num_compilations == 0


def test_other_data_are_another_training(tmp_path):
    def training(shift):
        target = jnp.arange(3.0, dtype=FLOAT) + shift
        return hpo.Training(
            init=lambda key, h: jnp.zeros(3, FLOAT),
            step=lambda key, h, w, t: w - h["lr"] * (w - target),
            loss=lambda h, w: jnp.sum((w - target) ** 2),
        )

    run(None, tmp_path, training=training(0.0))
    run(None, tmp_path, training=training(0.0))  # the same, made anew
    with pytest.raises(population.CheckpointMismatchError, match="another `training`"):
        run(None, tmp_path, training=training(1.0))


def test_a_path_is_required():
    for wrong in (3, b"", ""):
        with pytest.raises(TypeError, match="sweep: `checkpoint_dir` must be the path of a folder"):
            run(None, wrong)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("mine")
    for wrong in (file, file / "below"):
        with pytest.raises(
            ValueError, match="sweep: `checkpoint_dir` must be a folder that can be"
        ):
            run(None, wrong)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ValueError, match="is read-only"):
        run(None, tmp_path)


def torn(folder):
    for path in folder.glob("*/arrays/**/*"):
        if path.is_file():
            os.truncate(path, path.stat().st_size // 2)


def without_arrays(folder):
    for path in folder.glob("*/arrays"):
        shutil.rmtree(path)


def says(text):
    def write(folder):
        for path in folder.glob("*/about/metadata"):
            path.write_text(text)

    return write


def of_somebody_else(folder):
    (folder / "1000").mkdir()
    (folder / "1000" / "notes.txt").write_text("mine")


@pytest.mark.parametrize("harm", [torn, without_arrays, says("{"), says("{}"), of_somebody_else])
def test_a_damaged_checkpoint_is_said_to_be_one(harm, tmp_path):
    run(None, tmp_path)
    harm(tmp_path)
    match = "sweep: `checkpoint_dir` must hold whole .* cannot be read"
    with pytest.raises(population.CheckpointMismatchError, match=match):
        run(None, tmp_path)


def test_what_a_killed_process_left_is_removed(tmp_path):
    whole, _ = run("halving", tmp_path)
    [last] = os.listdir(tmp_path)
    torn = tmp_path / f"{int(last) + 1}.orbax-checkpoint-tmp"
    torn.mkdir()
    (torn / "half").write_bytes(b"\0" * 100)
    assert_same(run("halving", tmp_path)[0], whole)
    assert os.listdir(tmp_path) == [last]


CHILD = """
import sys, time, numpy as np
from tests.population import test_checkpoints as t
class Talk:
    def __call__(self, event):
        print("report", flush=True)
        time.sleep(0.01)
name, folder, out = sys.argv[1:]
kept = t.population.sweep(
    t.regression(), t.SPACE.sample(t.jax.random.key(0), t.TRIALS), key=3, num_steps=t.STEPS,
    num_reports=20, width=5, scheduler=t.scheduler_of(None if name == "None" else name),
    checkpoint_dir=folder or None, keep_states=True, progress=Talk(),
)
parent = np.zeros(0) if kept.lineage is None else kept.lineage.parent
rates = np.zeros(0) if kept.lineage is None else kept.lineage.hparams["lr"]
np.savez(out, curves=kept.curves, losses=kept.losses, steps=kept.steps, status=kept.status,
    parent=parent, rates=rates, index=kept.best_index, best=kept.best_state.params,
    states=kept.states.params, rows=np.concatenate(kept.state_trials))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_process_that_is_killed_again_and_again(name, tmp_path):
    """SIGKILL at random moments: in a rung, in a write, and while the sweep is taken up again."""
    rng = random.Random(str(name))

    def start(folder, out):
        command = [sys.executable, "-W", "error", "-c", CHILD, str(name), str(folder), str(out)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    with start("", tmp_path / "whole.npz") as process:
        num_reports = len(process.stdout.readlines())
    assert process.returncode == 0
    folder, out = tmp_path / "checkpoints", tmp_path / "killed.npz"
    for _ in range(8):
        with start(folder, out) as process:
            for _ in range(rng.randrange(num_reports // 2)):
                process.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.1))
            process.kill()
            process.stdout.read()
        if process.returncode == 0:
            break
        whole = [one for one in folder.glob("*") if one.name.isdigit()] if folder.exists() else []
        assert len(whole) <= 2
    with start(folder, out) as process:
        process.stdout.read()
    assert process.returncode == 0
    assert len(os.listdir(folder)) == 1
    with np.load(tmp_path / "whole.npz") as expected, np.load(out) as found:
        for field in expected.files:
            np.testing.assert_array_equal(found[field], expected[field], field)
