"""jaxhpo: functional, vectorised hyperparameter optimization in JAX.

The public names, as a table of contents; `import jaxhpo as hpo`.
"""

# Search spaces: dimensions, conditions, constraints.
from jaxhpo import space as space

# The protocol and its records.
from jaxhpo._base import Outcome as Outcome
from jaxhpo._base import Result as Result
from jaxhpo._base import Sampler as Sampler
from jaxhpo._base import Trials as Trials
from jaxhpo._status import Status as Status
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

# One training run, written once.
from jaxhpo.training import Training as Training
