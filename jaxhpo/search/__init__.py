"""A whole study as one pure function: `minimize` and its relatives."""

from jaxhpo.search._gradient import with_gradient as with_gradient
from jaxhpo.search._many import chosen_layout as chosen_layout
from jaxhpo.search._many import minimize_many as minimize_many
from jaxhpo.search._minimize import minimize as minimize
from jaxhpo.search._replicates import replicates as replicates

__all__ = ["chosen_layout", "minimize", "minimize_many", "replicates", "with_gradient"]
