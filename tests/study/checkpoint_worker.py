"""Run as a process: sweeps a study with checkpoints, and kills itself at one of its reports.

Run: python -m tests.study.checkpoint_worker STORAGE SCHEDULER REPORT
"""

import os
import signal
import sys
import time

from tests.study.sweep_worker import TRAINING, study_of


def main(storage, scheduler, report):
    study, seen = study_of(storage), []

    def tick(progress):
        time.sleep(0.03)
        seen.append(progress)
        if len(seen) == report:
            os.kill(os.getpid(), signal.SIGKILL)

    left = 24 - sum(trial.status.name in ("COMPLETE", "PRUNED", "FAILED") for trial in study.trials)
    settings = {"num_steps": 40, "num_reports": 8, "scheduler": scheduler, "batch_size": 12}
    study.sweep(TRAINING, num_trials=left, checkpoint=True, progress=tick, **settings)
    print(len(seen))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
