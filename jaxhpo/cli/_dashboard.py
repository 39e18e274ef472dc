"""`jaxhpo dashboard`: optuna-dashboard on a storage, until it is stopped."""

from __future__ import annotations

import importlib.util
import os
import socket
from multiprocessing.pool import ThreadPool

from jaxhpo.cli._errors import UserError
from jaxhpo.cli._inspect import hide_password, open_existing
from jaxhpo.cli._tables import say
from jaxhpo.study.internal import is_writable, open_storage


def serve(storage: str, host: str, port: int) -> None:
    """Serves until Ctrl-C.

    Raises:
        UserError: optuna-dashboard is not installed, the storage does not exist, or the address
            cannot be listened on.
        StorageError: the storage cannot be read.
    """
    if not 0 < port < 65536:
        raise UserError(f"--port must be from 1 to 65535, got {port}.")
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise UserError(
            'optuna-dashboard is not installed: pip install "jaxhpo[dashboard]" '
            "(or pip install optuna-dashboard)."
        )
    # To look whether it is there changes nothing; the dashboard itself may write notes.
    opened = open_existing(storage)
    if is_writable(storage):
        opened = open_storage(storage)[0]
    _check_address(host, port)
    say(
        f"Studies of {hide_password(storage)} at http://{host}:{port}/dashboard (Ctrl-C ends it).",
    )
    # Imported only now: it takes seconds.
    import optuna_dashboard

    # In a thread: what answers a request takes a Ctrl-C for an error of that request, and goes on.
    with ThreadPool(1) as pool:  # its thread is a daemon
        server = pool.apply_async(optuna_dashboard.run_server, (opened, host, port))
        try:
            server.get()
        except KeyboardInterrupt:
            say("stopped.")


def _check_address(host: str, port: int) -> None:
    """Tries the address, so that a port in use is one line instead of a traceback."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"--port: {host}:{port} cannot be listened on ({error.strerror or error}); "
                "another program may be using it. Choose another one with --port."
            ) from error
