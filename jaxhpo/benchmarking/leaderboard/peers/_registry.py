"""Which libraries there are, what of them is compared, and what is known to be wrong with it."""

from __future__ import annotations

import importlib.util
from importlib import metadata
from typing import NamedTuple


class Peer(NamedTuple):
    """An estimator of another library.

    Attributes:
        module: what is imported.
        package: what is installed.
        like: our estimator of the same method; its operations count for the budget.
        defect: what its row says beside its figures, or "".
    """

    module: str
    package: str
    like: str
    defect: str = ""


PEERS: dict[str, Peer] = {
    "torchopt": Peer(
        "torchopt", "torchopt", "unrolled_none", "keeps every step: no checkpoints"
    ),
    "torchopt_cg": Peer("torchopt", "torchopt", "implicit_cg"),
    "higher": Peer(
        "higher", "higher", "unrolled_none", "keeps every step; no release since 2020"
    ),
    "betty_cg": Peer(
        "betty", "betty-ml", "implicit_cg",
        "its conjugate gradients take up the old residual: a wrong gradient",
    ),
    "betty_neumann": Peer("betty", "betty-ml", "implicit_neumann"),
    "jaxopt": Peer("jaxopt", "jaxopt", "implicit_cg", "no longer maintained"),
    "optimistix": Peer(
        "optimistix", "optimistix", "implicit_cg", "no fixed number of products, only a tolerance"
    ),
    "gradhpo": Peer(
        "gradhpo", "gradhpo", "greedy", "the optimizer's state counts as a constant"
    ),
}  # fmt: skip
"""Name -> estimator of another library, run where it is installed."""

SETTINGS: dict[str, tuple[float, float]] = {
    "logistic": (0.1, 0.0), "penalties": (0.3, 0.9), "cleaning": (0.5, 0.0),
    "cleaning_70": (0.5, 0.0), "cleaning_90": (0.5, 0.0),
}  # fmt: skip
"""The tasks that peers are given: rate and momentum of SGD, as each task has them."""

NUM_PRODUCTS = 30


def version_of(peer: Peer) -> str:
    """The installed version; "" if it is not installed."""
    if importlib.util.find_spec(peer.module) is None:
        return ""
    return metadata.version(peer.package)
