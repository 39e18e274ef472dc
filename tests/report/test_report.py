"""The report: what it says, that it opens without a network, and that it is refused in one line."""

import re
import sys

import numpy as np
import optuna
import pytest

import jaxhpo as hpo
from jaxhpo.report import write_report
from jaxhpo.report._baseline import baseline_of
from jaxhpo.report._facts import facts_of
from jaxhpo.report._figures import MAX_POINTS, pareto, regret, thinned
from jaxhpo.report._model import fanova_of, importance_of
from tests.browser import open_browser, picture_path

pytest.importorskip("plotly")

SPACE = {
    "lr": hpo.log_uniform(1e-4, 1.0),
    "momentum": hpo.uniform(0.0, 0.99),
    "<script>": hpo.choice(["a", "b"]),
}


def score(params):
    if params["momentum"] > 0.7:
        raise RuntimeError("diverged </script> & stopped")
    return (np.log10(params["lr"]) + 2.0) ** 2 + params["momentum"] + (params["<script>"] == "a")


@pytest.fixture(scope="module")
def study():
    study = hpo.Study(SPACE, "random", storage=None, name="digits <1>")
    study.optimize(score, num_trials=40, progress=False)
    steps = [1, 2, 4]
    study.record([study.trials[0].params], [2.0], curves=[[4.0, 3.0, 2.0]], curve_steps=steps)
    return study


@pytest.fixture(scope="module")
def page(study, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "new" / "report.html"
    assert study.report(path, model=False) == path
    return path


def test_rungs_count_who_was_stopped_where(tmp_path):
    study = hpo.Study({"x": hpo.uniform(1.0, 2.0)}, "qmc", storage=None)

    def objective(params, checkpoint=None):
        for step in range(int(checkpoint or 0), 4):
            yield hpo.Report(params["x"] / (step + 1), checkpoint=float(step + 1))

    rule = hpo.schedulers.halving(8, 4, levels=[1, 2, 4])
    study.optimize(objective, num_trials=8, scheduler=rule, progress=False)
    x = sorted(trial.params["x"] for trial in study.trials)
    assert facts_of(study.to_optuna()).rungs == [
        (1, 8, 4, x[0], pytest.approx(np.median(x))),
        (2, 4, 2, x[0] / 2, pytest.approx(np.median(x[:4]) / 2)),
    ]
    text = body(study.report(tmp_path / "r.html", model=False))
    assert "<h2>Rungs</h2>" in text
    assert f"<td>1</td><td>8</td><td>4</td><td>{x[0]:.6g}</td>" in text


def body(page):
    """The text of the page without its scripts."""
    return re.sub(r"<script>.*?</script>", "", page.read_text(), flags=re.S)


def test_a_study_without_stopped_trials_has_no_rungs(page):
    assert "<h2>Rungs</h2>" not in body(page)


def test_it_says_what_was_searched_found_and_lost(study, page):
    text = body(page)
    assert "<h1>Study digits &lt;1&gt;</h1>" in text
    best = study.best
    assert f"<th>trial {best.number}</th>" in text
    assert f"<td>value</td><td>{best.value:.6g}</td>" in text
    assert "<td>lr</td><td>real</td><td>0.0001 … 1</td><td>logarithmic</td><td>41</td>" in text
    assert "&lt;script&gt;" in text
    failed = [t for t in study.trials if t.status is hpo.Status.FAILED]
    reason = "RuntimeError: diverged &lt;/script&gt; &amp; stopped"
    assert f"<td>{len(failed)}</td><td>{failed[0].number}</td><td>{reason}</td>" in text
    assert "Proposed by random" in text
    for heading in ("History", "Which parameters matter", "Slices", "Learning curves", "Time"):
        assert f"<h2>{heading}" in text


def test_it_opens_in_a_browser_without_a_network(page, tmp_path):
    with open_browser(tmp_path) as browser:
        browser.go(page.as_uri(), "document.querySelectorAll('.figure .main-svg').length >= 16")
        count = browser.ask("document.querySelectorAll('.figure').length")
        drawn = browser.ask("[...document.querySelectorAll('.figure')].filter(f => f.data).length")
        browser.ask("document.getElementById('figure-0').previousSibling.scrollIntoView()")
        browser.picture(picture_path("report.png", tmp_path))
        assert browser.errors == []
    assert drawn == count == 8  # history, regret, importance, three slices, curves, times
    assert picture_path("report.png", tmp_path).stat().st_size > 20_000


def test_random_search_is_the_study_itself_in_other_orders(study):
    facts = facts_of(study.to_optuna())
    baseline = baseline_of(facts, None)
    value = facts.value[:, 0]
    n = len(value)
    assert baseline.mean[-1] == pytest.approx(value.min(), rel=1e-12)
    assert abs(baseline.mean[0] - value.mean()) < 4 * value.std() / np.sqrt(200)
    # Expected minimum of two draws without replacement, from the order statistics.
    ordered = np.sort(value)
    weights = np.arange(n - 1, -1, -1) / (n * (n - 1) / 2)
    assert abs(baseline.mean[1] - ordered @ weights) < 4 * value.std() / np.sqrt(200)
    assert (baseline.lower <= baseline.upper).all()


def test_signs_of_a_maximised_study():
    study = hpo.Study(SPACE, "random", storage=None, direction="maximize")
    study.optimize(lambda p: -score(p), num_trials=25, progress=False)
    facts = facts_of(study.to_optuna())
    assert facts.front[0].value == facts.value.max() == study.best_value
    baseline = baseline_of(facts, None)
    assert baseline.mean[-1] == pytest.approx(study.best_value, rel=1e-12)
    assert (np.diff(baseline.mean) >= -1e-12).all()
    assert (baseline.lower <= baseline.upper).all()


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_regret_of_a_study_stays_in_the_picture_where_it_is_zero(direction):
    study = hpo.Study(SPACE, "random", storage=None, direction=direction)
    sign = 1.0 if direction == "minimize" else -1.0
    study.optimize(lambda p: sign * score(p), num_trials=25, progress=False)
    facts = facts_of(study.to_optuna())
    figure = regret(facts, baseline_of(facts, None))
    ours, random = (np.asarray(trace["y"], np.float64) for trace in figure.data)
    axis = figure.layout["yaxis"]
    assert len(ours) == len(random) == len(facts.done)
    assert (ours > 0).all()  # a logarithm has a place for all of them
    assert ours[-1] == random.min() == axis["tickvals"][0]
    assert axis["ticktext"][0] == "0"
    assert (ours[-1] < 0.2 * ours[ours > ours[-1]]).all()
    value = facts.signs[0] * facts.value[:, 0]
    best = np.minimum.accumulate(value) - value.min()
    np.testing.assert_allclose(ours[best > 0], best[best > 0])


def test_importances_find_what_matters():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    study.optimize(lambda t: t.suggest_float("a", 0, 1) + 0 * t.suggest_float("b", 0, 1), 60)
    found = importance_of(facts_of(study))
    assert next(iter(found)) == "a"
    assert found["a"] > 3 * found["b"]
    forest = fanova_of(facts_of(study), 0)
    assert forest["a"] > 10 * forest["b"]


def test_importances_of_several_objectives_are_told_apart(tmp_path):
    def two(trial):
        a, b, _ = (trial.suggest_float(name, 0, 1) for name in ("a", "b", "idle"))
        return a, 1 - b

    study = optuna.create_study(
        directions=["minimize", "maximize"], sampler=optuna.samplers.RandomSampler(0)
    )
    study.optimize(two, 40)
    facts = facts_of(study)
    assert fanova_of(facts, 0)["a"] > 0.9 < fanova_of(facts, 1)["b"]
    assert list(importance_of(facts))[2] == "idle"
    text = write_report(study, tmp_path / "r.html").read_text()
    for label in ("(PED-ANOVA)", "for objective 0 (fANOVA)", "for objective 1 (fANOVA)"):
        assert f"importance {label}" in text


def test_without_scikit_learn_there_is_no_forest(monkeypatch, tmp_path):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    study.optimize(lambda t: t.suggest_float("a", 0, 1), 8)

    def missing(**settings):
        raise ImportError("scikit-learn")

    monkeypatch.setattr(optuna.importance, "FanovaImportanceEvaluator", missing)
    assert fanova_of(facts_of(study), 0) == {}


def test_several_objectives_show_their_front(tmp_path):
    study = optuna.create_study(directions=["minimize", "maximize"])
    for x, y in ((0.0, 0.0), (1.0, 1.0), (1.0, 0.5)):
        distributions = {"x": optuna.distributions.FloatDistribution(0, 1)}
        trial = optuna.create_trial(params={"x": x}, distributions=distributions, values=[x, y])
        study.add_trial(trial)
    assert [t.number for t in facts_of(study).front] == [0, 1]
    figure = pareto(study, facts_of(study))
    assert sum(len(trace["x"]) for trace in figure.data) == 3
    (front,) = [trace for trace in figure.data if "Best Trial" in trace["hovertemplate"]]
    assert (front["x"], front["y"]) == ([0.0, 1.0], [0.0, 1.0])
    assert figure.layout["xaxis"]["title"]["text"] == "objective 0"
    text = body(write_report(study, tmp_path / "r.html"))
    assert "<h2>Pareto front</h2>" in text
    assert "To minimize and maximize" in text


def test_a_front_of_many_objectives_and_trials_fits_a_page():
    study = optuna.create_study(directions=["minimize"] * 4)
    x = {"x": optuna.distributions.FloatDistribution(0, 1)}
    values = np.random.default_rng(0).uniform(1.0, 2.0, (MAX_POINTS + 1, 4))
    for row in ([0.0] * 4, *values.tolist()):
        study.add_trial(optuna.create_trial(params={"x": 0.5}, distributions=x, values=row))
    figure = pareto(study, facts_of(study))
    crowd, front = figure.data
    assert len(crowd["x"]) == len(crowd["text"]) == len(crowd["marker"]["color"]) <= MAX_POINTS
    assert [front[axis] for axis in "xyz"] == [[0.0]] * 3
    assert front["marker"]["color"] == [0]
    assert figure.layout["scene"]["zaxis"]["title"]["text"] == "objective 2"


def test_large_studies_are_thinned_and_keep_their_best():
    study = optuna.create_study()
    facts = facts_of(study)
    value = np.random.default_rng(0).normal(size=(5000, 1))
    large = type(facts)("s", ("minimize",), "", {}, [], [None] * 5000, value, [], ("value",))
    kept = thinned(large)
    assert len(kept) == MAX_POINTS == len(set(kept.tolist()))
    assert set(np.argsort(value[:, 0])[:100].tolist()) <= set(kept.tolist())


def test_odd_studies_have_a_report(tmp_path):
    failed = hpo.Study(SPACE, "random", storage=None)
    failed.optimize(lambda p: float("nan"), num_trials=3, progress=False)
    assert "No trial is complete yet." in body(failed.report(tmp_path / "f.html"))
    one = hpo.Study({"x": hpo.fixed(1)} | {"y": hpo.uniform(0.0, 1.0)}, "random", storage=None)
    one.optimize(lambda p: 1.0, num_trials=1, progress=False)
    assert "No trial failed." in body(one.report(tmp_path / "o.html"))
    running = optuna.create_study()
    running.ask()
    assert "1 running" in body(write_report(running, tmp_path / "r.html"))


def test_wrong_use_is_one_line(tmp_path, monkeypatch, study):
    with pytest.raises(ValueError, match="`study` must have trials"):
        write_report(optuna.create_study(), tmp_path / "r.html")
    with pytest.raises(ValueError, match="`path` must be a file"):
        study.report(tmp_path)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "jaxhpo\[plot\]"'):
        study.report(tmp_path / "r.html")


@pytest.mark.slow
def test_the_model_s_part_is_drawn(tmp_path):
    study = hpo.Study(SPACE, "tpe", storage=None, name="with a model")
    study.optimize(score, num_trials=40, progress=False)
    path = study.report(tmp_path / "report.html")
    text = body(path)
    assert "Random search here is an estimate and no run" in text
    assert "<h2>Contours</h2>" in text
    assert "variance that goes with a parameter" in text
    with open_browser(tmp_path) as browser:
        drawn = "[...document.querySelectorAll('.figure')].filter(f => f.data).length"
        browser.go(path.as_uri(), f"{drawn} === 11")
        browser.picture(picture_path("report_model.png", tmp_path), whole=True)
        assert browser.errors == []
