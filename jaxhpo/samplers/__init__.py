"""Search algorithms: one file each, all three pure functions of the `Sampler` protocol."""

from jaxhpo.samplers._cma_es import cma_es as cma_es
from jaxhpo.samplers._de import de as de
from jaxhpo.samplers._gp import gp as gp
from jaxhpo.samplers._grid import grid as grid
from jaxhpo.samplers._names import get as get
from jaxhpo.samplers._names import names as names
from jaxhpo.samplers._nsga2 import nsga2 as nsga2
from jaxhpo.samplers._nsga3 import nsga3 as nsga3
from jaxhpo.samplers._qmc import qmc as qmc
from jaxhpo.samplers._random import random as random
from jaxhpo.samplers._tpe import tpe as tpe

__all__ = ["cma_es", "de", "get", "gp", "grid", "names", "nsga2", "nsga3", "qmc", "random", "tpe"]
