"""Search spaces: dimensions, conditions and constraints over any pytree."""

from jaxhpo.space import readers
from jaxhpo.space._constraints import forbid as forbid
from jaxhpo.space._features import cell_ends as cell_ends
from jaxhpo.space._layout import Leaf as Leaf
from jaxhpo.space._layout import choice as choice
from jaxhpo.space._space import Space as Space
from jaxhpo.space._values import Branch as Branch
from jaxhpo.space._values import StaticValue as StaticValue
from jaxhpo.space.dimensions._choice import ordinal as ordinal
from jaxhpo.space.dimensions._choice import static as static
from jaxhpo.space.dimensions._dimension import Dimension as Dimension
from jaxhpo.space.dimensions._dimension import Discrete as Discrete
from jaxhpo.space.dimensions._fixed import fixed as fixed
from jaxhpo.space.dimensions._normal import log_normal as log_normal
from jaxhpo.space.dimensions._normal import normal as normal
from jaxhpo.space.dimensions._real import log_uniform as log_uniform
from jaxhpo.space.dimensions._real import uniform as uniform
from jaxhpo.space.dimensions._stepped import integer as integer
from jaxhpo.space.dimensions._stepped import quantized as quantized
from jaxhpo.space.readers import from_gpyopt as from_gpyopt
from jaxhpo.space.readers import from_hyperopt as from_hyperopt
from jaxhpo.space.readers import from_optuna as from_optuna
from jaxhpo.space.readers import from_ray as from_ray
from jaxhpo.space.readers import from_scipy as from_scipy
from jaxhpo.space.readers import from_sklearn as from_sklearn

__all__ = [
    "Branch",
    "Dimension",
    "Discrete",
    "Leaf",
    "Space",
    "StaticValue",
    "cell_ends",
    "choice",
    "fixed",
    "forbid",
    "integer",
    "log_normal",
    "log_uniform",
    "normal",
    "ordinal",
    "quantized",
    "static",
    "uniform",
]
__all__ += readers.__all__
