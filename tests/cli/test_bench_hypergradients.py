"""`jaxhpo bench hypergradients`, as a person types it, with a third party's estimator and task."""

import json

THEIRS = '''
"""A third party's estimator and task."""

import jax.numpy as jnp
import jaxhpo as hpo
from jaxhpo.problems import Task

def mine(training, *, num_steps):
    return hpo.hypergrad.finite_difference(training, num_steps=num_steps)

def cracked(training, *, num_steps):
    raise RuntimeError("cracked for good")

def line():
    training = hpo.Training(
        init=lambda key, hparams: jnp.ones(()),
        step=lambda key, hparams, w, t: w * (1 - hparams["lr"]),
        loss=lambda hparams, w: w**2,
    )
    loss = lambda hparams, w: w**2
    return Task(training, 4, {"lr": jnp.asarray(0.1)}, loss, lambda h, w: -loss(h, w), 0.1, 10)

def wrong():
    return 3
'''


def test_third_parties_are_one_argument(jaxhpo, folder):
    (folder / "theirs.py").write_text(THEIRS)
    arguments = ("bench", "hypergradients", "--estimators", "unrolled,theirs:mine",
                 "--tasks", "theirs:line", "--budget", 30, "--seeds", 2, "--tuning-seeds", 1,
                 "--out", "table")  # fmt: skip
    done = jaxhpo(*arguments)
    assert done.code == 0, done.err
    assert "Mean rank" in done.out
    assert "leaderboard.md" in done.out
    rows = [
        json.loads(line)
        for line in (folder / "table/hypergradients.jsonl").read_text().splitlines()
    ]
    assert [(r["estimator"], r["task"], r["seed"]) for r in rows] == [
        (name, "line", seed) for name in ("unrolled", "mine") for seed in (0, 1)
    ]
    assert rows[0]["error"] == 0.0
    assert 0.0 < rows[2]["error"] < 1e-6
    before = (folder / "table/hypergradients.jsonl").read_bytes()
    assert jaxhpo(*arguments).code == 0
    assert (folder / "table/hypergradients.jsonl").read_bytes() == before


def test_what_raises_is_a_row_and_a_label_is_one_thing(jaxhpo, folder):
    for module in ("broken_ones", "their_others"):
        (folder / f"{module}.py").write_text(THEIRS)
    arguments = ("--tasks", "broken_ones:line", "--budget", 8, "--seeds", 1, "--tuning-seeds", 1,
                 "--out", "table")  # fmt: skip
    names = "broken_ones:cracked,one_step"
    done = jaxhpo("bench", "hypergradients", "--estimators", names, *arguments)
    assert done.code == 0, done.err
    assert "fails: RuntimeError: cracked for good" in (folder / "table/leaderboard.md").read_text()
    names = "their_others:cracked"
    done = jaxhpo("bench", "hypergradients", "--estimators", names, *arguments)
    assert done.code == 2
    assert "is broken_ones:cracked, and now it is their_others:cracked" in done.err
    done = jaxhpo("bench", "hypergradients", "--out", "broken_ones.py")
    assert "`out` must be a folder that can be written to, got 'broken_ones.py'" in done.err


def test_errors_are_one_line(jaxhpo, folder):
    (folder / "others.py").write_text(THEIRS)  # a module of another name: both stay imported
    for wrong, words in [
        (("--estimators", "nobody"), "must be among unrolled"),
        (("--tasks", "others:nobody"), "has no 'nobody'"),
        (("--tasks", "others:wrong"), "must return a problems.Task"),
        (("--tasks", ","), "--tasks needs at least one name"),
        (("--estimators", "unrolled,unrolled"), "given twice"),
    ]:
        done = jaxhpo("bench", "hypergradients", *wrong, "--out", "t")
        assert done.code != 0
        assert words in done.err
        assert "Traceback" not in done.err
