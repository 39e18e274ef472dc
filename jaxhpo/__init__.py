"""jaxhpo: functional, vectorised hyperparameter optimization in JAX.

The public names, as a table of contents; `import jaxhpo as hpo`.
"""

# The rooms: each has more names of its own.
# Hypergradients: derivatives of a training run by its hyperparameters.
from jaxhpo import hypergrad as hypergrad
from jaxhpo import plots as plots
from jaxhpo import population as population
from jaxhpo import problems as problems
from jaxhpo import samplers as samplers
from jaxhpo import space as space
from jaxhpo import study as study
from jaxhpo import training as training

# The protocol and its records.
from jaxhpo._base import Outcome as Outcome
from jaxhpo._base import Result as Result
from jaxhpo._base import Sampler as Sampler
from jaxhpo._base import Trials as Trials

# A whole study as one pure function.
from jaxhpo._minimize import minimize as minimize
from jaxhpo._status import Status as Status

# Search spaces: dimensions, conditions, constraints.
from jaxhpo.space import Space as Space
from jaxhpo.space import choice as choice
from jaxhpo.space import fixed as fixed
from jaxhpo.space import forbid as forbid
from jaxhpo.space import integer as integer
from jaxhpo.space import log_normal as log_normal
from jaxhpo.space import log_uniform as log_uniform
from jaxhpo.space import normal as normal
from jaxhpo.space import ordinal as ordinal
from jaxhpo.space import quantized as quantized
from jaxhpo.space import static as static
from jaxhpo.space import uniform as uniform

# A durable study of any Python objective.
from jaxhpo.study import Study as Study

# One training run, written once.
from jaxhpo.training import Training as Training
