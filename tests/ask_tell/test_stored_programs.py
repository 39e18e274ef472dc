"""Programs on disk: read in place of tracing, and never in place of another program."""

import json
import logging
import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo._tracing import compilation_cache as _compilation_cache
from jaxhpo._tracing import owned
from jaxhpo.ask_tell import _stored_programs
from jaxhpo.ask_tell._stable_text import NoStableTextError, structure_text
from jaxhpo.ask_tell._stored_programs import stored
from jaxhpo.samplers import tpe

STUDY = textwrap.dedent("""
    import collections, json
    import jax, jaxhpo as hpo
    from jaxhpo import _base
    events, roles = collections.Counter(), collections.Counter()
    jax.monitoring.register_event_listener(lambda name, **_: events.update([name]))
    call = _base._Keyed.__call__
    def counted(self, *args, **named):
        roles.update([self.role])
        return call(self, *args, **named)
    _base._Keyed.__call__ = counted
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0), "c": hpo.choice(["a", "b"])})
    study = hpo.Study(space, "tpe", storage=None, seed=3)
    study.optimize(lambda p: p["x"] + (p["c"] == "a"), num_trials=12, progress=False)
    print(json.dumps({
        "points": [trial.params for trial in study.trials],
        "missed": events["/jax/compilation_cache/cache_misses"],
        "traced": roles["ask"] + roles["tell"],
    }))
""")


def start(folder):
    environment = {name: value for name, value in os.environ.items() if name != "JAXHPO_CACHE"}
    environment |= {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", STUDY],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(child):
    text, errors = child.communicate(timeout=240)
    assert child.returncode == 0, errors
    return json.loads(text)


def test_the_second_process_traces_no_sampler_and_compiles_nothing(tmp_path):
    first = finish(start(tmp_path))
    assert first["traced"] > 0
    assert first["missed"] > 0
    second = finish(start(tmp_path))
    assert second["points"] == first["points"]
    assert second["traced"] == 0
    assert second["missed"] == 0


def test_two_processes_at_once_leave_whole_files(tmp_path):
    one, other = (finish(child) for child in [start(tmp_path), start(tmp_path)])
    assert one["points"] == other["points"]
    kept = list((tmp_path / "exported").iterdir())
    assert kept
    assert not any(path.suffix for path in kept)  # none is half written
    third = finish(start(tmp_path))
    assert third["points"] == one["points"]
    assert third["traced"] == 0


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """A folder of compiled programs, and the one of stored programs in it."""
    before = jax.config.jax_compilation_cache_dir
    monkeypatch.delenv(_compilation_cache.SWITCH_VARIABLE, raising=False)
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path / "exported"
    jax.config.update("jax_compilation_cache_dir", before)


def double(traced):
    """A program that notes when it is traced."""

    def twice(x, factor):
        traced.append(x)
        return {"y": x.dtype.type(factor) * x}

    return stored(twice, lambda x, factor: {"y": x}, static_argnums=(1,))


def run(fun, *args):
    """As in a new process: nothing is known of the function."""
    traced = []
    result = jax.jit(fun(traced), static_argnums=(1,))(*args)
    return result, len(traced)


def files(folder):
    return sorted(folder.iterdir()) if folder.is_dir() else []


X = np.arange(3, dtype=np.float32)


def test_what_is_stored_is_not_traced_again(cache):
    first, traced = run(double, X, 2)
    assert traced == 1
    second, traced = run(double, X, 2)
    assert traced == 0
    np.testing.assert_array_equal(first["y"], 2 * X)
    np.testing.assert_array_equal(second["y"], 2 * X)
    assert len(files(cache)) == 1


def test_typed_keys_go_in_and_come_out(cache):
    key = jax.random.key(3)
    for _ in range(2):
        found = jax.jit(stored(lambda key: jax.random.split(key), lambda key: key))(key)
        np.testing.assert_array_equal(
            jax.random.key_data(found), jax.random.key_data(jax.random.split(key))
        )
    assert len(files(cache)) == 1


@pytest.mark.parametrize(
    "kind", ["cut short", "one byte", "empty", "another program's", "a folder"]
)
def test_a_damaged_or_foreign_file_is_ignored(cache, kind):
    run(double, X, 3)
    (other,) = files(cache)
    run(double, X, 2)
    (path,) = set(files(cache)) - {other}
    whole = path.read_bytes()
    damaged = {
        "cut short": whole[:-9],
        "one byte": whole[:100] + bytes([whole[100] ^ 1]) + whole[101:],
        "empty": b"",
        "another program's": other.read_bytes(),
        "a folder": None,
    }[kind]
    path.unlink()
    if damaged is None:
        path.mkdir()
    else:
        path.write_bytes(damaged)
    found, traced = run(double, X, 2)
    assert traced == 1
    np.testing.assert_array_equal(found["y"], 2 * X)
    if damaged is not None:
        assert run(double, X, 2)[1] == 0  # it has been replaced


@pytest.mark.parametrize(
    "change",
    [
        lambda: run(double, X, 3),
        lambda: run(double, X[:2], 2),
        lambda: run(double, X.astype(np.int32), 2),
        lambda: run(double, X, 2.0),
        lambda: run(double, X, True),
    ],
)
def test_other_arguments_are_another_file(cache, change):
    run(double, X, 2)
    assert change()[1] == 1
    assert len(files(cache)) == 2


@pytest.mark.parametrize(
    "setting",
    [
        lambda: jax.enable_x64(not jax.config.jax_enable_x64),
        lambda: jax.default_matmul_precision("float32"),
        lambda: jax.numpy_rank_promotion("allow"),
    ],
)
def test_another_setting_of_jax_is_another_file(cache, setting):
    run(double, X, 2)
    with setting():
        assert run(double, X, 2)[1] == 1
    assert len(files(cache)) == 2


def test_another_source_is_another_file(cache, monkeypatch):
    run(double, X, 2)
    monkeypatch.setattr(_stored_programs, "source_digest", lambda: "another")
    assert run(double, X, 2)[1] == 1
    assert len(files(cache)) == 2


def test_source_that_changed_under_a_process_keeps_nothing(cache, monkeypatch):
    monkeypatch.setattr(_stored_programs, "_IMPORTED", 0.0)
    monkeypatch.setattr(
        _stored_programs, "source_digest", _stored_programs.source_digest.__wrapped__
    )
    found, _ = run(double, X, 2)
    np.testing.assert_array_equal(found["y"], 2 * X)
    assert files(cache) == []


def test_a_result_of_another_structure_is_traced_as_ever(cache):
    found = jax.jit(stored(lambda x: (x, x), lambda x: x))(X)
    np.testing.assert_array_equal(found[1], X)
    assert files(cache) == []


def test_an_error_of_the_function_is_the_users(cache):
    def refuse(x):
        raise ValueError("not this one")

    with pytest.raises(ValueError, match="not this one"):
        jax.jit(stored(refuse, lambda x: x))(X)


def test_a_program_that_calls_the_host_is_not_kept(cache):
    def call(x):
        return jax.pure_callback(
            lambda v: np.asarray(v) + 1, jax.ShapeDtypeStruct((3,), x.dtype), x
        )

    np.testing.assert_array_equal(jax.jit(stored(call, lambda x: x))(X), X + 1)
    assert files(cache) == []


def test_lapack_is_ready_when_it_is_called_from_disk(cache):
    matrix = np.eye(3, dtype=np.float32) * 4
    for _ in range(2):
        program = stored(lambda x: jnp.linalg.cholesky(x), lambda x: x)
        np.testing.assert_allclose(jax.jit(program)(matrix), np.eye(3) * 2)
    (path,) = files(cache)
    assert b"lapack" in path.read_bytes()


def test_a_folder_that_cannot_be_written_is_told_once(cache, caplog):
    _stored_programs._say_once.cache_clear()
    cache.write_text("in the way")
    with caplog.at_level(logging.INFO, logger="jaxhpo"):
        for factor in (2, 3):
            found, _ = run(double, X, factor)
            np.testing.assert_array_equal(found["y"], factor * X)
    assert sum("programs are not kept" in line for line in caplog.messages) == 1


def test_the_oldest_files_go_first(cache, monkeypatch):
    run(double, X, 2)
    (first,) = files(cache)
    os.utime(first, (1, 1))
    run(double, X, 3)
    (second,) = set(files(cache)) - {first}
    monkeypatch.setattr(_stored_programs, "MAX_BYTES", 2 * first.stat().st_size + 100)
    run(double, X, 5)
    assert first not in files(cache)
    assert second in files(cache)
    count, size = _stored_programs.size()
    assert count == 2
    assert size == sum(path.stat().st_size for path in files(cache))


@pytest.mark.parametrize("how", ["switch", "no folder", "disabled", "address"])
def test_it_is_off_where_the_compilation_cache_is(cache, monkeypatch, how):
    if how == "switch":
        monkeypatch.setenv(_compilation_cache.SWITCH_VARIABLE, "0")
    elif how == "disabled":
        jax.config.update("jax_enable_compilation_cache", False)
    else:
        chosen = None if how == "no folder" else "gs://bucket/folder"
        jax.config.update("jax_compilation_cache_dir", chosen)
    try:
        assert _stored_programs.folder() is None
        assert _stored_programs.size() == (0, 0)
        if how != "address":
            assert run(double, X, 2)[1] == 1
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    assert files(cache) == []


def test_a_users_function_never_reaches_the_disk(cache):
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0)}, constraints=[lambda p: p["x"] - 0.9])
    study = hpo.Study(space, "random", storage=None, seed=0)
    study.optimize(lambda p: p["x"], num_trials=2, progress=False)
    assert files(cache) == []


class Ours:
    def __call__(self, x):
        return x


def top_level(x):
    return x


@pytest.mark.parametrize("function", [lambda x: x, top_level, Ours(), Ours().__call__])
def test_a_users_function_has_no_text(function):
    with pytest.raises(NoStableTextError):
        structure_text(jax.tree.structure(owned.as_pytree(function)))


def test_spaces_and_settings_have_texts_of_their_own():
    spaces = [
        hpo.Space({"x": hpo.choice(options)})
        for options in ([1, 2], [1.0, 2], [True, 2], ["1", 2], [1, 2, 3])
    ]
    samplers = [tpe(space) for space in spaces] + [tpe(spaces[0], batch_size=2)]
    texts = [structure_text(jax.tree.structure(sampler)) for sampler in samplers]
    assert len(set(texts)) == len(texts)
    again = tpe(hpo.Space({"x": hpo.choice([1, 2])}))
    assert structure_text(jax.tree.structure(again)) == texts[0]
    assert not any(" at 0x" in text for text in texts)
