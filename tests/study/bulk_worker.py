"""Run as a process: writes batches of trials to a study that others write to as well."""

import sys

from optuna.distributions import FloatDistribution

from jaxhpo._status import Status
from jaxhpo.study.storage._rows import Row
from jaxhpo.study.storage._store import Store


def main(url: str, worker: int, num_batches: int, batch_size: int) -> None:
    store = Store(url, "shared", ["minimize"])
    space = {"x": FloatDistribution(0.0, 1e6)}
    for batch in range(num_batches):
        values = [worker * 1e4 + batch * batch_size + i for i in range(batch_size)]
        rows = [
            Row(Status.RUNNING if i % 2 else Status.PRUNED, None, {"x": v}, space, {"w": worker})
            for i, v in enumerate(values)
        ]
        numbers = [number for number, _ in store.append(rows)]
        assert numbers == list(range(numbers[0], numbers[0] + batch_size))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
