"""jaxhpo: functional, vectorised hyperparameter optimization in JAX."""

from jaxhpo._base import Outcome as Outcome
from jaxhpo._base import Result as Result
from jaxhpo._base import Sampler as Sampler
from jaxhpo._base import Trials as Trials
from jaxhpo._status import Status as Status
from jaxhpo.training import Training as Training
