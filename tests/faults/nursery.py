"""Run as a process: imports jaxhpo once, and forks a process for each command that it reads.

A fault is injected hundreds of times, and a Python that imports JAX takes seconds to start. No
thread and no backend of JAX is alive when it forks, so a child is as good as a fresh process.

Run: python -m tests.faults.nursery

A command is one line of JSON, `{"program": …, "settings": {…}, "fault": {…}}`; the answers are the
child's process id, and once it has ended `[pid, exit status]`.
"""

import ctypes
import importlib
import json
import os
import select
import signal
import sys
import traceback
import warnings

import optuna

from tests.faults import programs

# What a study in a database imports when it is opened.
for module in ("alembic.command", "optuna.storages._rdb.models", "sqlalchemy.dialects.sqlite"):
    importlib.import_module(module)

# Of the parent alone: in the child nothing runs that a lock could have been taken from.
warnings.filterwarnings("ignore", message=".*fork.*")
optuna.logging.set_verbosity(optuna.logging.WARNING)

KINDS = {"count": 0, "kill": 1, "torn": 2, "full": 3, "broken": 4, "readonly": 5}
FOR_EVER = 1 << 60


def shim():
    """The functions of `shim.c`, where it was loaded."""
    path = os.environ.get("LD_PRELOAD")
    return ctypes.CDLL(path) if path else None


def inject(fault):
    """Sets up what is to fail in this process."""
    if "clock" in fault:
        shim().fault_clock(ctypes.c_long(fault["clock"]))
    if "kind" in fault:
        first, until = fault.get("at", 0), fault.get("until", FOR_EVER)
        text, kind = fault["path"].encode(), KINDS[fault["kind"]]
        shim().fault_arm(ctypes.c_char_p(text), kind, ctypes.c_long(first), ctypes.c_long(until))


def run(command):
    """The life of a child."""
    os.environ.update(command.get("environment", {}))
    output = os.open(command["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    status = 1
    try:
        inject(command.get("fault", {}))
        programs.run(command["program"], command["settings"])
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException as error:
        status = getattr(error, "code", None) or 1
        traceback.print_exc()
    if command.get("fault", {}).get("kind") == "count":
        print("writes", shim().fault_count())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def answer(*found):
    print(json.dumps(found), flush=True)


def main():
    living, rest = set(), b""
    while True:
        ready, _, _ = select.select([0], [], [], 0.002 if living else None)
        if ready:
            read = os.read(0, 1 << 16)
            if not read:
                break
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                pid = os.fork()
                if pid == 0:
                    signal.signal(signal.SIGINT, signal.default_int_handler)
                    run(json.loads(line))
                living.add(pid)
                answer(pid)
        for pid in list(living):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                living.remove(pid)
                answer(pid, os.waitstatus_to_exitcode(status))
    for pid in living:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
