"""Search algorithms: one file each, all three pure functions of the `Sampler` protocol."""

from jaxhpo.samplers._auto import Choice as Choice
from jaxhpo.samplers._auto import auto as auto
from jaxhpo.samplers._auto import choose as choose
from jaxhpo.samplers._names import get as get
from jaxhpo.samplers._names import names as names
from jaxhpo.samplers.bayesian._gp import gp as gp
from jaxhpo.samplers.bayesian._gp_multi import gp_multi as gp_multi
from jaxhpo.samplers.bayesian._turbo import turbo as turbo
from jaxhpo.samplers.combinators import mixture as mixture
from jaxhpo.samplers.combinators import warm_start as warm_start
from jaxhpo.samplers.combinators import with_restarts as with_restarts
from jaxhpo.samplers.evolutionary._cma_es import cma_es as cma_es
from jaxhpo.samplers.evolutionary._de import de as de
from jaxhpo.samplers.evolutionary._nsga2 import nsga2 as nsga2
from jaxhpo.samplers.evolutionary._nsga3 import nsga3 as nsga3
from jaxhpo.samplers.local._gradient import gradient as gradient
from jaxhpo.samplers.local._pattern import pattern as pattern
from jaxhpo.samplers.space_filling._grid import grid as grid
from jaxhpo.samplers.space_filling._qmc import qmc as qmc
from jaxhpo.samplers.space_filling._random import random as random
from jaxhpo.samplers.tpe._tpe import tpe as tpe

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
