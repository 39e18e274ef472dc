"""Batches of a sweep have the size that its sampler can use, and the plan says so."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import samplers
from jaxhpo.samplers._batches import batching_of
from jaxhpo.samplers._description import describe
from jaxhpo.study import Study

SPACE = hpo.Space({"x": hpo.uniform(-1.0, 1.0), "y": hpo.uniform(-1.0, 1.0)})
TRAINING = hpo.Training(
    init=lambda key, h: jnp.zeros(()),
    step=lambda key, h, state, t: (h["x"] - 0.3) ** 2 + (h["y"] + 0.2) ** 2,
    loss=lambda h, state: state,
)

THREE = samplers.random(SPACE), samplers.qmc(SPACE), samplers.gp(SPACE)


def sizes(name, num_trials, **settings):
    """How many trials each batch has."""
    study = Study(SPACE, name, storage=None, name="s", seed=1)
    found = []
    append = study._store.append

    def counted(rows, *rest, **more):
        found.append(len(rows))
        return append(rows, *rest, **more)

    study._store.append = counted
    summary = study.sweep(TRAINING, num_trials=num_trials, num_steps=1, progress=False, **settings)
    assert summary.num_batches == len(found)
    return found, summary


@pytest.mark.parametrize(
    ("made", "first", "size", "learns"),
    [
        (samplers.random(SPACE), 4096, 4096, False),
        (samplers.qmc(SPACE), 4096, 4096, False),
        (samplers.grid(SPACE, points_per_dim=4), 4096, 4096, False),
        (samplers.mixture(THREE[:2], [0.5, 0.5]), 4096, 4096, False),
        (samplers.mixture(THREE[1:], [0.5, 0.5]), 4, 8, True),
        (samplers.gp(SPACE), 4, 8, True),
        (samplers.gp(SPACE, batch_size=3, num_startup=7), 9, 9, True),
        (samplers.gp_multi(SPACE, num_objectives=2), 4, 8, True),
        (samplers.turbo(SPACE), 4, 8, True),
        (samplers.tpe(SPACE), 10, 8, True),
        (samplers.cma_es(SPACE, population_size=12), 12, 12, True),
        (samplers.de(SPACE, population_size=7), 7, 7, True),
    ],
)  # fmt: skip
def test_a_sampler_gets_batches_that_it_can_use(made, first, size, learns):
    own = batching_of(made)
    assert own[1:] == (first, size, learns)
    assert bool(own.words) is learns
    ends = [first + i * size for i in range(4)]
    numbers = [0, 1, first - 1, first, first + 1, first + size]
    assert {n + own.count_at(n) for n in numbers} <= set(ends)


def test_a_sampler_that_learns_learns_by_default_and_the_plan_says_so(caplog):
    found, summary = sizes("tpe", 30)
    assert found == [10, 8, 8, 4]
    words = "tpe learns between batches: 10 trials first, then 8 at a time"
    assert all(words in str(plan) for plan in summary.plans)
    assert "before it learns" not in caplog.text
    found, summary = sizes("random", 30)
    assert found == [30]
    assert not any("learns" in str(plan) for plan in summary.plans)
    found, _ = sizes("tpe", 30, batch_size=4096)
    assert found == [30]
    [line] = [r.message for r in caplog.records if "before it learns" in r.message]
    assert "batch_size=4096 lets tpe propose 30 trials before it learns" in line


def test_the_line_at_the_start_says_which_batches_there_are(capfd):
    study = Study(SPACE, "cma_es", storage=None, name="s")
    study.sweep(TRAINING, num_trials=2, num_steps=1)
    out, lines = capfd.readouterr()
    assert out == ""
    # Whether a line speaks of compiling depends on how long it took.
    assert [line for line in lines.splitlines() if ": compiling " not in line] == [
        "s: 2 trials; 1 steps each; cma_es learns between batches: 6 at a time; "
        "the programs compile first"
    ]


def test_minimize_says_once_what_a_large_batch_loses(caplog):
    def objective(key, params):
        return params["x"] ** 2

    for name, size in (("random", 64), ("tpe", 8), ("tpe", 64), ("tpe", 64)):
        hpo.minimize(objective, SPACE, name, key=0, num_trials=64, batch_size=size)
    lines = [r.message for r in caplog.records if "before it learns" in r.message]
    assert len(lines) == 1
    assert lines[0].startswith("minimize: batch_size=64 lets tpe propose 64 trials")


@pytest.mark.parametrize("name", ["tpe", "cma_es"])
def test_a_sweep_stopped_between_batches_goes_on_with_the_same_points(url, name):
    own = batching_of(samplers.get(name, SPACE))
    parts = (own.first, own.size, 2 * own.size)
    settings = {"num_steps": 1, "progress": False}
    whole = Study(SPACE, name, storage=None, seed=1)
    whole.sweep(TRAINING, num_trials=sum(parts), **settings)
    for part in parts:
        study = Study(SPACE, name, storage=url, name="s", seed=1)
        study.sweep(TRAINING, num_trials=part, **settings)
    np.testing.assert_allclose(
        [t.unit for t in study.trials], [t.unit for t in whole.trials], atol=1e-5
    )


@pytest.mark.parametrize("name", ["random", "qmc", "tpe", "cma_es"])
def test_a_ready_sampler_is_called_by_its_name(name):
    made = samplers.get(name, SPACE)
    assert batching_of(made).name == name
    assert describe(made).startswith(f"{name}(")
