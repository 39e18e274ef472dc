"""A process on what looks like another machine, which is killed in the middle of a trial."""

import os
import signal
import socket
import sys

import jaxhpo as hpo

SPACE = {"x": hpo.uniform(0.0, 1.0)}
DIES_AT = 2


def main():
    socket.gethostname = lambda: "elsewhere"
    url, heartbeat = sys.argv[1:]
    study = hpo.Study(SPACE, "random", storage=url, name="s")
    seen = []

    def objective(params):
        seen.append(params)
        if len(seen) > DIES_AT:
            os.kill(os.getpid(), signal.SIGKILL)
        return params["x"]

    study.optimize(objective, num_trials=5, progress=False, heartbeat=float(heartbeat) or None)


if __name__ == "__main__":
    main()
