"""Trackers see every trial; a callback that raises loses nothing."""

import logging
import sys

import pytest

import jaxhpo as hpo
from jaxhpo.integrations import callbacks
from jaxhpo.progress import _reporter

X = {"x": hpo.uniform(-1.0, 3.0)}


def run(callback, num_trials=3, **settings):
    study = hpo.Study(X, "qmc", storage=None)
    study.optimize(
        lambda p: p["x"] ** 2, num_trials=num_trials, progress=False, callbacks=[callback],
        **settings,
    )  # fmt: skip
    return study


def test_optuna_s_callbacks_get_their_own_records():
    seen = []
    study = run(callbacks.from_optuna(lambda s, t: seen.append((s.best_value, t.number, t.value))))
    values = [t.value for t in study.trials]
    assert seen == [(min(values[: i + 1]), i, values[i]) for i in range(3)]


def test_an_exception_in_a_callback_leaves_the_study_whole(tmp_path, caplog):
    def broken(study, trial):
        raise ConnectionError("tracker is down")

    url = f"sqlite:///{tmp_path}/s.db"
    study = hpo.Study(X, "qmc", storage=url, name="s")
    with pytest.raises(ConnectionError, match="tracker is down"):
        study.optimize(lambda p: p["x"], num_trials=3, progress=False, callbacks=[broken])
    again = hpo.Study(X, "qmc", storage=url, name="s")
    assert [t.status for t in again.trials] == [hpo.Status.COMPLETE]
    with caplog.at_level(logging.ERROR, "jaxhpo"):
        again.optimize(
            lambda p: p["x"], num_trials=2, progress=False, callbacks=[callbacks.forgiving(broken)]
        )
    assert [t.status for t in again.trials] == [hpo.Status.COMPLETE] * 3
    assert "a callback failed after trial 2; the study continues" in caplog.text
    assert "tracker is down" in caplog.text


def test_tensorboard_gets_values_and_params(tmp_path):
    pytest.importorskip("tensorboardX", reason="pip install tensorboardX")
    callback = callbacks.tensorboard(tmp_path, value_name="loss")
    run(callback)
    callback.close()
    (file,) = tmp_path.glob("events.out.tfevents.*")
    written = file.read_bytes()
    assert written.count(b"best_loss") == 3
    assert written.count(b"params/x") == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # SQLAlchemy's, about MLflow's own queries
def test_mlflow_gets_a_run_a_trial(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="pip install mlflow")
    monkeypatch.setenv("GIT_PYTHON_REFRESH", "quiet")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    study = run(callbacks.mlflow(tracking_uri=uri, value_name="loss"))
    client = mlflow.MlflowClient(uri)
    found = client.get_experiment_by_name(study.name)
    runs = client.search_runs([found.experiment_id])
    assert sorted(r.data.metrics["loss"] for r in runs) == sorted(t.value for t in study.trials)
    assert {r.data.tags["status"] for r in runs} == {"COMPLETE"}
    assert {r.info.status for r in runs} == {"FINISHED"}


@pytest.mark.slow
def test_wandb_gets_every_trial(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="pip install wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    callback = callbacks.wandb(value_name="loss", dir=str(tmp_path), project="test")
    study = run(callback)
    summary = dict(callback._run.summary)
    assert summary["best_loss"] == study.best_value
    assert summary["params/x"] == study.trials[-1].params["x"]
    callback.close()
    (folder,) = tmp_path.glob("wandb/offline-run-*")
    assert list(folder.glob("*.wandb"))


def test_missing_packages_are_named(monkeypatch):
    for module in ("wandb", "mlflow", "tensorboardX", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match="pip install wandb"):
        callbacks.wandb()
    with pytest.raises(ModuleNotFoundError, match="pip install mlflow"):
        callbacks.mlflow()
    with pytest.raises(ModuleNotFoundError, match="pip install tensorboardX"):
        callbacks.tensorboard("x")


def test_log_lines_say_what_improved(caplog):
    with caplog.at_level(logging.INFO, "jaxhpo"):
        study = run(lambda study, trial: None, num_trials=8)
    lines = [r.getMessage() for r in caplog.records if "best so far" in r.getMessage()]
    values = [t.value for t in study.trials]
    improved = [i for i in range(8) if values[i] < min(values[:i], default=float("inf"))]
    assert len(lines) == len(improved)
    assert "trial 0 is the best so far" in lines[0]
    assert "(the first)" in lines[0]
    assert f"trial {improved[-1]} " in lines[-1]
    assert f"value {min(values):.6g} ({values[improved[-2]]:.6g} before)" in lines[-1]


def test_a_notebook_has_a_bar_and_a_pipe_has_none(monkeypatch):
    class ZMQInteractiveShell:
        pass

    class IPython:
        get_ipython = staticmethod(ZMQInteractiveShell)

    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    with _reporter.make_reporter("f", True, "s", 3) as piped:
        assert type(piped) is _reporter._LineReporter
    monkeypatch.setitem(sys.modules, "IPython", IPython)
    assert _reporter.in_notebook()
