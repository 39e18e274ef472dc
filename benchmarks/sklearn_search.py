"""SearchCV beside RandomizedSearchCV on digits: score, wall time, and the driver's time a trial.

    python benchmarks/sklearn_search.py [n_iter]

One run prints both. The forest's program is scikit-learn's classical one at equal folds and
candidates. The driver is measured on an estimator that does nothing, after one warm search.
"""

import sys
import time

from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import RandomizedSearchCV

from jaxhpo.integrations.sklearn import SearchCV

GRID = {
    "n_estimators": [10, 20, 40, 80],
    "max_features": ["sqrt", "log2"],
    "max_depth": [4, 8, 16, None],
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
    rows += [(f"SearchCV, {s}", SearchCV, {"sampler": s}) for s in ("random", "tpe", "gp")]
    for name, kind, more in rows:
        search = kind(RandomForestClassifier(random_state=0), GRID, **given, **more)
        seconds = timed(search, X, y)
        print(f"| {name} | {search.best_score_:.4f} | {seconds:.1f} |", flush=True)


def driver(num_trials=200):
    X, y = [[0.0], [1.0]] * 20, [0, 1] * 20
    grid = {"a": list(range(50)), "b": list(range(50))}
    print(f"\n| driver, {num_trials} trials, 2 folds | ms a trial beyond RandomizedSearchCV |")
    print("|---|---|")
    given = dict(n_iter=num_trials, cv=2, refit=False, random_state=0)
    base = min(timed(RandomizedSearchCV(Nothing(), grid, **given), X, y) for _ in range(3))
    for sampler in ("random", "tpe"):
        for batch in (1, None):
            times = [
                timed(SearchCV(Nothing(), grid, sampler=sampler, batch_size=batch, **given), X, y)
                for _ in range(3)
            ]
            extra = 1000 * (min(times[1:]) - base) / num_trials
            print(f"| {sampler}, batch_size={batch} | {extra:.2f} |", flush=True)


if __name__ == "__main__":
    driver()
    forest(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
