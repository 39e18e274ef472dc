"""A flax MLP on scikit-learn's handwritten digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxhpo import _checks
from jaxhpo.problems._load import cut, digits_images
from jaxhpo.space import Space, log_uniform, static, uniform
from jaxhpo.training import Training, from_linen

_NUM_TRAIN, _NUM_VALIDATION = 1_100, 350


class Mislabelled(NamedTuple):
    """Digits of which a part has false labels, and a run that weighs each of them.

    Attributes:
        training: the run; its hyperparameters are `{"weights": [1100]}`, one number per training
            example that goes through a sigmoid; its loss is that of 350 examples with true labels.
        images: `[1100, 8, 8]` the training images.
        labels: `[1100]` int32, the labels as given.
        is_false: `[1100]` bool, which of them are false.
        test_accuracy: `test_accuracy(state) -> scalar` in [0, 1] on 347 unseen examples.
    """

    training: Training
    images: jax.Array
    labels: jax.Array
    is_false: jax.Array
    test_accuracy: Callable[[Any], jax.Array]


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
        run also takes a vector of learning rates, one per step.

    Raises:
        ModuleNotFoundError: scikit-learn or flax is not installed.

    Example:
        >>> import jaxhpo as hpo
        >>> problem = hpo.problems.digits()
        >>> problem.space.names
        ('lr', 'momentum', 'decay', 'width')
    """
    train, validation, test = _load_split()

    def model(hparams: Any) -> Any:
        return _perceptron(hparams.get("width", widths[0]))

    def cross_entropy(hparams: Any, logits: jax.Array, labels: jax.Array) -> jax.Array:
        del hparams  # the loss itself is not searched
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)

    def test_accuracy(hparams: Any, state: Any) -> jax.Array:
        return _accuracy(model(hparams).apply({"params": state.params}, test[0]), test[1])

    training = from_linen(
        model,
        cross_entropy,
        _sgd,
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


def mislabelled_digits(
    hparams: Any, *, false_share: float = 0.25, seed: Any = 0, batch_size: int = 64
) -> Mislabelled:
    """The same model where a part of the training labels is false: 1,100 weights to learn.

    Model: SGD on `σ(weight_i)` times the cross entropy of example i. The validation loss has no
    weights and true labels, so its hypergradient says of every example whether it helps.

    Args:
        hparams: lr, momentum, decay and width of `digits`, which stay as they are; static.
        false_share: share of training labels that are replaced by one of the nine others, from 0
            to 1; static.
        seed: of what is replaced; may be traced, so that `vmap` and `jit` go over it.
        batch_size: examples a step; static.

    Returns:
        The problem.

    Raises:
        ModuleNotFoundError: scikit-learn or flax is not installed.
        ValueError: `false_share` is out of range.

    Example:
        >>> import jaxhpo as hpo
        >>> known = {"lr": 0.5, "momentum": 0.5, "decay": 1e-5, "width": 16}
        >>> int(hpo.problems.mislabelled_digits(known).is_false.sum())
        275

    References:
        Franceschi et al., "Forward and reverse gradient-based hyperparameter optimization", ICML
        2017, section 5.1 (data hyper-cleaning).
    """
    if not 0.0 <= false_share <= 1.0:
        raise _checks.fail("mislabelled_digits", "false_share", "from 0 to 1", false_share)
    (images, truth), validation, test = _load_split()
    key_chosen, key_shift = jax.random.split(jax.random.key(seed))
    num_false = round(false_share * _NUM_TRAIN)
    chosen = jax.random.permutation(key_chosen, _NUM_TRAIN)[:num_false]
    shift = jax.random.randint(key_shift, (num_false,), 1, 10, jnp.int32)
    shift = jnp.zeros(_NUM_TRAIN, jnp.int32).at[chosen].set(shift)
    labels = (truth + shift) % 10
    model = _perceptron(hparams["width"])

    def weighted(hparams: Any, logits: jax.Array, target: Any) -> jax.Array:
        label, number = target
        each = optax.softmax_cross_entropy_with_integer_labels(logits, label)
        return each * jax.nn.sigmoid(hparams["weights"][number]).astype(each.dtype)

    def plain(hparams: Any, logits: jax.Array, label: jax.Array) -> jax.Array:
        del hparams
        return optax.softmax_cross_entropy_with_integer_labels(logits, label)

    training = from_linen(
        model,
        weighted,
        lambda _: _sgd(hparams),
        train=(images, (labels, jnp.arange(_NUM_TRAIN, dtype=jnp.int32))),
        validation=validation,
        batch_size=batch_size,
        validation_loss=plain,
    )

    def test_accuracy(state: Any) -> jax.Array:
        return _accuracy(model.apply({"params": state.params}, test[0]), test[1])

    return Mislabelled(training, images.reshape(-1, 8, 8), labels, shift > 0, test_accuracy)


def _perceptron(width: int) -> Any:
    import flax.linen as nn

    return nn.Sequential([nn.Dense(width), nn.relu, nn.Dense(10)])


def _sgd(hparams: Any) -> optax.GradientTransformation:
    # The model is float32 whatever precision the space is sampled in.
    lr, momentum, decay = (
        jnp.asarray(hparams[name], jnp.float32) for name in ("lr", "momentum", "decay")
    )
    rate = lr if lr.ndim == 0 else lambda count: lr[count]
    return optax.chain(optax.add_decayed_weights(decay), optax.sgd(rate, momentum=momentum))


def _accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    found = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    return jnp.mean((found == labels).astype(jnp.float32))


def _load_split() -> list[tuple[jax.Array, jax.Array]]:
    """Shuffles once, always in the same way; float32 images, int32 labels."""
    return [
        (jnp.asarray(x, jnp.float32), jnp.asarray(y))
        for x, y in cut(digits_images("digits"), [_NUM_TRAIN, _NUM_VALIDATION])
    ]
