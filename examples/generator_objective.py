"""A classifier that reports after every epoch, under ASHA: most of its trials stop early.

Run: python examples/generator_objective.py [number of trials]
"""

import sys

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

import jaxhpo as hpo

NUM_TRIALS = int(sys.argv[1]) if len(sys.argv) > 1 else 60
NUM_EPOCHS = 27

SPACE = {
    "alpha": hpo.log_uniform(1e-6, 1e-1),
    "eta0": hpo.log_uniform(1e-4, 1.0),
    "learning_rate": ["constant", "invscaling"],
}
CLASSES = np.arange(10)


def load_data():
    """Digits, in two parts."""
    images, labels = load_digits(return_X_y=True)
    return train_test_split(images / 16.0, labels, test_size=0.3, random_state=0)


def objective(params, checkpoint=None):
    """Trains epoch by epoch; a checkpoint is all that the next epoch needs."""
    x_train, x_test, y_train, y_test = load_data()
    model = SGDClassifier(loss="log_loss", random_state=0, **params)
    model.partial_fit(x_train[:1], y_train[:1], CLASSES)
    first = 0
    if checkpoint is not None:
        model.coef_, model.intercept_ = checkpoint["coef"], checkpoint["intercept"]
        model.t_, first = checkpoint["t"], checkpoint["epoch"]
    for epoch in range(first, NUM_EPOCHS):
        order = np.random.default_rng(epoch).permutation(len(x_train))
        model.partial_fit(x_train[order], y_train[order])
        state = {"coef": model.coef_, "intercept": model.intercept_}
        loss = log_loss(y_test, model.predict_proba(x_test), labels=CLASSES)
        yield hpo.Report(loss, checkpoint={**state, "t": model.t_, "epoch": epoch + 1})


if __name__ == "__main__":
    study = hpo.Study(SPACE, "qmc", storage="sqlite:///generator.db", name="digits")
    study.optimize(objective, num_trials=NUM_TRIALS, scheduler="asha", num_steps=NUM_EPOCHS)
    epochs = np.array([max(trial.curve, default=0) for trial in study.trials])
    for epoch in np.unique(epochs):
        print(f"{np.sum(epochs == epoch):4d} trials ended after epoch {epoch}")
    print(f"{epochs.sum():,} epochs of {NUM_EPOCHS * len(epochs):,}")
    print(f"best validation loss {study.best_value:.4f} with {study.best_params}")
