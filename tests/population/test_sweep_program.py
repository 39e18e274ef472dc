"""What a sweep costs: traces, compilations, memory; and how it is watched, stopped and refused."""

import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import population
from jaxhpo._status import Status
from jaxhpo.population import _layout
from jaxhpo.space._values import StaticValue
from tests.population.sweep_problems import FLOAT, decay, hparams, regression, row


@pytest.fixture
def compilations():
    """Counts the programs that XLA compiles while a test runs."""
    seen = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize(("n", "chunk"), [(3, None), (50, 8), (50, 50)])
def test_one_compilation_and_one_trace_whatever_the_values_and_chunks(key, compilations, n, chunk):
    count = {}
    training, values = regression(count=count), jax.tree.map(np.asarray, hparams(n))
    key.block_until_ready()
    compilations.clear()
    result = population.sweep(training, values, key=key, num_steps=12, num_reports=5, chunk=chunk)
    assert len(compilations) == 1
    assert result.num_compilations == 1
    # `loss` is traced under `step` and, as the validation loss, under `loss`.
    assert count == {"init": 1, "loss": 2}


def test_one_program_a_static_value(key, compilations):
    widths = []

    def init(key, h):
        widths.append(h["width"])
        return jnp.full((h["width"],), h["scale"])

    training = hpo.Training(
        init=init,
        step=lambda key, h, s, t: s * (0.5 if h["kind"] == "half" else 0.25),
        loss=lambda h, s: jnp.sum(s),
    )
    kind = np.asarray([0, 1, 0, 1, 0, 0], np.int32)
    width = np.asarray([0, 0, 1, 1, 0, 1], np.int32)
    values = {
        "width": StaticValue(width, (3, 5)),
        "kind": StaticValue(kind, ("half", "quarter")),
        "scale": np.arange(1, 7).astype(FLOAT),
    }
    compilations.clear()
    result = population.sweep(training, values, key=key, num_steps=2, keep_states=True)
    assert len(compilations) == len(result.plans) == result.num_compilations == 4
    assert sorted(widths) == [3, 3, 5, 5]
    factor = np.where(kind == 0, 0.5, 0.25) ** 2
    expected = np.asarray([3, 5])[width] * np.arange(1, 7) * factor
    np.testing.assert_allclose(result.losses, expected, rtol=1e-6)
    assert result.best_index == int(np.argmin(expected))
    assert result.best_hparams["width"] == StaticValue(width[result.best_index], (3, 5))
    for trials, states in zip(result.state_trials, result.states, strict=True):
        np.testing.assert_allclose(states.sum(1), expected[trials], rtol=1e-6)


def test_closed_over_data_is_an_argument_not_a_constant(key):
    from jaxhpo.population import _compile, _groups

    data = jnp.ones((1000, 100), FLOAT)
    training = hpo.Training(
        init=lambda key, h: jnp.zeros(100, FLOAT),
        step=lambda key, h, s, t: s + h["lr"] * data[t],
        loss=lambda h, s: jnp.mean(data @ s),
    )
    groups, _ = _groups.group_trials("test", {"lr": jnp.ones(2, FLOAT)})
    settings = _compile.Settings(
        training,
        key,
        np.zeros(2, np.uint32),
        (3,),
        tuple(jax.local_devices()),
        2**30,
        False,
        None,
        None,
    )
    traced = _compile.trace_group("test", settings, groups[0])
    assert traced.const_bytes == data.nbytes
    program = _compile.compile_group("test", settings, groups[0], traced)
    assert program.call.memory_analysis().argument_size_in_bytes >= data.nbytes


def test_the_compiled_program_keeps_the_budget(key):
    training = hpo.Training(
        init=lambda key, h: jnp.zeros(4096, FLOAT),
        step=lambda key, h, s, t: s + h["lr"],
        loss=lambda h, s: jnp.mean(s),
    )
    values = {"lr": jnp.linspace(0.1, 1.0, 200, dtype=FLOAT)}
    free = population.sweep(training, values, key=key, num_steps=3, chunk=200)
    budget = free.plan.program_bytes // 4
    tight = population.sweep(
        training, values, key=key, num_steps=3, chunk=200, memory_budget=budget
    )
    assert tight.plan.program_bytes <= budget < free.plan.program_bytes
    # The bytes are of the order of what the states need: no unseen copies.
    state = 4096 * np.dtype(FLOAT).itemsize
    assert free.plan.program_bytes >= 200 * state
    assert tight.plan.chunk < free.plan.chunk
    np.testing.assert_allclose(tight.losses, 3 * values["lr"], rtol=1e-6)
    np.testing.assert_array_equal(tight.losses, free.losses)


def test_the_first_plan_keeps_the_budget_without_a_second_compilation(key, compilations):
    training = hpo.Training(
        init=lambda key, h: jnp.zeros(4096, FLOAT),
        step=lambda key, h, s, t: s + h["lr"],
        loss=lambda h, s: jnp.mean(s),
    )
    values = {"lr": np.linspace(0.1, 1.0, 200).astype(FLOAT)}
    compilations.clear()
    budget = 40 * 4096 * np.dtype(FLOAT).itemsize
    result = population.sweep(training, values, key=key, num_steps=3, memory_budget=budget)
    assert result.plan.program_bytes <= budget
    assert len(compilations) == 1


def test_a_budget_below_one_trial_is_refused_before_training(key):
    with pytest.raises(ValueError, match=r"sweep: `memory_budget` must be at least \d+ bytes"):
        population.sweep(regression(), hparams(4), key=key, num_steps=3, memory_budget=100)


def test_more_devices_give_the_same_result():
    """Four devices in a process of their own give what one gives."""
    script = textwrap.dedent(
        """
        import jax, numpy as np
        from jaxhpo import population
        from tests.population.sweep_problems import regression, hparams
        assert len(jax.local_devices()) == 4
        one, four = (
            population.sweep(
                regression(), hparams(23), key=0, num_steps=9, width=2, devices=devices
            )
            for devices in (jax.local_devices()[:1], None)
        )
        assert four.plan.num_devices == 4
        np.testing.assert_array_equal(one.curves, four.curves)
        assert one.best_index == four.best_index
        np.testing.assert_array_equal(one.best_state.params, four.best_state.params)
        print("equal")
        """
    )
    tests = Path(__file__).parents[2]
    package = Path(population.__file__).parents[2]
    environment = {
        **os.environ,
        "JAX_NUM_CPU_DEVICES": "4",
        "PYTHONPATH": os.pathsep.join([str(tests), str(package)]),
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.strip() == "equal", done.stderr


def test_progress_adds_up(key):
    ticks = []
    values = {"lr": jnp.asarray([0.5, 0.1, 1e30, 0.9, 0.2], FLOAT)}
    result = population.sweep(
        decay(), values, key=key, num_steps=8, num_reports=4, chunk=2, progress=ticks.append
    )
    assert ticks[0].is_compiling
    assert ticks[0].num_done == 0
    last = ticks[-1]
    assert (last.num_done, last.num_trials, last.num_failed) == (5, 5, 1)
    assert last.steps_done == last.num_steps == 40
    assert last.best_loss == pytest.approx(result.best_loss)
    done = [t.num_done for t in ticks]
    assert done == sorted(done)
    trials = np.concatenate([t.new_trials for t in ticks])
    losses = np.concatenate([t.new_losses for t in ticks])
    np.testing.assert_array_equal(np.sort(trials), np.arange(5))
    np.testing.assert_allclose(losses[np.argsort(trials)], result.losses, rtol=1e-6)


def test_an_error_in_progress_ends_the_threads(key):
    def progress(tick):
        if tick.steps_done:
            raise RuntimeError("no more")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="no more"):
        population.sweep(
            decay(), {"lr": jnp.full(64, 0.1)}, key=key, num_steps=8, progress=progress
        )
    assert threading.active_count() <= before + 1


@pytest.mark.parametrize("devices", [1, 2])
def test_ctrl_c_keeps_what_was_reached(key, devices):
    def progress(tick):
        if tick.num_done >= 20:
            raise KeyboardInterrupt

    values = {"lr": jnp.linspace(0.1, 0.9, 5000, dtype=FLOAT)}
    with pytest.raises(population.SweepInterrupted) as caught:
        population.sweep(
            decay(),
            values,
            key=key,
            num_steps=4,
            num_reports=2,
            chunk=10,
            width=2,
            progress=progress,
            devices=jax.local_devices()[:devices],
        )
    part = caught.value.sweep
    done = part.status == Status.COMPLETE
    assert 20 <= done.sum() < 5000
    assert (part.status[~done] != Status.FAILED).all()
    np.testing.assert_allclose(part.losses[done], (1 - values["lr"])[done] ** 8, rtol=1e-5)
    assert np.isnan(part.losses[~done]).all()
    assert part.best_index == int(np.nanargmin(part.losses))


def test_timeout_stops_between_reports(key, monkeypatch):
    clock, steps = time.perf_counter, []
    monkeypatch.setattr(time, "perf_counter", lambda: clock() + 1000.0 * len(steps))

    def slow(x):
        steps.append(x)
        return x

    def step(key, h, s, t):
        shape = jax.ShapeDtypeStruct((), FLOAT)
        return jax.pure_callback(slow, shape, s, vmap_method="sequential")

    training = decay()._replace(step=step)
    result = population.sweep(
        training,
        {"lr": jnp.full(64, 0.5, FLOAT)},
        key=key,
        num_steps=4,
        num_reports=4,
        timeout=100_000.0,  # of the 256,000 that it takes
        chunk=4,
        width=1,
        devices=jax.local_devices()[:1],
    )
    assert 0 < (result.status == Status.COMPLETE).sum() < 64
    assert (result.status == Status.EMPTY).sum() > 0


def test_a_group_that_has_failed_takes_no_steps(key):
    calls = []

    def step(key, h, s, t):
        jax.debug.callback(lambda t: calls.append(int(t)), t)
        return s * h["lr"]

    training = hpo.Training(lambda key, h: jnp.ones((), FLOAT), step, lambda h, s: s)
    population.sweep(
        training, {"lr": jnp.full(2, jnp.nan, FLOAT)}, key=key, num_steps=10, num_reports=5, width=1
    )
    jax.effects_barrier()
    assert sorted(calls) == [0, 0, 1, 1]


def test_plan_says_what_was_chosen(key):
    result = population.sweep(regression(), hparams(40), key=key, num_steps=3, width=4)
    plan = result.plan
    assert plan.num_devices == 2
    assert plan.width == 4
    for word in ("4 trials side by side", "2 cpu devices", "budget of 2.0 GiB"):
        assert word in str(plan)
    assert plan.chunk == plan.width * plan.groups * 2


def test_a_busy_program_gets_no_second_worker():
    plan = _layout.Plan(1, 4, 1, 2, 0, 2**30, "")
    cores = _layout.num_cores()
    assert _layout.workers_for(plan, 0.4 * cores) == 2
    assert _layout.workers_for(plan, 0.9 * cores) == 1


def bad_structure(key, h, state, t):
    return (state, state)


def bad_dtype(key, h, state, t):
    return jnp.zeros((2,), FLOAT)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"training": 3}, TypeError, "sweep: `training` must be a Training"),
        ({"step": 3}, TypeError, "sweep: `training.step` must be callable"),
        ({"step": bad_structure}, TypeError, "must return the structure that `training.init`"),
        ({"step": bad_dtype}, TypeError, r"must keep each leaf as `training.init` returns it"),
        ({"loss": lambda h, s: jnp.ones(2)}, ValueError, r"must return a scalar, got shape \(2,\)"),
        ({"hparams": {}}, ValueError, "`hparams` must be a pytree with at least one leaf"),
        ({"hparams": {"lr": 0.1}}, ValueError, "`hparams\\['lr'\\]` must be an array with a lead"),
        ({"hparams": {"lr": np.zeros(0)}}, ValueError, "array with a leading axis of trials"),
        (
            {"hparams": {"lr": np.zeros(3), "b": np.zeros(2)}},
            ValueError,
            "arrays of the same leading length",
        ),
        ({"hparams": {"lr": np.asarray(["a"])}}, TypeError, "must be a numeric array"),
        ({"num_steps": 0}, ValueError, "`num_steps` must be at least 1, got 0"),
        ({"num_steps": 2.5}, TypeError, "`num_steps` must be an integer"),
        ({"num_reports": 0}, ValueError, "`num_reports` must be at least 1"),
        ({"progress": 3}, TypeError, "`progress` must be True, False or a callable"),
        ({"timeout": -1}, ValueError, "`timeout` must be greater than 0"),
        ({"memory_budget": 0}, ValueError, "`memory_budget` must be at least 1"),
        ({"devices": []}, ValueError, "`devices` must be a non-empty sequence"),
        ({"width": 0}, ValueError, "`width` must be at least 1"),
        ({"key": "seed"}, TypeError, "`key` must be a key"),
    ],
)
def test_bad_input_is_named_before_training(change, error, words, compilations):
    parts = {k: v for k, v in change.items() if k in ("step", "loss")}
    arguments = {"training": decay()._replace(**parts), "hparams": {"lr": np.zeros(3)}}
    arguments |= {"key": 0, "num_steps": 3} | {k: v for k, v in change.items() if k not in parts}
    training, values = arguments.pop("training"), arguments.pop("hparams")
    with pytest.raises(error, match=words):
        population.sweep(training, values, **arguments)


def test_a_row_of_the_best_hparams_decodes(key):
    space = hpo.Space({"lr": hpo.uniform(0.0, 0.5), "width": hpo.static([2, 3])})
    training = hpo.Training(
        init=lambda key, h: jnp.ones(h["width"], FLOAT),
        step=lambda key, h, s, t: s * (1 - h["lr"]),
        loss=lambda h, s: jnp.mean(s),
    )
    values = space.sample(key, 12)
    result = population.sweep(training, values, key=key, num_steps=3)
    decoded = space.decode(result.best_hparams)
    assert decoded["width"] in (2, 3)
    assert decoded["lr"] == pytest.approx(float(row(values["lr"], result.best_index)))


def test_a_leaf_of_no_elements_passes_several_devices():
    """Optimizers keep empty leaves (`optax.contrib.galore`); JAX never splits these over a mesh."""
    training = hpo.Training(
        lambda key, h: {"w": jnp.ones(3, FLOAT), "none": jnp.zeros((0, 2), FLOAT)},
        lambda key, h, s, t: {"w": s["w"] * (1 - h["lr"]), "none": s["none"]},
        lambda h, s: jnp.sum(s["w"]),
    )
    lr = np.asarray([0.1, 0.2, 0.5], FLOAT)
    trials = population.sweep(
        training, {"lr": lr}, key=0, num_steps=4, num_reports=2, keep_states=True
    )
    np.testing.assert_allclose(trials.losses, 3 * (1 - lr) ** 4, rtol=1e-5)
    assert trials.states["none"].shape == (3, 0, 2)
