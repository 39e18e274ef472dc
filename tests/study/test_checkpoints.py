"""Checkpoints: any arrays come back as they were, and what is not ours is refused."""

import json
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.study import StorageError, Study, StudyMismatchError
from jaxhpo.study.reporting._packed import pack, unpack
from jaxhpo.study.storage.files._checkpoints import Checkpoints
from tests.study.reporters import X

TREE = {
    "w": np.arange(6.0).reshape(2, 3),
    "parts": [np.float32(1.5), (jnp.ones((0, 2), jnp.bfloat16), np.array(True)), None, {}],
    "bf16": jnp.asarray([1.0, -2.5, jnp.inf], jnp.bfloat16),
    "numbers": (3, 0.1, True, -(2**62)),
    "key": jax.random.key_data(jax.random.key(3)),
}


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        if isinstance(a, bool | int | float):
            assert (type(a), a) == (type(b), b)
        else:
            assert (np.asarray(a).dtype, np.shape(a)) == (b.dtype, b.shape)
            assert np.asarray(a).tobytes() == b.tobytes()


@pytest.mark.parametrize("where", ["file", "memory"])
def test_trees_come_back_as_they_were(tmp_path, where):
    location = str(tmp_path / "s.db") if where == "file" else None
    kept = Checkpoints(location, "a/study?", "hash")
    found = kept.save(3, 7, pack(TREE))
    found = json.loads(json.dumps(found))  # as the storage keeps it
    same(TREE, kept.load(found))
    same(TREE, Checkpoints(location, "a/study?", "hash").load(found)) if location else None
    kept.remove(found)
    with pytest.raises(StorageError, match="is gone"):
        kept.load(found)
    assert os.listdir(tmp_path) == []


def test_a_checkpoint_is_a_copy():
    array = np.zeros(2)
    kept = Checkpoints(None, "s", "hash")
    found = kept.save(0, 1, pack({"a": array}))
    array += 1.0
    kept.load(found)["a"][:] = 5.0
    assert kept.load(found)["a"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "tree",
    [
        optax.adam(1e-3).init({"w": jnp.zeros(2)}),
        {1: np.zeros(2)},
        {"a": object()},
        {"a": np.array(["text"])},
        {"a": "text"},
        {"key": jax.random.key(0)},
        np.zeros(2, [("a", float)]),
    ],
)
def test_other_trees_are_refused_with_a_way_out(tree):
    with pytest.raises(TypeError, match="`objective` must yield a checkpoint that is a path, or"):
        pack(tree)

    def objective(params, checkpoint=None):
        yield hpo.Report(1.0, tree)

    study = Study(X, "qmc", storage=None)
    with pytest.raises(TypeError, match="jax.tree.leaves"):
        study.optimize(objective, num_trials=1, progress=False)
    assert [t.status for t in study.trials] == [Status.FAILED]


def test_leaves_that_do_not_fit_are_refused():
    structure, leaves = pack({"a": np.zeros(2), "b": np.zeros(3)})
    for wrong in (leaves[:1], [*leaves, leaves[0]], leaves[::-1], [leaves[0], leaves[1][:2]]):
        with pytest.raises(ValueError, match="leaves|leaf"):
            unpack(type(pack(None))(structure, wrong))


def resumes(params, checkpoint=None):
    """Is interrupted after two reports, and goes on once it has a checkpoint."""
    for step in range(0 if checkpoint is None else int(checkpoint["step"]), 3):
        if step == 2 and checkpoint is None:
            raise KeyboardInterrupt
        yield hpo.Report(float(step), {"step": step + 1, "w": np.ones(4)})


def interrupted(url):
    study = Study(X, "qmc", storage=url, name="s")
    with pytest.raises(KeyboardInterrupt):
        study.optimize(resumes, num_trials=1, progress=False)
    [trial] = study.trials
    assert (trial.status, trial.curve) == (Status.WAITING, {1: 0.0, 2: 1.0})
    [path] = (p for _, _, names in os.walk(f"{study._store.location}.checkpoints") for p in names)
    folder = next(d for d, _, names in os.walk(f"{study._store.location}.checkpoints") if names)
    return os.path.join(folder, path)


def test_the_last_checkpoint_is_kept_until_the_trial_ends(url):
    path = interrupted(url)
    assert pathlib.Path(path).name.startswith("0-2-")
    study = Study(X, "qmc", storage=url, name="s")
    study.optimize(resumes, num_trials=0, progress=False)  # what was left
    assert study.trials[0].curve == {1: 0.0, 2: 1.0, 3: 2.0}
    assert study.trials[0].status is Status.COMPLETE
    assert not os.path.exists(path)


def other_space(path):
    with np.load(path) as stored:
        parts = dict(stored)
    header = json.loads(str(parts["header"]))
    header["space"] = "another"
    np.savez(path, **{**parts, "header": np.asarray(json.dumps(header))})


def other_format(path):
    with np.load(path) as stored:
        parts = dict(stored)
    header = json.loads(str(parts["header"]))
    header["format"] = 99
    np.savez(path, **{**parts, "header": np.asarray(json.dumps(header))})


def other_size(path):
    with np.load(path) as stored:
        parts = dict(stored)
    np.savez(path, **{**parts, "leaf0": np.ones(5)})


def pickled(path):
    with np.load(path) as stored:
        parts = dict(stored)
    np.savez(path, **{**parts, "leaf0": np.array([object()], dtype=object)})


def cut(path):
    with open(path, "r+b") as file:
        file.truncate(40)


@pytest.mark.parametrize(
    ("damage", "error", "text"),
    [
        (other_space, StudyMismatchError, "must be of the space"),
        (other_format, StudyMismatchError, "must be of the format 1, got 99"),
        (other_size, StorageError, "is damaged: a leaf is float64\\[5\\], saved as float64\\[4\\]"),
        (pickled, StorageError, "is damaged"),
        (cut, StorageError, "is damaged"),
        (os.remove, StorageError, "is gone"),
    ],
)
def test_a_checkpoint_that_is_not_this_trials_is_named(url, damage, error, text):
    damage(interrupted(url))
    study = Study(X, "qmc", storage=url, name="s")
    with pytest.raises(error, match=text):
        study.optimize(resumes, num_trials=0, progress=False, catch=())
    [trial] = study.trials
    assert (trial.status, trial.curve) == (Status.FAILED, {1: 0.0, 2: 1.0})
    assert "`checkpoint`" in trial.reason


def test_a_path_is_stored_as_text_and_left_alone(url, tmp_path):
    def objective(params, checkpoint=None):
        seen.append(checkpoint)
        path = tmp_path / f"{params['x']}.bin"
        for step in range(0 if checkpoint is None else 1, 2):
            path.write_bytes(b"state")
            yield hpo.Report(1.0, path)
            if step == 0:
                raise KeyboardInterrupt

    seen = []
    study = Study(X, "qmc", storage=url, name="s")
    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective, num_trials=1, progress=False)
    again = Study(X, "qmc", storage=url, name="s")
    again.optimize(objective, num_trials=0, progress=False)
    [first] = again.trials
    assert seen == [None, str(tmp_path / f"{first.params['x']}.bin")]
    assert first.status is Status.COMPLETE
    assert os.path.exists(seen[1])


def test_arrays_have_no_place_on_a_server():
    kept = Checkpoints("postgresql://host/name", "s", "hash")
    assert kept.load(kept.save(0, 1, "/some/path")) == "/some/path"
    with pytest.raises(
        TypeError, match="must yield a path as its checkpoint where the study is on"
    ):
        kept.save(0, 1, pack({}))
