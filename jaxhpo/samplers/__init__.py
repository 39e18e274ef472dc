"""Search algorithms: one file each, all three pure functions of the `Sampler` protocol."""

from jaxhpo.samplers._auto import Choice as Choice
from jaxhpo.samplers._auto import auto as auto
from jaxhpo.samplers._auto import choose as choose
from jaxhpo.samplers._cma_es import cma_es as cma_es
from jaxhpo.samplers._combinators import mixture as mixture
from jaxhpo.samplers._combinators import warm_start as warm_start
from jaxhpo.samplers._combinators import with_restarts as with_restarts
from jaxhpo.samplers._de import de as de
from jaxhpo.samplers._gp import gp as gp
from jaxhpo.samplers._gp_multi import gp_multi as gp_multi
from jaxhpo.samplers._gradient import gradient as gradient
from jaxhpo.samplers._grid import grid as grid
from jaxhpo.samplers._names import get as get
from jaxhpo.samplers._names import names as names
from jaxhpo.samplers._nsga2 import nsga2 as nsga2
from jaxhpo.samplers._nsga3 import nsga3 as nsga3
from jaxhpo.samplers._pattern import pattern as pattern
from jaxhpo.samplers._qmc import qmc as qmc
from jaxhpo.samplers._random import random as random
from jaxhpo.samplers._tpe import tpe as tpe
from jaxhpo.samplers._turbo import turbo as turbo

__all__ = [
    "Choice",
    "auto",
    "choose",
    "cma_es",
    "de",
    "get",
    "gp",
    "gp_multi",
    "gradient",
    "grid",
    "mixture",
    "names",
    "nsga2",
    "nsga3",
    "pattern",
    "qmc",
    "random",
    "tpe",
    "turbo",
    "warm_start",
    "with_restarts",
]
