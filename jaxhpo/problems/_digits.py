"""A flax MLP on scikit-learn's handwritten digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxhpo.problems._load import cut, digits_images
from jaxhpo.space import Space, log_uniform, static, uniform
from jaxhpo.training import Training, from_linen

_NUM_TRAIN, _NUM_VALIDATION = 1_100, 350


class Problem(NamedTuple):
    """A training run with the space that is searched and a test that was never searched on.

    Attributes:
        training: the run; its loss is the validation loss.
        space: what to search.
        test_accuracy: `test_accuracy(hparams, state) -> scalar` in [0, 1] on held-out examples.
    """

    training: Training
    space: Space
    test_accuracy: Callable[..., Any]


def digits(widths: tuple[int, ...] = (16, 32, 64), batch_size: int = 64) -> Problem:
    """One hidden layer on 1,797 images of 8 x 8 pixels: 1,100 train, 350 validate, 347 test.

    Args:
        widths: hidden units to choose from; one width is a fixed model, several are a `static`
            dimension. Static.
        batch_size: examples a step; static.

    Returns:
        The problem: learning rate, momentum, weight decay and width of SGD with cross entropy. The
        run also takes a vector of learning rates, one a step.

    Raises:
        ModuleNotFoundError: scikit-learn or flax is not installed.

    Example:
        >>> import jaxhpo as hpo
        >>> problem = hpo.problems.digits()
        >>> problem.space.names
        ('lr', 'momentum', 'decay', 'width')
    """
    import flax.linen as nn

    train, validation, test = _load_split()

    def model(hparams: Any) -> Any:
        width = hparams.get("width", widths[0])
        return nn.Sequential([nn.Dense(width), nn.relu, nn.Dense(10)])

    def optimizer(hparams: Any) -> optax.GradientTransformation:
        # The model is float32 whatever precision the space is sampled in.
        lr, momentum, decay = (
            jnp.asarray(hparams[name], jnp.float32) for name in ("lr", "momentum", "decay")
        )
        rate = lr if lr.ndim == 0 else lambda count: lr[count]
        return optax.chain(optax.add_decayed_weights(decay), optax.sgd(rate, momentum=momentum))

    def cross_entropy(hparams: Any, logits: jax.Array, labels: jax.Array) -> jax.Array:
        del hparams  # the loss itself is not searched
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)

    def test_accuracy(hparams: Any, state: Any) -> jax.Array:
        logits = model(hparams).apply({"params": state.params}, test[0])
        return jnp.mean(
            (jnp.argmax(logits, axis=-1).astype(jnp.int32) == test[1]).astype(jnp.float32)
        )

    training = from_linen(
        model,
        cross_entropy,
        optimizer,
        train=train,
        validation=validation,
        batch_size=batch_size,
    )
    tree: dict[str, Any] = {
        "lr": log_uniform(1e-3, 10.0),
        "momentum": uniform(0.0, 0.99),
        "decay": log_uniform(1e-6, 1e-1),
    }
    if len(widths) > 1:
        tree["width"] = static(widths)
    return Problem(training, Space(tree), test_accuracy)


def _load_split() -> list[tuple[jax.Array, jax.Array]]:
    """Shuffles once, always in the same way; float32 images, int32 labels."""
    return [
        (jnp.asarray(x, jnp.float32), jnp.asarray(y))
        for x, y in cut(digits_images("digits"), [_NUM_TRAIN, _NUM_VALIDATION])
    ]
