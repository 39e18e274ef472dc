"""SearchCV over an estimator in JAX: all folds of a batch of candidates train as one program."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import stats
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.utils.validation import check_is_fitted, validate_data

from jaxhpo.integrations.sklearn import JaxEstimator, SearchCV


class MLPClassifier(ClassifierMixin, JaxEstimator):
    """One hidden layer, full batches, Adam; learning rate and weight decay are traced."""

    traced = ("lr", "alpha")

    def __init__(self, lr=1e-2, alpha=1e-4, width=16, num_steps=40, random_state=0):
        self.lr = lr
        self.alpha = alpha
        self.width = width
        self.num_steps = num_steps
        self.random_state = random_state

    def jax_prepare(self, X, y):
        X, y = validate_data(self, X, y, dtype=np.float32)
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.scale_ = np.maximum(np.abs(X).max(), 1e-12)
        return X / self.scale_, codes.astype(np.int32)

    def jax_fit(self, key, hparams, X, y, weight):
        num_classes = len(self.classes_)
        key_in, key_out = jax.random.split(key)
        glorot = jax.nn.initializers.glorot_normal()
        params = {
            "in": glorot(key_in, (X.shape[1], self.width), X.dtype),
            "bias": jnp.zeros(self.width, X.dtype),
            "out": glorot(key_out, (self.width, num_classes), X.dtype),
        }
        weight = weight.astype(X.dtype) / weight.sum().astype(X.dtype)

        def loss(params):
            losses = optax.softmax_cross_entropy_with_integer_labels(_logits(params, X), y)
            decay = sum(jnp.sum(p**2) for p in jax.tree.leaves(params))
            return weight @ losses + hparams["alpha"].astype(X.dtype) * decay

        optimizer = optax.adam(hparams["lr"].astype(X.dtype))

        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state)
            return (optax.apply_updates(params, updates), state), None

        start = (params, optimizer.init(params))
        return jax.lax.scan(step, start, length=self.num_steps)[0][0]

    def jax_install(self, fitted):
        self.fitted_ = fitted

    def predict(self, X):
        check_is_fitted(self, "fitted_")
        X = validate_data(self, X, dtype=np.float32, reset=False) / self.scale_
        hidden = np.tanh(X @ self.fitted_["in"] + self.fitted_["bias"])
        return self.classes_[np.argmax(hidden @ self.fitted_["out"], axis=1)]


def _logits(params, X):
    return jnp.tanh(X @ params["in"] + params["bias"][None, :]) @ params["out"]


if __name__ == "__main__":
    X, y = load_digits(return_X_y=True)
    space = {"lr": stats.loguniform(1e-3, 1.0), "alpha": stats.loguniform(1e-6, 1e-2)}
    search = SearchCV(MLPClassifier(), space, n_iter=16, cv=5, sampler="qmc", random_state=0)
    search.fit(X, y)
    print("best", search.best_params_, round(search.best_score_, 3))
