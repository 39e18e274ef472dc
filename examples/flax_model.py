"""A flax model with BatchNorm and dropout, tuned by a durable, vectorised quasi-random search.

Run: python examples/flax_model.py [number of trials]
"""

import sys

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

import jaxhpo as hpo

NUM_TRIALS = int(sys.argv[1]) if len(sys.argv) > 1 else 64


class Net(nn.Module):
    """One hidden layer; the dropout rate is a hyperparameter and stays traced."""

    rate: float

    @nn.compact
    def __call__(self, x, train: bool):
        """Returns logits."""
        x = nn.Dense(64)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(x))
        if train:  # flax's own Dropout needs a constant rate
            x = hpo.training.dropout(self.make_rng("dropout"), x, self.rate)
        return nn.Dense(10)(x)


def load():
    """Digits: 1,200 train, 597 validate."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = jnp.asarray(x[order] / 16, jnp.float32), jnp.asarray(y[order], jnp.int32)
    return (x[:1200], y[:1200]), (x[1200:], y[1200:])


def cross_entropy(hparams, logits, labels):
    """Softmax cross entropy with label smoothing."""
    targets = optax.smooth_labels(jnp.eye(10)[labels], hparams["smoothing"])
    return optax.softmax_cross_entropy(logits, targets)


space = hpo.Space(
    {
        "lr": hpo.log_uniform(1e-4, 1e-1),
        "dropout": hpo.uniform(0.0, 0.7),
        "smoothing": hpo.uniform(0.0, 0.2),
    }
)

if __name__ == "__main__":
    train, validation = load()
    training = hpo.training.from_linen(
        lambda hparams: Net(rate=hparams["dropout"]),
        cross_entropy,
        lambda hparams: optax.adam(hparams["lr"]),
        train=train,
        validation=validation,
        batch_size=64,
        validation_loss=lambda hparams, logits, labels: (jnp.argmax(logits, -1) != labels) * 1.0,
    )
    study = hpo.Study(space, sampler="qmc", storage="sqlite:///net.db", name="net")
    study.sweep(training, num_trials=NUM_TRIALS, num_steps=200)
    print(f"best error {study.best_value:.4f} with {study.best_params}")
