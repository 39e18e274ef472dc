"""TorchOpt, higher and betty on the linear tasks, with the task's own weights and data.

Every function here returns `run(hparams) -> (loss, gradient)` in NumPy; torch follows the precision
of the hyperparameters.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxhpo.benchmarking.leaderboard.peers._registry import NUM_PRODUCTS, SETTINGS
from jaxhpo.problems import Task

Run = Callable[[np.ndarray], tuple[float, np.ndarray]]


class Problem(NamedTuple):
    """What torch needs of a task, as tensors of one precision."""

    weights: list[Any]
    inner: Callable[[Any, Any], Any]
    outer: Callable[[Any], Any]
    rate: float
    momentum: float
    num_steps: int


def problem_of(task: Task, name: str, dtype: Any) -> Problem:
    """A linear task in torch: `inner(weights, hparams)`, `outer(weights)`."""
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")  # the peers warn of what they call themselves
    assert task.data is not None
    precision = {"float32": torch.float32, "float64": torch.float64}[str(dtype)]

    def tensors(part: Any) -> tuple[Any, Any]:
        y = np.array(part["y"])
        is_label = np.issubdtype(y.dtype, np.integer)
        target = torch.tensor(y, dtype=torch.int64 if is_label else precision)
        return torch.tensor(np.array(part["x"]), dtype=precision), target

    (x, y), (xv, yv) = tensors(task.data[0]), tensors(task.data[1])
    state = task.training.init(jax.random.key(0), task.hparams)
    weights = [
        torch.tensor(np.array(leaf), dtype=precision) for leaf in jax.tree.leaves(state.params)
    ]

    def logits(weights: Any, x: Any) -> Any:
        # The leaves of a linear model are its bias, then its matrix.
        return x @ weights[0] if len(weights) == 1 else x @ weights[1] + weights[0]

    def each(weights: Any, x: Any, y: Any) -> Any:
        out = logits(weights, x)
        if y.dtype == torch.int64:
            return F.cross_entropy(out, y, reduction="none")
        out = out.reshape(-1)
        return F.softplus(out) - y * out

    def inner(weights: Any, hparams: Any) -> Any:
        errors, matrix = each(weights, x, y), weights[-1]
        if name == "logistic":
            return errors.mean() + 0.5 * (hparams * matrix**2).sum()
        if name == "penalties":
            return errors.mean() + 0.5 * (hparams.exp()[:, None] * matrix**2).sum()
        return (hparams.sigmoid() * errors).mean() + 1e-3 * (matrix**2).sum()

    rate, momentum = SETTINGS[name]
    outer = lambda weights: each(weights, xv, yv).mean()  # noqa: E731
    return Problem(weights, inner, outer, rate, momentum, task.num_steps)


def net_of(p: Problem) -> Any:
    """A module that holds the weights."""
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.ParameterList([nn.Parameter(w.clone()) for w in p.weights])

        def forward(self, loss: Callable[[Any], Any]) -> Any:
            return loss(list(self.weights))

    return Net()


def torchopt_unrolled(p: Problem) -> Run:
    """TorchOpt's differentiable SGD."""
    import torch
    import torchopt

    def run(given: np.ndarray) -> tuple[float, np.ndarray]:
        net, hparams = net_of(p), torch.tensor(given, requires_grad=True)
        optimizer = torchopt.MetaSGD(net, lr=p.rate, momentum=p.momentum)
        for _ in range(p.num_steps):
            optimizer.step(net(lambda w: p.inner(w, hparams)))
        loss = net(p.outer)
        return float(loss), torch.autograd.grad(loss, hparams)[0].numpy()

    return run


def higher_unrolled(p: Problem) -> Run:
    """The patched module and optimizer of higher."""
    import higher
    import torch

    def run(given: np.ndarray) -> tuple[float, np.ndarray]:
        net, hparams = net_of(p), torch.tensor(given, requires_grad=True)
        optimizer = torch.optim.SGD(net.parameters(), lr=p.rate, momentum=p.momentum)
        with higher.innerloop_ctx(net, optimizer) as (functional, differentiable):
            for _ in range(p.num_steps):
                differentiable.step(p.inner(list(functional.parameters()), hparams))
            loss = p.outer(list(functional.parameters()))
            return float(loss), torch.autograd.grad(loss, hparams)[0].numpy()

    return run


def torchopt_implicit(p: Problem) -> Run:
    """TorchOpt's implicit differentiation by conjugate gradients, after gradient descent."""
    import torch
    import torchopt

    solver = torchopt.linear_solve.solve_cg(maxiter=NUM_PRODUCTS, atol=0)
    slope = lambda params, hparams: torch.func.grad(p.inner)(params, hparams)  # noqa: E731

    @torchopt.diff.implicit.custom_root(slope, argnums=1, solve=solver)
    def solve(params: Any, hparams: Any) -> Any:
        params = tuple(w.detach().clone().requires_grad_() for w in params)
        moving = [torch.zeros_like(w) for w in params]
        for _ in range(p.num_steps):
            with torch.enable_grad():
                grads = torch.autograd.grad(p.inner(params, hparams.detach()), params)
            with torch.no_grad():
                for w, v, g in zip(params, moving, grads, strict=True):
                    v.mul_(p.momentum).add_(g)
                    w -= p.rate * v
        return tuple(w.detach() for w in params)

    def run(given: np.ndarray) -> tuple[float, np.ndarray]:
        hparams = torch.tensor(given, requires_grad=True)
        loss = p.outer(solve(tuple(p.weights), hparams))
        return float(loss), torch.autograd.grad(loss, hparams)[0].numpy()

    return run


def betty_implicit(p: Problem, kind: str) -> Run:
    """One outer step of betty's engine, "cg" or "neumann"."""
    import torch
    from betty.configs import Config, EngineConfig
    from betty.engine import Engine
    from betty.problems import ImplicitProblem
    from torch import nn

    logging.disable(logging.INFO)

    class Outer(ImplicitProblem):
        def training_step(self, batch: Any) -> Any:
            self.last = self.inner(p.outer)
            return self.last

        def set_grads(self, params: Any, grads: Any) -> None:
            super().set_grads(params, grads)
            found = self.module.values.grad  # the direct part, which comes first, is none here
            self.hypergradient: Any = None if found is None else found.detach().clone()

    class Inner(ImplicitProblem):
        def training_step(self, batch: Any) -> Any:
            return self(lambda w: p.inner(w, self.outer()))

    class Values(nn.Module):
        def __init__(self, given: np.ndarray) -> None:
            super().__init__()
            self.values = nn.Parameter(torch.tensor(given))

        def forward(self) -> Any:
            return self.values

    class Silent(Engine):
        def validation(self) -> None:
            return None

    def run(given: np.ndarray) -> tuple[float, np.ndarray]:
        values, net, nothing = Values(given), net_of(p), [torch.zeros(1)]
        outer = Outer(
            name="outer", module=values, optimizer=torch.optim.SGD(values.parameters(), lr=0.0),
            train_data_loader=nothing, config=Config(),
        )  # fmt: skip
        inner = Inner(
            name="inner", module=net, train_data_loader=nothing,
            optimizer=torch.optim.SGD(net.parameters(), lr=p.rate, momentum=p.momentum),
            config=Config(
                type=kind, unroll_steps=p.num_steps, cg_iterations=NUM_PRODUCTS, cg_alpha=1.0,
                neumann_iterations=NUM_PRODUCTS, neumann_alpha=p.rate,
            ),
        )  # fmt: skip
        engine = Silent(
            problems=[outer, inner],
            config=EngineConfig(train_iters=p.num_steps, valid_step=10**9),
            dependencies={"u2l": {outer: [inner]}, "l2u": {inner: [outer]}},
        )
        engine.run()
        return float(outer.last), outer.hypergradient.numpy()

    return run


RUNS: dict[str, Callable[[Problem], Run]] = {
    "torchopt": torchopt_unrolled,
    "torchopt_cg": torchopt_implicit,
    "higher": higher_unrolled,
    "betty_cg": lambda p: betty_implicit(p, "cg"),
    "betty_neumann": lambda p: betty_implicit(p, "neumann"),
}
