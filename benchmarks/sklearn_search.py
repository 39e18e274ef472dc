"""SearchCV beside RandomizedSearchCV: the driver's time a trial, and score and wall time on digits.

    python benchmarks/sklearn_search.py driver        # three minutes
    python benchmarks/sklearn_search.py forest [n_iter]

The driver is measured on an estimator that does nothing, so that what a trial takes beyond
RandomizedSearchCV is the driver's. Programs are compiled before the clock starts; the fastest of
several runs in turn counts. Beside it stands Optuna's own driver on an objective that returns a
number at once. The forest's program is scikit-learn's classical one at equal folds and candidates.
"""

import os
import sys
import tempfile
import time

import optuna
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import RandomizedSearchCV

from jaxhpo.integrations.sklearn import SearchCV

GRID = {
    "n_estimators": [10, 20, 40, 80, 120, 160, 200],
    "max_features": ["sqrt", "log2"],
    "max_depth": [4, 8, 12, 16, None],
    "criterion": ["gini", "entropy"],
}


class Nothing(ClassifierMixin, BaseEstimator):
    """Costs nothing to fit and to score."""

    def __init__(self, a=0, b=0):
        self.a = a
        self.b = b

    def fit(self, X, y):
        self.classes_ = [0, 1]
        return self

    def score(self, X, y=None):
        return float(self.a * 0.001 - self.b * 0.0001)


def timed(search, X, y):
    start = time.perf_counter()
    search.fit(X, y)
    return time.perf_counter() - start


def forest(n_iter):
    X, y = load_digits(return_X_y=True)
    given = dict(n_iter=n_iter, cv=5, random_state=42, n_jobs=-1)
    print(f"| digits, forest, n_iter={n_iter} | best score | seconds |\n|---|---|---|")
    rows = [("RandomizedSearchCV", RandomizedSearchCV, {})]
    rows += [(f"SearchCV, {s}", SearchCV, {"sampler": s}) for s in ("random", "tpe")]
    for name, kind, more in rows:
        search = kind(RandomForestClassifier(random_state=0), GRID, **given, **more)
        seconds = timed(search, X, y)
        print(f"| {name} | {search.best_score_:.4f} | {seconds:.1f} |", flush=True)


def search(kind, n_iter, **given):
    """Seconds `[wall, CPU]` of one search over an estimator that does nothing."""
    X, y = [[0.0], [1.0]] * 20, [0, 1] * 20
    grid = {"a": list(range(50)), "b": list(range(50))}
    made = kind(Nothing(), grid, n_iter=n_iter, cv=2, refit=False, random_state=0, **given)
    return clocked(lambda: made.fit(X, y))


def ours(sampler, batch_size):
    def run(n_iter, storage):
        return search(SearchCV, n_iter, sampler=sampler, batch_size=batch_size, storage=storage)

    return run


def theirs(sampler):
    def run(num_trials, storage):
        study = optuna.create_study(storage=storage, sampler=sampler(seed=0))
        return clocked(lambda: study.optimize(suggested, n_trials=num_trials))

    return run


def suggested(trial):
    options = list(range(50))
    a, b = (trial.suggest_categorical(name, options) for name in "ab")
    return b * 0.0001 - a * 0.001


def clocked(function):
    start = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def driver(num_trials=100, repeats=7):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rows = {
        f"SearchCV, {sampler}, {'one by one' if size == 1 else f'batches of {size}'}": (
            ours(sampler, size)
        )
        for sampler in ("random", "tpe")
        for size in (1, 8)
    }
    rows["Optuna, random"] = theirs(optuna.samplers.RandomSampler)
    rows["Optuna, tpe"] = theirs(optuna.samplers.TPESampler)
    print(f"| driver, {num_trials} trials | storage | ms a trial | CPU ms a trial |")
    print("|---|---|---|---|")
    for where in ("memory", "SQLite"):
        for name, run in rows.items():
            with tempfile.TemporaryDirectory() as folder:
                files = iter(range(repeats + 1))

                def once(run=run, folder=folder, files=files, where=where):
                    url = f"sqlite:///{os.path.join(folder, str(next(files)))}.db"
                    return run(num_trials, None if where == "memory" else url)

                once()
                is_slow = where == "SQLite" and name.startswith("Optuna")
                pairs = [
                    (search(RandomizedSearchCV, num_trials), once())
                    for _ in range(1 if is_slow else repeats)
                ]
            base = (0.0, 0.0) if name.startswith("Optuna") else fastest(p[0] for p in pairs)
            spent = fastest(p[1] for p in pairs)
            extra = [1000 * (s - b) / num_trials for s, b in zip(spent, base, strict=True)]
            print(f"| {name} | {where} | {extra[0]:.2f} | {extra[1]:.2f} |", flush=True)


def fastest(times):
    return [min(column) for column in zip(*times, strict=True)]


if __name__ == "__main__":
    if sys.argv[1:] == ["driver"]:
        driver()
    elif sys.argv[1:2] == ["forest"]:
        forest(int(sys.argv[2]) if len(sys.argv) > 2 else 100)
    else:
        sys.exit(__doc__)
