"""Programs that are compiled ahead: a later process of the same shape adds none."""

import os
import subprocess
import sys


def run(tmp_path, *arguments, **variables):
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("JAXHPO", "JAX_", "XLA_"))
    }
    environment |= {"JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(tmp_path), **variables}
    command = [sys.executable, "-m", "jaxhpo", "warm", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)


def added(done):
    """The last column of the table's rows."""
    assert done.returncode == 0, done.stderr
    rows = [line.strip("│ ").split("│") for line in done.stdout.splitlines() if "│" in line]
    return [float(row[-1]) for row in rows]


def test_what_was_compiled_once_is_there(tmp_path):
    arguments = ("-s", "qmc", "-s", "nsga2", "-d", "2", "--trials", "3")
    assert min(added(run(tmp_path, *arguments))) > 0.0
    assert added(run(tmp_path, *arguments)) == [0.0, 0.0]


def test_what_cannot_be_filled_is_said(tmp_path):
    done = run(tmp_path, "-s", "gradient")
    assert done.returncode == 2
    assert "needs gradients" in done.stderr
    assert "there is no sampler 'tp'" in run(tmp_path, "-s", "tp").stderr
    off = run(tmp_path, "-s", "qmc", JAXHPO_CACHE="0")
    assert off.returncode == 2
    assert "cache is off" in off.stderr
