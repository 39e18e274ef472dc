"""The typical programs of Optuna and Ray Tune, our sampler beside theirs at equal evaluations."""

import numpy as np
import optuna
import pytest
from scipy import stats

from jaxhpo.integrations.optuna import JaxhpoSampler

pytestmark = pytest.mark.slow

SEEDS, TRIALS = 10, 60


def classical(trial):
    """The loss of a small network, as a formula: rate, depth, optimizer and its momentum."""
    lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
    layers = trial.suggest_int("layers", 1, 6)
    loss = (np.log10(lr) + 2.5) ** 2 + 0.1 * (layers - 3) ** 2
    if trial.suggest_categorical("optimizer", ["sgd", "adam"]) == "sgd":
        loss += 0.3 + (trial.suggest_float("momentum", 0.0, 1.0) - 0.9) ** 2
    return loss


def assert_not_worse(ours, theirs):
    """One-sided rank test at 5 %, after as many trials with as many seeds."""
    found = stats.mannwhitneyu(ours, theirs, alternative="greater")
    assert found.pvalue > 0.05, (sorted(ours), sorted(theirs))


def best_of(sampler):
    study = optuna.create_study(sampler=sampler)
    study.optimize(classical, n_trials=TRIALS)
    return study.best_value


def test_optuna_s_program():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    theirs = [best_of(optuna.samplers.TPESampler(seed=seed)) for seed in range(SEEDS)]
    ours = [best_of(JaxhpoSampler("tpe", seed=seed)) for seed in range(SEEDS)]
    assert_not_worse(ours, theirs)


def test_ray_s_program():
    pytest.importorskip("ray", reason='pip install "jaxhpo[ray]"')
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    from jaxhpo.integrations.ray import JaxhpoSearch

    params = {"lr": tune.loguniform(1e-5, 1.0), "layers": tune.randint(1, 7)}

    def best(search):
        search.set_search_properties("loss", "min", params)
        losses = []
        for i in range(TRIALS):
            config = search.suggest(f"t{i}")
            loss = (np.log10(config["lr"]) + 2.5) ** 2 + 0.1 * (config["layers"] - 3) ** 2
            losses.append(float(loss))
            search.on_trial_complete(f"t{i}", {"loss": losses[-1], "training_iteration": 1})
        return min(losses)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    theirs = [best(OptunaSearch(seed=seed)) for seed in range(SEEDS)]
    ours = [best(JaxhpoSearch("tpe", seed=seed)) for seed in range(SEEDS)]
    assert_not_worse(ours, theirs)
