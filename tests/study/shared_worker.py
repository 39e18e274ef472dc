"""Run as a process: so many trials of a study that others work on as well; prints what it ran."""

import json
import sys

import jaxhpo as hpo
from jaxhpo.study import Study
from tests.study.test_shared import SPACE


def main(storage: str, num_trials: int) -> None:
    ran = []

    def objective(params):
        ran.append(params["x"])
        return params["x"] ** 2

    study = Study(SPACE, "random", storage=storage, name="shared", seed=7)
    study.optimize(objective, num_trials=num_trials, progress=False)
    assert hpo.Status.FAILED not in {trial.status for trial in study.trials}
    print(json.dumps(ran))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
