"""What is installed, and what JAX sees."""

from __future__ import annotations

import importlib.util
import os
import platform
from importlib import metadata

from jaxhpo.cli._tables import print_table

_CORE = (
    "jaxhpo", "jax", "jaxlib", "numpy", "optax", "flax", "flatbuffers", "optuna", "rich", "typer",
)  # fmt: skip
_EXTRAS = {
    "sklearn": ("scikit-learn", "the demo, and scikit-learn estimators"),
    "matplotlib": ("matplotlib", "figures"),
    "plotly": ("plotly", "Optuna's interactive figures"),
    "pandas": ("pandas", "Study.to_dataframe()"),
    "optuna_dashboard": ("optuna-dashboard", "watching studies in a browser"),
    "psycopg": ("psycopg", "studies on PostgreSQL"),
    "ray": ("ray", "Ray Tune"),
    "hyperopt": ("hyperopt", "Hyperopt spaces"),
}


def examine() -> int:
    """Prints the report; returns 0 if the core works, else 1."""
    import jax
    import jax.numpy as jnp

    from jaxhpo.ask_tell import enable_compilation_cache, size_of_stored_programs

    rows = [("python", platform.python_version(), platform.platform())]
    rows += [(name, _version(name), "") for name in _CORE]
    for module, (package, purpose) in _EXTRAS.items():
        found = importlib.util.find_spec(module) is not None
        note = purpose if found else f"{purpose}: pip install {package}"
        rows.append((package, _version(package) if found else "not installed", note))
    print_table("Packages", ("package", "version", "note"), rows)
    devices = ", ".join(str(device) for device in jax.devices())
    result = float(jax.jit(lambda x: (x @ x).sum())(jnp.ones((64, 64))))
    works = result == 64.0**3
    cache = str(enable_compilation_cache() or "")
    count, size = size_of_stored_programs()
    facts = [
        ("backend", jax.default_backend()),
        ("devices", devices),
        ("CPU cores", str(os.cpu_count())),
        ("float64 by default", str(jnp.result_type(float) == jnp.float64)),
        ("compiles and runs", "yes" if works else f"NO: expected {64.0**3}, got {result}"),
        ("compilation cache", cache or "off"),
        ("exported programs in it", f"{count}, {size / 2**20:.1f} MiB"),
    ]
    print_table("JAX", ("what", "value"), facts)
    return 0 if works else 1


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed as a package"
