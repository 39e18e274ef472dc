"""SciPy: `minimize` with bounds that always hold, gradients by JAX, and our samplers as methods."""

from jaxhpo.integrations.scipy._minimize import as_method as as_method
from jaxhpo.integrations.scipy._minimize import minimize as minimize

__all__ = [
    "as_method",
    "minimize",
]
