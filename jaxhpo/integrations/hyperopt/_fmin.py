"""Hyperopt: our samplers as `algo=` of its `fmin`, and an `fmin` that returns values."""

from __future__ import annotations

import contextlib
import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxhpo import samplers
from jaxhpo._checks import describe, fail
from jaxhpo.ask_tell import Evaluations, Proposer, bare_space, proposal_shape_of
from jaxhpo.integrations._extras import require
from jaxhpo.integrations.hyperopt._labels import LabelSpace

hyperopt = require("hyperopt", "hyperopt")

_DONE = 2  # hyperopt.JOB_STATE_DONE
_ERROR = 3  # hyperopt.JOB_STATE_ERROR


def suggest(sampler: Any = "tpe", **settings: Any) -> Callable[..., Any]:
    """Makes an `algo=` for `hyperopt.fmin`.

    The sampler's state belongs to one run: it is told each trial once, and takes up trials that
    `trials` held before. Its seed is the first one that `fmin` draws from `rstate`.

    Args:
        sampler: a name from `jaxhpo.samplers.names()`, or a function of a space that returns a
            `Sampler`.
        **settings: settings of the factory of that name.

    Returns:
        `algo(new_ids, domain, trials, seed)`, as Hyperopt calls it.

    Raises:
        TypeError: neither a name nor a function.
        ValueError: an unknown name; when called, a space that we cannot express.

    Example:
        >>> from hyperopt import Trials, fmin, hp
        >>> trials = Trials()
        >>> best = fmin(lambda x: (x - 1.0) ** 2, hp.uniform("x", -3.0, 3.0), algo=suggest("qmc"),
        ...             max_evals=32, trials=trials, show_progressbar=False,
        ...             rstate=np.random.default_rng(0))
        >>> abs(best["x"] - 1.0) < 0.3, len(trials)
        (True, 32)
    """
    if not isinstance(sampler, str) and not callable(sampler):
        raise TypeError(
            f"suggest: `sampler` must be a name ({', '.join(samplers.names())}) or a function of a "
            f"space, got {describe(sampler)}."
        )
    if isinstance(sampler, str) and sampler not in samplers.names():
        raise fail("suggest", "sampler", f"one of {', '.join(samplers.names())}", sampler)
    runs: weakref.WeakKeyDictionary[Any, _Run] = weakref.WeakKeyDictionary()

    def algo(new_ids: list[int], domain: Any, trials: Any, seed: int) -> list[Any]:
        if domain not in runs:
            runs[domain] = _Run(domain, sampler, settings, int(seed))
        return runs[domain].suggest(new_ids, domain, trials)

    return algo


class _Run:
    """One sampler over one Hyperopt domain."""

    def __init__(self, domain: Any, sampler: Any, settings: dict[str, Any], seed: int) -> None:
        self._space = LabelSpace(domain.expr)
        space = self._space.space
        if isinstance(sampler, str):
            made = samplers.get(sampler, bare_space(space, settings), **settings)
        else:
            made = sampler(space, **settings)
        shape = proposal_shape_of(made, space, sampler, settings)
        self._proposer = Proposer(space, made, seed % 2**31, shape)
        self._units: dict[int, np.ndarray] = {}
        self._told: set[int] = set()

    def suggest(self, new_ids: list[int], domain: Any, trials: Any) -> list[Any]:
        """Tells what has ended since, and proposes one document an id."""
        self._tell(trials)
        first = len(self._told) + len(self._units)
        unit, values = self._proposer.propose(first, len(new_ids))
        if len(unit) == 0:
            return []  # fmin ends
        documents = []
        params = self._space.space.decode(values)
        for tid, point, one in zip(new_ids, unit, params, strict=False):
            found = self._space.values_of(one)
            misc = {"tid": tid, "cmd": domain.cmd, "workdir": domain.workdir}
            idxs = {label: [tid] if label in found else [] for label in domain.params}
            vals = {label: [found[label]] if label in found else [] for label in domain.params}
            misc |= {"idxs": idxs, "vals": vals}
            documents += trials.new_trial_docs([tid], [None], [domain.new_result()], [misc])
            self._units[tid] = point
        return documents

    def _tell(self, trials: Any) -> None:
        """Tells ended trials once; those of another program are encoded, if they lie inside."""
        points, values = [], []
        for document in trials.trials:
            tid = document["tid"]
            if tid in self._told or document["state"] not in (_DONE, _ERROR):
                continue
            self._told.add(tid)
            point = self._units.pop(tid, None)
            if point is None:
                point = self._foreign(document["misc"]["vals"])
            if point is not None:
                points.append(point)
                values.append(_loss_of(document))
        if points:
            told = Evaluations(np.asarray(points), np.asarray(values))
            self._proposer.tell(told, len(self._told) + len(self._units))

    def _foreign(self, vals: dict[str, Any]) -> np.ndarray | None:
        try:
            params = self._space.params_of({label: v[0] for label, v in vals.items() if len(v)})
            return self._proposer.unit_of([params])[0]
        except (ValueError, KeyError, TypeError):
            return None


def _loss_of(document: dict[str, Any]) -> float:
    """The loss to minimise; NaN for a failed trial."""
    result = document["result"]
    loss = result.get("loss")
    is_ok = document["state"] == _DONE and result.get("status") == "ok" and loss is not None
    return float(loss) if is_ok and math.isfinite(float(loss)) else math.nan


def fmin(
    fn: Callable[..., Any],
    space: Any,
    algo: Any = "tpe",
    max_evals: int | None = None,
    *,
    trials: Any = None,
    rstate: Any = None,
    **settings: Any,
) -> Any:
    """Hyperopt's `fmin`, with our samplers, that returns values.

    Where `hyperopt.fmin` gives the index of a choice and leaves `scope.int` out, this gives what
    the objective received: the best point of the space, the active branch only.

    Args:
        fn: `fn(params) -> loss`, or a dict with `loss` and `status`, as in Hyperopt.
        space: any `hp.*` space.
        algo: a name from `jaxhpo.samplers.names()`, or any `algo` of Hyperopt.
        max_evals: number of trials, those already in `trials` included.
        trials: a `hyperopt.Trials`, filled as by Hyperopt, or None.
        rstate: a NumPy generator or an integer seed; None is 0.
        **settings: further arguments of `hyperopt.fmin`, such as `early_stop_fn`, `timeout` or
            `catch_eval_exceptions`.

    Returns:
        The best point, as `hyperopt.space_eval` would give it.

    Raises:
        TypeError: no number of trials and no other end, or no such argument.
        ValueError: an unknown algorithm, a space that we cannot express, or no trial succeeded.

    Example:
        >>> from hyperopt import hp
        >>> space = {"x": hp.uniform("x", -3.0, 3.0), "kind": hp.choice("kind", ["a", "b"])}
        >>> fn = lambda p: (p["x"] - 1.0) ** 2 + (p["kind"] == "a")
        >>> fmin(fn, space, "qmc", 32)["kind"]
        'b'

    References:
        Bergstra, Yamins, Cox, "Making a Science of Model Search", ICML 2013.
    """
    if max_evals is None and not {"timeout", "loss_threshold", "early_stop_fn"} & set(settings):
        raise TypeError("fmin: `max_evals` must be given, or a timeout, or an early_stop_fn.")
    if {"points_to_evaluate", "return_argmin"} & set(settings):
        raise TypeError("fmin: `return_argmin` and `points_to_evaluate` are hyperopt.fmin's own.")
    trials = hyperopt.Trials() if trials is None else trials
    if rstate is None or isinstance(rstate, int):
        rstate = np.random.default_rng(rstate or 0)
    settings = {"show_progressbar": False, **settings}
    # Without a trial that succeeded Hyperopt raises as it looks for the best one.
    with contextlib.suppress(hyperopt.exceptions.AllTrialsFailed):
        hyperopt.fmin(
            fn,
            space,
            algo=suggest(algo) if isinstance(algo, str) else algo,
            max_evals=max_evals,
            trials=trials,
            rstate=rstate,
            return_argmin=False,
            **settings,
        )
    losses = [_loss_of(document) for document in trials.trials]
    if not np.isfinite(losses).any():
        raise ValueError(f"fmin: none of {len(losses)} trials succeeded, so there is no best one.")
    vals = trials.trials[int(np.nanargmin(losses))]["misc"]["vals"]
    return hyperopt.space_eval(space, {label: v[0] for label, v in vals.items() if len(v)})


__all__ = ["fmin", "suggest"]
