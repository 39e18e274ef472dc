"""Training runs as pure functions, and adapters from optax and flax."""

from jaxhpo.training._training import Training as Training
