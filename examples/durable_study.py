"""Any Python objective, kept on disk: stop it at any time and run it again to go on.

Run: python examples/durable_study.py
"""

from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import jaxhpo as hpo

X, Y = load_wine(return_X_y=True)

# Only the parameters of the chosen model reach the objective.
space = hpo.Space(
    {
        "model": hpo.choice(
            {
                "svm": {
                    "C": hpo.log_uniform(1e-3, 1e3),
                    "gamma": hpo.log_uniform(1e-4, 1.0),
                },
                "forest": {
                    "max_depth": [2, 4, 8, None],
                    "max_features": hpo.uniform(0.1, 1.0),
                },
            }
        )
    }
)


def error(params):
    """Cross-validated error of the chosen classifier."""
    ((name, settings),) = params["model"].items()
    if name == "svm":
        model = make_pipeline(StandardScaler(), SVC(**settings))
    else:
        model = RandomForestClassifier(n_estimators=30, random_state=0, **settings)
    return 1.0 - cross_val_score(model, X, Y, cv=3).mean()


if __name__ == "__main__":
    study = hpo.Study(space, "tpe", storage="sqlite:///wine.db", name="wine")
    before = len(study.trials)
    study.optimize(error, num_trials=20)
    print(f"{before} trials were stored, {len(study.trials)} are now")
    print(f"best error {study.best_value:.4f} with {study.best_params}")
