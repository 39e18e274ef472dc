"""A PostgreSQL server of one's own, and the rows in which it goes away."""

import contextlib
import os
import pathlib
import random
import secrets
import shutil
import socket
import subprocess
import tempfile
import time

from tests.faults import harness, programs
from tests.faults.harness import Tally, tally
from tests.faults.table import row


class Server(str):
    """Address of a server; `stop` and `start` are those of its control program."""

    control: list[str]
    options: str

    def stop(self, mode="fast"):
        command = [*self.control, "-m", mode, "stop"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def start(self):
        command = [*self.control, "-o", self.options, "start"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def running_server(folder):
    """A server on the loopback interface, with its data in an empty folder.

    Raises:
        RuntimeError: there is none on this machine, or it does not start; the message says why.
    """
    if shutil.which("pg_ctl") is None or shutil.which("initdb") is None:
        raise RuntimeError(
            "no PostgreSQL server is installed (pg_ctl and initdb are not on the PATH)"
        )
    data, log = folder / "data", folder / "log"
    prefix = _as_plain_user(folder)
    initdb = [*prefix, "initdb", "-D", str(data), "-U", "tester", "-A", "trust", "--no-sync"]
    made = subprocess.run(initdb, capture_output=True, text=True)
    if made.returncode:
        raise RuntimeError(f"initdb does not run here: {made.stderr.strip()[:200]}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = Server(f"127.0.0.1:{port}/postgres")
    address.options = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -k {folder}"
    address.control = [*prefix, "pg_ctl", "-D", str(data), "-l", str(log), "-w"]
    address.start()
    try:
        yield address
    finally:
        address.stop("immediate")


def _as_plain_user(folder):
    """PostgreSQL refuses to run as root: run it as the owner that its files then have."""
    if os.geteuid() != 0:
        return []
    for parent in [folder, *folder.parents]:
        if "pytest" in parent.name or "jaxhpo" in parent.name:
            parent.chmod(0o755)
    shutil.chown(folder, "nobody")
    return ["setpriv", "--reuid=nobody", "--clear-groups"]


def new_database(address, name):
    """Makes a database on a server; its URL."""
    import psycopg

    with psycopg.connect(f"postgresql://tester@{address}", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql+psycopg://tester@{address.rpartition('/')[0]}/{name}"


@row("PostgreSQL restarted at random", many=10)
def restart_server(name, nursery, folder, times):
    """The run waits for the server, and goes on."""
    total, rng = Tally(name), random.Random(3)
    home = pathlib.Path(tempfile.mkdtemp(prefix="jaxhpo-server-"))
    with running_server(home) as server:
        while total.injected < times:
            place = _place(server, folder)
            given = {"sampler": "random", "num_trials": 300, "seconds": 0.02}
            child, count = nursery.start("optimize", **place, **given), 0
            while not harness.told(place["ledger"]) and child.status.empty():
                time.sleep(0.05)  # what opens a study says at once that the server is away
            while total.injected + count < times and child.status.empty():
                time.sleep(rng.uniform(0.2, 1.0))
                server.stop(rng.choice(["fast", "immediate"]))
                time.sleep(rng.uniform(0.0, 0.5))
                server.start()
                count += 1
            assert child.wait() == 0, child.said()[-3000:]
            total.add(_tally(name, place, count))
    shutil.rmtree(home, ignore_errors=True)
    return total


@row("PostgreSQL away for longer than anybody waits", many=4)
def server_stays_away(name, nursery, folder, times):
    """The run ends, and its value is kept for the next one."""
    total = Tally(name)
    home = pathlib.Path(tempfile.mkdtemp(prefix="jaxhpo-server-"))
    with running_server(home) as server:
        for _ in range(times):
            place = _place(server, folder)
            given = {"sampler": "random", "num_trials": 40, "seconds": 0.1}
            environment = {"JAXHPO_PATIENCE": "0.5"}
            child = nursery.start("optimize", environment=environment, **place, **given)
            while not harness.told(place["ledger"]):
                time.sleep(0.05)
            server.stop("immediate")
            status, said = child.wait(), child.said()
            server.start()
            assert status == 1, said[-3000:]
            assert "StorageError" in said, said[-3000:]
            nursery.finish("optimize", **place, **given)
            total.add(_tally(name, place, 1))
    shutil.rmtree(home, ignore_errors=True)
    return total


@row("SIGKILL at random: optimize, random, PostgreSQL", many=15)
def kill_beside_server(name, nursery, folder, times):
    """The killed process leaves a transaction behind."""
    total, given = Tally(name), {"sampler": "random", "num_trials": 60}
    home = pathlib.Path(tempfile.mkdtemp(prefix="jaxhpo-server-"))
    with running_server(home) as server:
        while total.injected < times:
            place = _place(server, folder)
            count = harness.killed_again_and_again(
                nursery, "optimize", {**place, **given}, times=min(5, times - total.injected),
                longest=1.5,
            )  # fmt: skip
            nursery.finish("optimize", **place, **given)
            total.add(_tally(name, place, count, lives=False))
    shutil.rmtree(home, ignore_errors=True)
    return total


def _place(server, folder):
    ledger = tempfile.mkdtemp(dir=folder)
    return {
        "storage": new_database(server, f"study_{secrets.token_hex(6)}"),
        "ledger": f"{ledger}/told",
    }


def _tally(name, place, count, *, lives=True):
    study, expected = programs.study_of(place["storage"], "random"), harness.without_faults
    return tally(
        name, study, place["ledger"], injected=count, expected=expected("random"), lives=lives
    )
