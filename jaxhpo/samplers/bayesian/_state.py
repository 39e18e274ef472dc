"""The state of the model-based samplers."""

from __future__ import annotations

from jaxhpo._base import Array, PyTree, Record
from jaxhpo.samplers._parts._observations import Observations
from jaxhpo.samplers._parts._pending import Counts
from jaxhpo.samplers.bayesian._targets import Fitted
from jaxhpo.samplers.bayesian._trust_region import Region


class GpState(Record):
    """State of `gp`.

    Attributes:
        rows: what is known.
        start: state of the low-discrepancy sequence, which also keeps count of a finite space.
        counts: points observed so far, and how many of them failed.
        fitted: of the objective's model, and of the violation's if there is one.
        num_fitted: `[]` int32, observed rows that the last fit has seen.
        region: where every second proposal of `gp` stays, or None.
    """

    rows: Observations
    start: PyTree
    counts: Counts
    fitted: tuple[Fitted, ...]
    num_fitted: Array
    region: Region | None = None
