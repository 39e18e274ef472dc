"""A look at the model behind Bayesian optimization: its predictions, and how good they are."""

from jaxhpo.inspection._sensitivity import sensitivity as sensitivity
from jaxhpo.inspection._slices import Slice as Slice
from jaxhpo.inspection._slices import slice_of as slice_of
from jaxhpo.inspection._surrogate import Beliefs as Beliefs
from jaxhpo.inspection._surrogate import LeaveOneOut as LeaveOneOut
from jaxhpo.inspection._surrogate import Surrogate as Surrogate
from jaxhpo.inspection._surrogate import fit_surrogate as fit_surrogate

__all__ = [
    "Beliefs",
    "LeaveOneOut",
    "Slice",
    "Surrogate",
    "fit_surrogate",
    "sensitivity",
    "slice_of",
]
