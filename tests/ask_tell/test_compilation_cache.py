"""The persistent compilation cache: on by default, elsewhere if told, off by a switch."""

import os
import pathlib
import subprocess
import sys
import textwrap

import jax
import pytest

from jaxhpo._tracing import compilation_cache as _cache

SCRIPT = textwrap.dedent("""
    import time
    import jax, jaxhpo as hpo
    jax.jit(lambda x: x + 1)(1.0)  # a compilation before there is a cache
    hits = []
    jax.monitoring.register_event_listener(lambda name, **_: hits.append(name))
    study = hpo.Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", storage=None)
    study.optimize(lambda p: p["x"], num_trials=2)
    print(sum("cache_hits" in name for name in hits))
    print(jax.config.jax_compilation_cache_dir)
""")


def run(**variables):
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("JAXHPO", "JAX_", "XLA_"))
    }
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=180,
        env={**environment, "JAX_PLATFORMS": "cpu", **variables},
    )
    assert result.returncode == 0, result.stderr
    hits, directory = result.stdout.split()
    return int(hits), directory


def test_the_second_process_starts_warm(tmp_path):
    cold, directory = run(JAXHPO_CACHE_DIR=str(tmp_path))
    assert cold == 0
    assert pathlib.Path(directory).parent == tmp_path
    assert list(pathlib.Path(directory).iterdir())
    warm, _ = run(JAXHPO_CACHE_DIR=str(tmp_path))
    assert warm >= 1


@pytest.fixture
def unset(monkeypatch):
    """JAX without a cache, and put back as it was."""
    before = {
        name: getattr(jax.config, name)
        for name in ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    }
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.delenv(_cache.SWITCH_VARIABLE, raising=False)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.parametrize("value", ["0", "off", "False", " no "])
def test_the_switch_turns_it_off(unset, monkeypatch, value):
    monkeypatch.setenv(_cache.SWITCH_VARIABLE, value)
    assert _cache.enable_compilation_cache() is None
    assert jax.config.jax_compilation_cache_dir is None


def test_a_cache_that_the_user_has_chosen_is_left_alone(unset, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    assert _cache.enable_compilation_cache() == tmp_path
    assert jax.config.jax_compilation_cache_dir == str(tmp_path)


def test_the_system_s_cache_folder_is_the_default(unset, monkeypatch, tmp_path):
    monkeypatch.delenv(_cache.DIRECTORY_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    directory = _cache.enable_compilation_cache()
    assert directory.parent == tmp_path / "jaxhpo"
    assert jax.__version__ in directory.name
    assert directory.is_dir()


def test_a_folder_that_cannot_be_made_is_no_error(unset, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(_cache.DIRECTORY_VARIABLE, str(tmp_path / "file"))
    assert _cache.enable_compilation_cache() is None
    assert jax.config.jax_compilation_cache_dir is None
