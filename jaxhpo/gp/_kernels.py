"""Stationary kernels of a squared distance, and their slopes, in closed form.

A kernel is a profile `k(r2)` with `k(0) = 1`, evaluated at the squared distance of points divided
by their lengthscales. The slope `dk/dr2` has no root at `r2 = 0`, so gradients are finite where
points coincide.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo._base import Array
from jaxhpo._linalg import matmul


def matern52(r2: Array) -> tuple[Array, Array]:
    """Matérn kernel of smoothness 5/2 and its slope `dk/dr2`, at squared distances of any shape."""
    s = jnp.sqrt(5.0 * r2)
    decay = jnp.exp(-s)
    return (1.0 + s + (5.0 / 3.0) * r2) * decay, (-5.0 / 6.0) * (1.0 + s) * decay


def rbf(r2: Array) -> tuple[Array, Array]:
    """Squared-exponential kernel and its slope `dk/dr2`, at squared distances of any shape."""
    k = jnp.exp(-0.5 * r2)
    return k, -0.5 * k


PROFILES = {"matern52": matern52, "rbf": rbf}


@dataclasses.dataclass(frozen=True)
class Kernel:
    """The structure of a kernel: hashable, static under `jit`.

    Features that share a group share a lengthscale. A categorical parameter is one group of one-hot
    columns times `sqrt(1/2)`: their squared distance is then 0 or 1, the Hamming distance.

    Attributes:
        groups: group of each feature column, numbered from 0 without gaps.
        profile: "matern52" or "rbf".
    """

    groups: tuple[int, ...]
    profile: str = "matern52"

    def __post_init__(self) -> None:
        _checks.check_choice("Kernel", "profile", self.profile, tuple(PROFILES))
        is_tuple = isinstance(self.groups, tuple)
        if not is_tuple or not all(isinstance(group, int | np.integer) for group in self.groups):
            raise _checks.fail("Kernel", "groups", "a tuple of integers", self.groups)
        if set(self.groups) != set(range(self.num_groups)):
            raise _checks.fail("Kernel", "groups", "numbered from 0 without gaps", self.groups)

    @property
    def num_groups(self) -> int:
        """`g`, the number of lengthscales."""
        return 1 + max(self.groups, default=-1)

    def spread(self, per_group: Array) -> Array:
        """Gives each feature column the number of its group: `[..., g]` to `[..., F]`."""
        if self.groups == tuple(range(self.num_groups)):
            return per_group
        return per_group[..., np.asarray(self.groups)]

    def gather(self, per_feature: Array) -> Array:
        """Sums over the columns of each group: `[..., F]` to `[..., g]`."""
        if self.groups == tuple(range(self.num_groups)):
            return per_feature
        member = np.equal.outer(np.asarray(self.groups), np.arange(self.num_groups))
        return matmul(per_feature, jnp.asarray(member, per_feature.dtype))

    def profile_of(self, r2: Array) -> tuple[Array, Array]:
        """The profile and its slope at squared distances."""
        return PROFILES[self.profile](r2)


def squared_distances(left: Array, right: Array) -> Array:
    """Squared distances `[a, b]` of points `[a, F]` and `[b, F]`, by one matrix product.

    Both are first moved by the mean of `right`, which keeps the cancellation small, and what
    rounding leaves below zero is set to zero.
    """
    centre = jnp.mean(right, axis=0, keepdims=True)
    left, right = left - centre, right - centre
    squares = jnp.sum(left**2, axis=1)[:, None] + jnp.sum(right**2, axis=1)[None, :]
    return jnp.maximum(squares - 2.0 * matmul(left, right.T), 0.0)
