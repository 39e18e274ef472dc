"""The main job, small: real data, a real study, a plot that can be opened."""

import optuna
import pytest


@pytest.mark.slow  # CI runs the whole demo by its command
def test_demo_leaves_a_study_and_a_plot(jaxhpo, folder):
    done = jaxhpo("demo", "--trials", 12, "--steps", 60)
    assert done.code == 0, done.err
    assert "unseen digits" in done.out
    assert "exact hypergradients through all 60\nsteps" in done.out
    assert "False labels found" in done.out
    assert "goes on with a Gaussian process: 12 more trials" in done.out
    for name in ("digits.png", "bayesian.png", "hypergradient.png"):
        plot = folder / "jaxhpo-demo" / name
        assert plot.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    study = optuna.load_study(
        study_name="digits-60-steps", storage="sqlite:///jaxhpo-demo/study.db"
    )
    assert len(study.trials) == 12 + 12  # random ones, and as many by the model
    assert study.best_value < 2.0  # chance is log 10 = 2.3
    assert set(study.best_params) == {"lr", "momentum", "decay", "width"}
    assert max(study.best_trial.intermediate_values) == 60
    assert study.best_trial.intermediate_values[60] == pytest.approx(study.best_value)
