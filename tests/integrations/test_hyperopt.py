"""Our samplers inside the real `hyperopt.fmin`, and an `fmin` that returns values."""

import math

import hyperopt
import numpy as np
import pytest
from hyperopt import STATUS_FAIL, STATUS_OK, Trials, hp
from hyperopt.pyll import scope

from jaxhpo.integrations.hyperopt import fmin, suggest

SPACE = {
    "lr": hp.loguniform("lr", math.log(1e-4), 0.0),
    "batch": hp.quniform("batch", 16, 64, 16),
    "model": hp.choice(
        "model",
        [
            {"kind": "svm", "C": hp.lognormal("C", 0, 1)},
            {"kind": "tree", "depth": scope.int(hp.quniform("depth", 2, 32, 2))},
            "mean",
        ],
    ),
    "seed": hp.randint("seed", 5),
}


def loss(params):
    """Smallest for a tree of depth 8 and lr near 0.01."""
    model = params["model"]
    base = {"svm": 2.0, "tree": 0.0}[model["kind"]] if isinstance(model, dict) else 3.0
    depth = abs(model["depth"] - 8) / 10 if base == 0.0 else 0.0
    return base + depth + (math.log10(params["lr"]) + 2) ** 2 / 4


def run(algo, n, trials, fn=loss, space=None, **settings):
    return hyperopt.fmin(
        fn, space or SPACE, algo=algo, max_evals=n, trials=trials, show_progressbar=False,
        rstate=np.random.default_rng(0), **settings,
    )  # fmt: skip


@pytest.fixture(scope="module")
def search():
    trials = Trials()
    seen = []
    best = run(suggest("qmc"), 24, trials, lambda p: seen.append(p) or loss(p))
    return trials, seen, best


def test_trials_are_as_hyperopt_has_them(search):
    trials, seen, best = search
    assert len(trials) == len(seen) == 24
    for document, params in zip(trials.trials, seen, strict=True):
        vals = {label: v[0] for label, v in document["misc"]["vals"].items() if v}
        assert hyperopt.space_eval(SPACE, vals) == params
        active = {"svm": {"C"}, "tree": {"depth"}}
        model = params["model"]
        inner = active[model["kind"]] if isinstance(model, dict) else set()
        assert set(vals) == {"lr", "batch", "model", "seed"} | inner
    assert loss(hyperopt.space_eval(SPACE, best)) == min(trials.losses())


@pytest.mark.slow
def test_sampler_learns():
    trials, seen = Trials(), []
    run(suggest("tpe"), 40, trials, lambda p: seen.append(p) or loss(p))
    assert min(trials.losses()) < 0.4
    late = [p["model"]["kind"] for p in seen[25:] if isinstance(p["model"], dict)]
    assert late.count("tree") > 10


@pytest.mark.parametrize("sampler", [pytest.param("tpe", marks=pytest.mark.slow), "qmc"])
def test_another_algorithms_trials_are_taken_up(sampler):
    trials = Trials()
    run(hyperopt.rand.suggest, 15, trials)
    known = min(trials.losses())
    run(suggest(sampler), 25, trials)
    assert len(trials) == 25
    assert sampler == "qmc" or min(trials.losses()[15:]) < known + 0.5
    repeated = Trials()
    run(hyperopt.rand.suggest, 15, repeated)
    run(suggest(sampler), 20, repeated)
    assert repeated.losses() == trials.losses()[:20], "same seed, same search"


def test_values_not_indices():
    best = fmin(loss, SPACE, "qmc", 24)
    assert best["model"] == "mean" or best["model"]["kind"] in ("svm", "tree")
    assert isinstance(best, dict)
    assert best["batch"] in (16.0, 32.0, 48.0, 64.0)
    trials = Trials()
    again = fmin(loss, SPACE, suggest("qmc"), 24, trials=trials, rstate=0)
    assert (again, len(trials)) == (best, 24)
    assert fmin(lambda x: abs(x - 2), hp.choice("x", [1, 2, 3]), "grid", 9) == 2


def test_failures_and_exhausted_spaces():
    def sometimes(x):
        return {"status": STATUS_FAIL} if x == 1 else {"status": STATUS_OK, "loss": -x}

    trials = Trials()
    space = hp.choice("x", [0, 1, 2])
    assert fmin(sometimes, space, "random", 3, trials=trials) == 2
    assert sorted(v["x"][0] for v in (t["misc"]["vals"] for t in trials.trials)) == [0, 1, 2]
    with pytest.raises(ValueError, match="none of 2 trials succeeded"):
        fmin(lambda x: {"status": STATUS_FAIL}, hp.uniform("x", 0, 1), "qmc", 2)

    def raises(x):
        raise RuntimeError("broken objective")

    with pytest.raises(RuntimeError, match="broken objective"):
        fmin(raises, space, "qmc", 3)


def test_bad_input():
    with pytest.raises(ValueError, match="suggest: `sampler` must be one of auto"):
        suggest("bayes")
    with pytest.raises(TypeError, match="suggest: `sampler` must be a name"):
        suggest(3)
    with pytest.raises(TypeError, match="fmin: `max_evals` must be given"):
        fmin(loss, SPACE, "qmc")
    doubled = {"x": hp.uniform("x", 0, 1) * 2}
    with pytest.raises(ValueError, match="must be one of hp.uniform"):
        fmin(lambda p: p["x"], doubled, "qmc", 3)
