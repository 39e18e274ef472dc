"""Training runs as pure functions, and adapters from optax and flax."""

from jaxhpo.training import schedules as schedules
from jaxhpo.training._adapter import TrainState as TrainState
from jaxhpo.training._averaged import averaged as averaged
from jaxhpo.training._dropout import dropout as dropout
from jaxhpo.training._gradient import gradient as gradient
from jaxhpo.training._linen import from_linen as from_linen
from jaxhpo.training._nnx import from_nnx as from_nnx
from jaxhpo.training._objective import objective as objective
from jaxhpo.training._objective import train as train
from jaxhpo.training._objective import trial_keys as trial_keys
from jaxhpo.training._optax import from_optax as from_optax
from jaxhpo.training._rules import constant as constant
from jaxhpo.training._training import Training as Training

__all__ = [
    "TrainState",
    "Training",
    "averaged",
    "constant",
    "dropout",
    "from_linen",
    "from_nnx",
    "from_optax",
    "gradient",
    "objective",
    "train",
    "trial_keys",
]
