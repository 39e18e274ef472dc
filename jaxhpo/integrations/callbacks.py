"""Callbacks of `Study.optimize` for the trackers that people watch: TensorBoard, MLflow, W&B.

A callback is called after its trial is recorded, so one that raises ends the run and loses nothing;
`forgiving` keeps the run going instead.

`from_optuna` takes any callback of Optuna's, those of the package optuna-integration too. Those
here log what they leave out of our trials: learning curves (TensorBoard, MLflow) and how a trial
ended (MLflow, W&B). Beside that, `tensorboard` needs no TensorFlow; `mlflow` talks to a client, so
the tracking URI and the run that the program itself has open stay as they are; and `wandb` begins
its run with the first trial, names it after the study, logs the best value so far and ends with
`close`.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jaxhpo import _checks

if TYPE_CHECKING:
    from jaxhpo.study import Study, Trial

logger = logging.getLogger("jaxhpo")

Callback = Callable[..., Any]


def from_optuna(callback: Callable[[Any, Any], Any]) -> Callback:
    """Makes a callback that was written for Optuna one of `Study.optimize`.

    Args:
        callback: `callback(optuna_study, frozen_trial)`.

    Returns:
        `callback(study, trial)`.

    Raises:
        TypeError: it is no function.

    Example:
        >>> import jaxhpo as hpo
        >>> from jaxhpo.integrations.callbacks import from_optuna
        >>> seen = []
        >>> study = hpo.Study({"x": hpo.uniform(0.0, 1.0)}, "random", storage=None)
        >>> note = from_optuna(lambda study, trial: seen.append(trial.state.name))
        >>> study.optimize(lambda params: params["x"], num_trials=2, callbacks=[note])
        >>> seen
        ['COMPLETE', 'COMPLETE']
    """
    _checks.check_callable("from_optuna", "callback", callback)

    def call(study: Study, trial: Trial) -> None:
        theirs = study.to_optuna()
        callback(theirs, theirs.get_trials(deepcopy=False)[trial.number])

    return call


def forgiving(callback: Callback) -> Callback:
    """Keeps a study running when a callback raises: the error is logged, with its traceback.

    Args:
        callback: `callback(study, trial)`.

    Returns:
        One that raises nothing but an interrupt.
    """
    _checks.check_callable("forgiving", "callback", callback)

    def call(study: Study, trial: Trial) -> None:
        try:
            callback(study, trial)
        except Exception:
            logger.exception("a callback failed after trial %d; the study continues", trial.number)

    return call


class _TensorBoard:
    """Writes each trial as scalars; the file is whole after `close`, and when the program ends."""

    def __init__(self, writer: Any, value_name: str) -> None:
        self._writer, self._name = writer, value_name
        atexit.register(self.close)

    def __call__(self, study: Study, trial: Trial) -> None:
        best = study._best_value_or_none()
        scalars = {**_values(trial, self._name), f"best_{self._name}": best}
        for name, value in trial.flat.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            scalars[f"params/{name}"] = value if is_number else None
        for name, value in scalars.items():
            if value is not None and math.isfinite(value):
                self._writer.add_scalar(name, value, trial.number)
        for step, value in trial.curve.items():
            self._writer.add_scalar(f"curve/trial_{trial.number}", value, step)
        self._writer.flush()

    def close(self) -> None:
        """Writes what is left; further trials are not written."""
        atexit.unregister(self.close)
        self._writer.close()


def tensorboard(folder: Any, *, value_name: str = "value") -> Callback:
    """Writes values, the best so far, params and learning curves as TensorBoard scalars.

    Args:
        folder: where the event file goes.
        value_name: what the objective measures.

    Returns:
        The callback; `close()` completes its file before the program ends.

    Raises:
        ModuleNotFoundError: no writer of event files is installed.
    """
    return _TensorBoard(_event_writer()(str(folder)), value_name)


def mlflow(
    *, tracking_uri: str | None = None, experiment: str | None = None, value_name: str = "value"
) -> Callback:
    """Logs each trial as an MLflow run: params, value, learning curve, state.

    Args:
        tracking_uri: where MLflow keeps its runs; None takes MLflow's own setting.
        experiment: name of the experiment; None takes the study's.
        value_name: what the objective measures.

    Returns:
        The callback.

    Raises:
        ModuleNotFoundError: MLflow is not installed.
    """
    client = _library("mlflow").MlflowClient(tracking_uri)

    def call(study: Study, trial: Trial) -> None:
        name = experiment or study.name
        found = client.get_experiment_by_name(name)
        number = client.create_experiment(name) if found is None else found.experiment_id
        run = client.create_run(number, run_name=f"trial {trial.number}").info.run_id
        for tag, text in {"study": study.name, "status": trial.status.name}.items():
            client.set_tag(run, tag, text)
        for param, setting in trial.flat.items():
            client.log_param(run, _plain(param), setting)
        for metric, value in _values(trial, value_name).items():
            client.log_metric(run, _plain(metric), value)
        for step, loss in trial.curve.items():
            client.log_metric(run, f"curve_{_plain(value_name)}", loss, step=step)
        failed = trial.status.name == "FAILED"
        client.set_terminated(run, "FAILED" if failed else "FINISHED")

    return call


class _WandB:
    """One W&B run per study: a step per trial; begun with the first trial."""

    def __init__(self, library: Any, value_name: str, settings: dict[str, Any]) -> None:
        self._library, self._name, self._settings = library, value_name, settings
        self._run: Any = None

    def __call__(self, study: Study, trial: Trial) -> None:
        if self._run is None:
            self._run = self._library.init(**{"name": study.name, **self._settings})
        best = study._best_value_or_none()
        logged = {**_values(trial, self._name), "status": trial.status.name}
        logged |= {f"params/{name}": value for name, value in trial.flat.items()}
        if best is not None:
            logged[f"best_{self._name}"] = best
        self._run.log(logged, step=trial.number, commit=True)

    def close(self) -> None:
        """Ends the run."""
        if self._run is not None:
            self._run.finish()
            self._run = None


def wandb(*, value_name: str = "value", **settings: Any) -> Callback:
    """Logs a study as one run of Weights & Biases, a step per trial.

    Args:
        value_name: what the objective measures.
        **settings: arguments of `wandb.init`.

    Returns:
        The callback; `close()` ends the run before the program does.

    Raises:
        ModuleNotFoundError: W&B is not installed.
    """
    return _WandB(_library("wandb"), value_name, settings)


def _values(trial: Trial, name: str) -> dict[str, Any]:
    """A trial's value by name, numbered where there are several; finite ones only."""
    several = isinstance(trial.value, tuple)
    found: Any = trial.value if isinstance(trial.value, tuple) else (trial.value,)
    named = {f"{name}_{i}" if several else name: value for i, value in enumerate(found)}
    return {key: v for key, v in named.items() if v is not None and math.isfinite(v)}


def _plain(name: str) -> str:
    """A name that MLflow takes."""
    return re.sub(r"[^\w./ -]", "_", name)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ModuleNotFoundError(
            f"callbacks.{name} needs a package that is not installed: pip install {name}."
        ) from error


def _event_writer() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ModuleNotFoundError:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "callbacks.tensorboard needs a writer: pip install tensorboardX."
            ) from error
    return SummaryWriter


__all__ = ["forgiving", "from_optuna", "mlflow", "tensorboard", "wandb"]
