"""Starts a peer's process and reads its rows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from jaxhpo.benchmarking.leaderboard.peers._registry import PEERS, SETTINGS, version_of

_SECONDS = 3600.0


def peer_rows(
    name: str, task: str | None, plan: dict[str, Any], known: Sequence[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The rows of a peer's cell that are missing, or rows that say why there are none.

    Args:
        name: the peer.
        task: name of the task in `problems.TASKS`; None for a user's own.
        plan: budget and seeds.
        known: rows of the cell that there are already.

    Yields:
        One row a seed.
    """
    peer, missing = PEERS[name], set(range(plan["num_seeds"])) - {row["seed"] for row in known}
    version = version_of(peer)
    facts = {"version": version, "defect": peer.defect}
    if not version:
        note = f"not installed: pip install {peer.package}"
    elif task not in SETTINGS:
        note = f"no form of this task for it; there is one of {', '.join(SETTINGS)}"
    else:
        request = {"peer": name, "task": task, "plan": plan, "known": list(known)}
        rows, note = _answer(request)
        for row in rows:
            missing.discard(row["seed"])
            yield {**row, **facts}
    yield from ({"seed": seed, "note": note, **facts} for seed in sorted(missing))


def _answer(request: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """Rows that a process wrote, and why it wrote no more of them."""
    command = [sys.executable, "-m", "jaxhpo.benchmarking.leaderboard.peers"]
    try:
        done = subprocess.run(
            command, input=json.dumps(request), capture_output=True, text=True, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        return [], f"no answer after {_SECONDS:.0f} s"
    rows = [json.loads(line[4:]) for line in done.stdout.splitlines() if line.startswith("row ")]
    last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    return rows, f"failed in its process: {last[0][:160]}"
