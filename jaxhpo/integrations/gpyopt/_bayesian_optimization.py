"""GPyOpt: a class of the same shape as its `BayesianOptimization`, over our Gaussian process.

GPyOpt itself is not needed, and is never imported: it has had no release since 2020.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxhpo import samplers
from jaxhpo._checks import check_callable, check_int, check_not_negative, fail
from jaxhpo._direction import to_minimized
from jaxhpo.ask_tell import (
    Evaluations,
    Proposer,
    bare_space,
    padded_size,
    proposal_shape_of,
)
from jaxhpo.integrations.gpyopt._domain import Domain

_WHERE = "BayesianOptimization"
_ACQUISITIONS = {"EI": "log_ei", "MPI": "log_pi", "LCB": "ucb"}
_DESIGNS = {"random": "random", "latin": "qmc", "sobol": "qmc"}


class BayesianOptimization:
    """Bayesian optimization as GPyOpt spells it.

    The initial design is evaluated when the object is made, as in GPyOpt. What differs: the loop
    never ends early without a word, `maximize` reports values in the user's own sign, all draws
    follow from `seed`, and the model learns one lengthscale a variable, over scaled inputs.

    Args:
        f: `f(x [1, d]) -> a number or an array of one`. Categories arrive as their positions,
            bandit arms as their numbers.
        domain: GPyOpt's list of variables: dicts with `name`, `type` (`continuous`, `discrete`,
            `categorical`, `bandit`), `domain`, `dimensionality`.
        constraints: dicts whose `constraint` is a text in `x`, such as "x[:, 0] + x[:, 1] - 1";
            allowed where it is at most 0.
        X: `[n, d]` points that are known, in place of an initial design.
        Y: `[n, 1]` their values; None evaluates them.
        initial_design_numdata: points of the initial design.
        initial_design_type: "sobol", "latin" (both: a scrambled low-discrepancy sequence) or
            "random".
        acquisition_type: "EI", "MPI" or "LCB".
        model_type: "GP"; there is no other.
        batch_size: points proposed at a time.
        maximize: search the largest value.
        verbosity: print each new best value.
        seed: of everything.

    Attributes:
        X: `[n, d]` evaluated points.
        Y: `[n, 1]` their values, as `f` returned them.
        x_opt: `[d]` the best point.
        fx_opt: its value, as `f` returned it.

    Raises:
        TypeError: an argument that GPyOpt has and we do not, or none at all.
        ValueError: a domain, constraint or setting that cannot be read.

    Example:
        >>> domain = [{"name": "x", "type": "continuous", "domain": (-1.0, 2.0)}]
        >>> search = BayesianOptimization(lambda x: (x - 0.5) ** 2, domain)
        >>> search.X.shape, search.fx_opt < 1.0
        ((5, 1), True)

    References:
        The GPyOpt authors, "GPyOpt: A Bayesian Optimization framework in Python", 2016,
        https://github.com/SheffieldML/GPyOpt.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        domain: Sequence[Mapping[str, Any]] | None = None,
        constraints: Sequence[Mapping[str, Any]] | None = None,
        *,
        X: Any = None,
        Y: Any = None,
        initial_design_numdata: int = 5,
        initial_design_type: str = "sobol",
        acquisition_type: str = "EI",
        model_type: str = "GP",
        batch_size: int = 1,
        maximize: bool = False,
        verbosity: bool = False,
        seed: int = 0,
        **others: Any,
    ) -> None:
        if "bounds" in others:
            raise TypeError(
                f"{_WHERE}: `domain` must be given in place of `bounds`, as in GPyOpt: "
                "[{'name': 'x', 'type': 'continuous', 'domain': (low, high)}]."
            )
        if others:
            raise TypeError(f"{_WHERE}: there is no argument {', '.join(sorted(others))}.")
        if domain is None:
            raise TypeError(f"{_WHERE}: `domain` must be a list of variables, got None.")
        for name, value, known in (
            ("acquisition_type", acquisition_type, _ACQUISITIONS),
            ("initial_design_type", initial_design_type, _DESIGNS),
            ("model_type", model_type, ("GP",)),
        ):
            if value not in known:
                raise fail(_WHERE, name, f"one of {', '.join(known)}", value)
        self._f = check_callable(_WHERE, "f", f)
        self._domain = Domain(domain, constraints)
        self._batch_size = check_int(_WHERE, "batch_size", batch_size, 1)
        self._verbosity = bool(verbosity)
        self._direction = "maximize" if maximize else "minimize"
        startup = check_int(_WHERE, "initial_design_numdata", initial_design_numdata, 1)
        space, seed = self._domain.space, check_int(_WHERE, "seed", seed, 0)
        bare = bare_space(space, {})
        made = samplers.gp(
            bare,
            num_startup=1,
            acquisition_function=_ACQUISITIONS[acquisition_type],
        )
        self._proposer = Proposer(space, made, seed, proposal_shape_of(made, space, "gp"))
        self.X = np.empty((0, self._domain.num_columns))
        self.Y = np.empty((0, 1))
        self._unit = np.empty((0, space.num_dims))
        self._num_told = 0
        if X is not None:
            self._take_up(X, Y)
            return
        if Y is not None:
            raise fail(_WHERE, "Y", "None without X", Y)
        first = samplers.get(_DESIGNS[initial_design_type], bare)
        shape = proposal_shape_of(first, space, _DESIGNS[initial_design_type])
        design = Proposer(space, first, seed, shape)
        self._evaluate(*design.propose(0, startup, startup))

    # -- running it --------------------------------------------------------------------------

    def run_optimization(
        self, max_iter: int = 0, max_time: float = math.inf, eps: float | None = None
    ) -> None:
        """Evaluates further points; may be called again to go on.

        Args:
            max_iter: points beyond those known, as in GPyOpt (times `batch_size`).
            max_time: seconds after which no further point is proposed.
            eps: GPyOpt ends silently where two points in a row are this close. None, our default,
                never does; a number does as GPyOpt.
        """
        max_iter = check_int("run_optimization", "max_iter", max_iter, 0)
        if eps is not None:
            eps = check_not_negative("run_optimization", "eps", eps)
        deadline = time.monotonic() + max_time
        for _ in range(max_iter):
            if time.monotonic() >= deadline:
                return
            unit, values = self._propose()
            if len(unit) == 0:
                return
            self._evaluate(unit, values)
            if eps is not None and np.linalg.norm(self.X[-1] - self.X[-2]) <= eps:
                return

    def suggest_next_locations(self) -> np.ndarray:
        """The points `[batch_size, d]` that `run_optimization` would evaluate next.

        They stay proposed: asking again gives others. Evaluate them and make a new object with
        X and Y, as with GPyOpt.
        """
        unit, values = self._propose()
        return self._domain.rows(values) if len(unit) else self.X[:0]

    def get_evaluations(self) -> tuple[np.ndarray, np.ndarray]:
        """The points `[n, d]` and their values `[n, 1]`."""
        return self.X.copy(), self.Y.copy()

    # -- what came of it ---------------------------------------------------------------------

    @property
    def x_opt(self) -> np.ndarray:
        """The best point `[d]`."""
        row: np.ndarray = self.X[self._best()]
        return row

    @property
    def fx_opt(self) -> float:
        """The best value, as `f` returned it."""
        return float(self.Y[self._best(), 0])

    @property
    def best_params(self) -> dict[str, Any]:
        """The best point by names, categories as themselves."""
        return self._domain.named(self.x_opt)

    def plot_convergence(self, filename: str | None = None) -> Any:
        """Draws the distance between points in a row, and the best value so far.

        Args:
            filename: file to write, or None.

        Returns:
            The matplotlib `Figure`.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        from jaxhpo.integrations.gpyopt._plots import convergence

        return convergence(self.X, self._minimized(), self._direction, filename)

    def plot_acquisition(self, filename: str | None = None) -> Any:
        """Draws the model and the log expected improvement over one or two variables.

        Args:
            filename: file to write, or None.

        Returns:
            The matplotlib `Figure`.

        Raises:
            ValueError: more than two variables, or fewer than two finite values.
            ModuleNotFoundError: matplotlib is not installed.
        """
        from jaxhpo.integrations.gpyopt._plots import acquisition

        return acquisition(self._domain.space, self._unit, self._minimized(), filename)

    # -- parts -------------------------------------------------------------------------------

    def _minimized(self) -> np.ndarray:
        return to_minimized(self.Y[:, 0], self._direction)

    def _best(self) -> int:
        value = self._minimized()
        if not np.isfinite(value).any():
            raise ValueError(f"{_WHERE}: none of {len(value)} values is finite; there is no best.")
        return int(np.nanargmin(np.where(np.isfinite(value), value, np.nan)))

    def _propose(self) -> tuple[np.ndarray, Any]:
        """Tells the model what it has not heard of yet, then asks it."""
        fresh = slice(self._num_told, None)
        value = self._minimized()[fresh]
        if len(value):
            told = Evaluations(self._unit[fresh], np.where(np.isfinite(value), value, np.nan))
            size = 1 if len(value) == 1 else padded_size(len(value))
            self._proposer.tell(told, len(self.X), size)
            self._num_told = len(self.X)
        return self._proposer.propose(len(self.X), self._batch_size)

    def _evaluate(self, unit: np.ndarray, values: Any) -> None:
        if len(unit) == 0:
            raise ValueError(f"{_WHERE}: `domain` must hold a point that meets the constraints.")
        rows = self._domain.rows(values)
        found = [float(np.asarray(self._f(row[None])).reshape(())) for row in rows]
        self._tell(unit, rows, np.asarray(found))

    def _take_up(self, X: Any, Y: Any) -> None:
        rows = np.atleast_2d(np.asarray(X, np.float64))
        unit = self._proposer.unit_of(self._domain.params(rows))
        if Y is None:
            found = np.asarray([float(np.asarray(self._f(r[None])).reshape(())) for r in rows])
        else:
            found = np.asarray(Y, np.float64).ravel()
        if len(found) != len(rows):
            raise fail(_WHERE, "Y", f"one value for each of {len(rows)} points", Y)
        self._tell(unit, rows, found)

    def _tell(self, unit: np.ndarray, rows: np.ndarray, found: np.ndarray) -> None:
        before = self._minimized()
        self.X, self.Y = np.concatenate([self.X, rows]), np.concatenate([self.Y, found[:, None]])
        self._unit = np.concatenate([self._unit, unit])
        value = self._minimized()[len(before) :]
        is_better = not len(before) or np.nanmin(value, initial=np.inf) < np.nanmin(
            before, initial=np.inf
        )
        if self._verbosity and is_better and np.isfinite(value).any():
            print(f"num acquisition: {len(self.X)}, best value: {self.fx_opt:.6g}")


__all__ = ["BayesianOptimization"]
