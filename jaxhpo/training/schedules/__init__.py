"""optax's schedules with every number traced: peaks, warm-ups and lengths as hyperparameters.

optax compares some arguments of its schedules in Python (`peak_value` and `decay_steps` of
`warmup_cosine_decay_schedule`, `transition_steps` everywhere), so these cannot be hyperparameters.
Here all of them can, and each function returns the value that optax's returns where optax's can be
built. A schedule is `schedule(count) -> []`, for any optimizer's `learning_rate`. Steps may be
real: a warm-up of 2.5 steps lies between those of 2 and 3, with a derivative.

Example:
    >>> import jax, jaxhpo as hpo
    >>> def rate(hparams):
    ...     schedule = hpo.training.schedules.warmup_cosine_decay(
    ...         0.0, hparams["peak"], hparams["warmup"], 10
    ...     )
    ...     return schedule(1)
    >>> print(jax.jit(rate)({"peak": 0.8, "warmup": 4}))
    0.2
"""

from jaxhpo.training.schedules._decays import constant as constant
from jaxhpo.training.schedules._decays import cosine_decay as cosine_decay
from jaxhpo.training.schedules._decays import exponential_decay as exponential_decay
from jaxhpo.training.schedules._decays import linear as linear
from jaxhpo.training.schedules._decays import polynomial as polynomial
from jaxhpo.training.schedules._pieces import cosine_onecycle as cosine_onecycle
from jaxhpo.training.schedules._pieces import join as join
from jaxhpo.training.schedules._pieces import linear_onecycle as linear_onecycle
from jaxhpo.training.schedules._pieces import piecewise_constant as piecewise_constant
from jaxhpo.training.schedules._pieces import piecewise_interpolate as piecewise_interpolate
from jaxhpo.training.schedules._warmups import sgdr as sgdr
from jaxhpo.training.schedules._warmups import warmup_constant as warmup_constant
from jaxhpo.training.schedules._warmups import warmup_cosine_decay as warmup_cosine_decay
from jaxhpo.training.schedules._warmups import (
    warmup_exponential_decay as warmup_exponential_decay,
)

__all__ = [
    "constant",
    "cosine_decay",
    "cosine_onecycle",
    "exponential_decay",
    "join",
    "linear",
    "linear_onecycle",
    "piecewise_constant",
    "piecewise_interpolate",
    "polynomial",
    "sgdr",
    "warmup_constant",
    "warmup_cosine_decay",
    "warmup_exponential_decay",
]
