"""The peers' side of `hypergrad_peers.py`: PyTorch, TorchOpt, higher and betty on given weights.

Every function here returns `(loss, gradient)` as NumPy arrays and starts from the same weights and
the same hyperparameters; the model has one hidden tanh layer, or none.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
warnings.filterwarnings("ignore")  # the peers warn of what they call themselves

Answer = tuple[float, np.ndarray]


class Setting(NamedTuple):
    """What both sides share, as NumPy arrays.

    Attributes:
        weights: matrices and biases in turn, layer by layer.
        hparams: log L2 penalty of each of them.
        train: images and labels of the inner loss.
        validation: images and labels of the outer loss.
        rate: learning rate.
        momentum: of SGD; 0 for gradient descent.
        num_steps: inner steps.
        num_products: Hessian products of the implicit methods.
    """

    weights: list[np.ndarray]
    hparams: np.ndarray
    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    rate: float
    momentum: float
    num_steps: int
    num_products: int


class Net(nn.Module):
    """The network, with the weights of the setting."""

    def __init__(self, weights: list[np.ndarray]):
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.tensor(w)) for w in weights])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return apply(list(self.weights), x)


def apply(weights: Any, x: torch.Tensor) -> torch.Tensor:
    """Logits."""
    *hidden, w, b = weights
    if hidden:
        x = torch.tanh(x @ hidden[0] + hidden[1])
    return x @ w + b


def penalty(weights: Any, hparams: torch.Tensor) -> torch.Tensor:
    """L2, a strength for every array."""
    return sum(torch.exp(h) * (w**2).sum() for h, w in zip(hparams, weights, strict=True))


def tensors(part: tuple[np.ndarray, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(part[0]), torch.tensor(part[1].astype(np.int64))


def plain(s: Setting) -> Callable[[], Answer]:
    """The run alone."""
    (x, y), (xv, yv), hparams = tensors(s.train), tensors(s.validation), torch.tensor(s.hparams)

    def run() -> Answer:
        net = Net(s.weights)
        optimizer = torch.optim.SGD(net.parameters(), lr=s.rate, momentum=s.momentum)
        for _ in range(s.num_steps):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y) + penalty(net.weights, hparams)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            return float(F.cross_entropy(net(xv), yv)), np.zeros(len(s.hparams))

    return run


def torchopt_unrolled(s: Setting) -> Callable[[], Answer]:
    """TorchOpt's differentiable SGD."""
    import torchopt

    (x, y), (xv, yv) = tensors(s.train), tensors(s.validation)

    def run() -> Answer:
        net, hparams = Net(s.weights), torch.tensor(s.hparams, requires_grad=True)
        optimizer = torchopt.MetaSGD(net, lr=s.rate, momentum=s.momentum)
        for _ in range(s.num_steps):
            optimizer.step(F.cross_entropy(net(x), y) + penalty(net.weights, hparams))
        loss = F.cross_entropy(net(xv), yv)
        return float(loss), torch.autograd.grad(loss, hparams)[0].numpy()

    return run


def torchopt_functional(s: Setting) -> Callable[[], Answer]:
    """TorchOpt's functional SGD, which spares the module's bookkeeping."""
    import torchopt

    (x, y), (xv, yv) = tensors(s.train), tensors(s.validation)

    def run() -> Answer:
        hparams = torch.tensor(s.hparams, requires_grad=True)
        params = tuple(torch.tensor(w, requires_grad=True) for w in s.weights)
        optimizer = torchopt.sgd(lr=s.rate, momentum=s.momentum)
        state = optimizer.init(params)
        for _ in range(s.num_steps):
            loss = F.cross_entropy(apply(params, x), y) + penalty(params, hparams)
            grads = torch.autograd.grad(loss, params, create_graph=True)
            updates, state = optimizer.update(grads, state, inplace=False)
            params = torchopt.apply_updates(params, updates, inplace=False)
        loss = F.cross_entropy(apply(params, xv), yv)
        return float(loss), torch.autograd.grad(loss, hparams)[0].numpy()

    return run


def higher_unrolled(s: Setting) -> Callable[[], Answer]:
    """The patched module and optimizer of higher."""
    import higher

    (x, y), (xv, yv) = tensors(s.train), tensors(s.validation)

    def run() -> Answer:
        net, hparams = Net(s.weights), torch.tensor(s.hparams, requires_grad=True)
        optimizer = torch.optim.SGD(net.parameters(), lr=s.rate, momentum=s.momentum)
        with higher.innerloop_ctx(net, optimizer) as (functional, differentiable):
            for _ in range(s.num_steps):
                loss = F.cross_entropy(functional(x), y)
                differentiable.step(loss + penalty(functional.parameters(), hparams))
            loss = F.cross_entropy(functional(xv), yv)
            return float(loss), torch.autograd.grad(loss, hparams)[0].numpy()

    return run


def torchopt_implicit(s: Setting) -> Callable[[], Answer]:
    """TorchOpt's implicit differentiation by conjugate gradients, after gradient descent."""
    import torchopt

    (x, y), (xv, yv) = tensors(s.train), tensors(s.validation)

    def inner(params: Any, hparams: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(apply(params, x), y) + penalty(params, hparams)

    def optimality(params: Any, hparams: torch.Tensor) -> Any:
        return torch.func.grad(inner)(params, hparams)

    @torchopt.diff.implicit.custom_root(
        optimality, argnums=1, solve=torchopt.linear_solve.solve_cg(maxiter=s.num_products, atol=0)
    )
    def solve(params: Any, hparams: torch.Tensor) -> Any:
        params = tuple(p.detach().clone().requires_grad_() for p in params)
        for _ in range(s.num_steps):
            with torch.enable_grad():
                grads = torch.autograd.grad(inner(params, hparams.detach()), params)
            with torch.no_grad():
                for p, g in zip(params, grads, strict=True):
                    p -= s.rate * g
        return tuple(p.detach() for p in params)

    def run() -> Answer:
        hparams = torch.tensor(s.hparams, requires_grad=True)
        params = solve(tuple(torch.tensor(w) for w in s.weights), hparams)
        loss = F.cross_entropy(apply(params, xv), yv)
        return float(loss), torch.autograd.grad(loss, hparams)[0].numpy()

    return run


def betty_implicit(s: Setting, kind: str) -> Callable[[], Answer]:
    """One outer step of betty's engine, "cg" or "neumann"."""
    logging.disable(logging.INFO)
    from betty.configs import Config, EngineConfig
    from betty.engine import Engine
    from betty.problems import ImplicitProblem

    train, validation = tensors(s.train), tensors(s.validation)

    class Outer(ImplicitProblem):
        def training_step(self, batch: Any) -> Any:
            x, y = batch
            self.last = F.cross_entropy(self.inner(x), y)
            return self.last

        def grad_callback(self) -> None:
            self.hypergradient = self.module.values.grad.detach().clone()

    class Inner(ImplicitProblem):
        def training_step(self, batch: Any) -> Any:
            x, y = batch
            return F.cross_entropy(self(x), y) + penalty(self.module.weights, self.outer())

    class Values(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.values = nn.Parameter(torch.tensor(s.hparams))

        def forward(self) -> torch.Tensor:
            return self.values

    class Silent(Engine):
        def validation(self) -> None:
            return None

    def run() -> Answer:
        values, net = Values(), Net(s.weights)
        outer = Outer(
            name="outer", module=values, optimizer=torch.optim.SGD(values.parameters(), lr=0.0),
            train_data_loader=[validation], config=Config(),
        )  # fmt: skip
        inner = Inner(
            name="inner", module=net, optimizer=torch.optim.SGD(net.parameters(), lr=s.rate),
            train_data_loader=[train],
            config=Config(
                type=kind, unroll_steps=s.num_steps, cg_iterations=s.num_products, cg_alpha=1.0,
                neumann_iterations=s.num_products, neumann_alpha=s.rate,
            ),
        )  # fmt: skip
        engine = Silent(
            problems=[outer, inner],
            config=EngineConfig(train_iters=s.num_steps, valid_step=10**9),
            dependencies={"u2l": {outer: [inner]}, "l2u": {inner: [outer]}},
        )
        engine.run()
        return float(outer.last), outer.hypergradient.numpy()

    return run


# Name -> package, and its run on a setting, by the table that it belongs to.
UNROLLED: dict[str, tuple[str, Callable[[Setting], Callable[[], Answer]]]] = {
    "TorchOpt MetaSGD": ("torchopt", torchopt_unrolled),
    "TorchOpt sgd": ("torchopt", torchopt_functional),
    "higher": ("higher", higher_unrolled),
}
IMPLICIT: dict[str, tuple[str, Callable[[Setting], Callable[[], Answer]]]] = {
    "TorchOpt implicit, cg": ("torchopt", torchopt_implicit),
    "betty, cg": ("betty", lambda s: betty_implicit(s, "cg")),
    "betty, neumann": ("betty", lambda s: betty_implicit(s, "neumann")),
}
