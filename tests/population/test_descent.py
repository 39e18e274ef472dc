"""Hyperparameters that follow their hypergradients: the slopes are right, and all follow them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import population
from tests.population.sweep_problems import FLOAT

STEPS, LEVELS = 12, [2, 5, 9, 12]
SPACE = hpo.Space(
    {
        "lr": hpo.log_uniform(1e-3, 0.5),
        "count": hpo.integer(1, 9),
        "pull": hpo.uniform(-1.0, 1.0),
        "kind": hpo.static([1.0, 2.0]),
    }
)


def noisy():
    """A walk with a whole number in it, a static value, and a state that is more than real."""

    def step(key, h, s, t):
        noise = 0.1 * jax.random.normal(jax.random.fold_in(key, t), (3,), FLOAT)
        slope = s["w"] - h["pull"] * s["w"] ** 2 / h["kind"] + noise / h["count"].astype(FLOAT)
        return {"w": s["w"] - h["lr"] * slope, "t": t}

    return hpo.Training(
        init=lambda key, h: {
            "w": h["lr"] + jax.random.normal(key, (3,), FLOAT),
            "t": jnp.int32(0),
        },
        step=step,
        loss=lambda h, s: jnp.sum((s["w"] - h["pull"]) ** 2),
    )


def told_to(rule, seen):
    """The rule, which writes down what it is told."""

    def tell(key, state, job, outcome):
        jax.debug.callback(lambda *a: seen.append([np.asarray(x) for x in a]), *job, *outcome[::3])
        return rule.tell(key, state, job, outcome)

    return rule._replace(tell=jax.tree_util.Partial(tell))


def make(n, space=SPACE, **settings):
    settings = {"levels": LEVELS, "explore": "hypergradient", **settings}
    return hpo.schedulers.pbt(n, STEPS, space=space, **settings)


def run(n=12, training=None, space=SPACE, **options):
    given = space.sample(jax.random.key(5), n)
    options = {"scheduler": make(n, space), "width": 2, "num_reports": 6, **options}
    training = noisy() if training is None else training
    return population.sweep(training, given, key=3, num_steps=STEPS, progress=False, **options)


@pytest.fixture(scope="module")
def swept():
    return run(keep_states=True)


@pytest.fixture(scope="module")
def told():
    """A sweep, and what its rule was told after each interval."""
    seen = []
    swept = run(scheduler=told_to(make(12), seen))
    jax.effects_barrier()
    # The forecast before the sweep has told zeros.
    return swept, [rows for rows in seen if np.any(rows[5])]


# Compiled, a step of the oracle takes one call and not one for each of its operations.
STEP = jax.jit(noisy().step)


def slope_of(swept, trial, piece, unit):
    """The oracle: the slope of the loss at a level, from the lineage's state at the one before."""
    training, lineage = noisy(), swept.lineage

    def hparams_of(who, at):
        h = jax.tree.map(lambda leaf: leaf[who, at], lineage.hparams)
        return {**h, "kind": [1.0, 2.0][int(h["kind"].index)]}

    def steps(who, state, h, begin, end):
        key = hpo.training.internal.trial_keys(swept.trial_key(int(who)))
        state = training.init(key[0], h) if state is None else state
        for t in range(begin, end):
            state = STEP(key[1], h, state, jnp.int32(t))
        return state

    who = trial
    owners = []
    for at in range(piece, -1, -1):
        owners.append(int(who))
        who = lineage.parent[who, at]
    owners = owners[::-1]
    state, begin = None, 0
    for at, owner in enumerate(owners[:-1]):
        state = steps(owner, state, hparams_of(owner, at), begin, LEVELS[at])
        begin = LEVELS[at]
    fixed = hparams_of(trial, piece)
    if state is None:
        state = training.init(hpo.training.internal.trial_keys(swept.trial_key(trial))[0], fixed)

    def loss(unit):
        moved = jax.tree.map(lambda a: a[0], SPACE.from_unit(unit[None]))
        h = {**fixed, "lr": moved["lr"], "pull": moved["pull"]}
        return training.loss(h, steps(trial, state, h, begin, LEVELS[piece]))

    return jax.grad(loss)(unit)


def test_the_slopes_are_those_of_the_last_interval(told):
    """Reverse mode, in plain steps, says the same as forward mode inside the sweep's program."""
    swept, rounds = told
    rounds = [rows for rows in rounds if np.isin(rows[3], LEVELS).all()]
    assert len(rounds) == len(LEVELS) - 1
    real = np.asarray([SPACE.names.index(name) for name in ("lr", "pull")])
    edge = 4 * float(jnp.finfo(FLOAT).eps)
    for piece, (trial, unit, _, _, _, gradient) in enumerate(rounds):
        others = np.setdiff1d(np.arange(unit.shape[1]), real)
        assert not gradient[:, others].any()
        for row in (0, 5, 11):
            # At a bound, the slope just inside.
            inside = jnp.clip(jnp.asarray(unit[row], FLOAT), edge, 1 - edge)
            expected = slope_of(swept, int(trial[row]), piece, inside)
            np.testing.assert_allclose(
                gradient[row, real], expected[real], rtol=2e-3 if FLOAT == "float32" else 1e-9
            )


def test_every_trial_steps_down_its_slope(told):
    rounds = told[1]
    units = [dict(zip(rows[0].tolist(), rows[1], strict=True)) for rows in rounds]
    slopes = [dict(zip(rows[0].tolist(), rows[5], strict=True)) for rows in rounds]
    real, size = [SPACE.names.index(name) for name in ("lr", "pull")], 0.7 / len(LEVELS)
    for piece, (trial, unit, parent, *_) in enumerate(rounds[1:], 1):
        for row, (who, source) in enumerate(zip(trial, parent, strict=True)):
            before = units[piece - 1][source][real]
            expected = np.clip(before - size * np.sign(slopes[piece - 1][source][real]), 0, 1)
            np.testing.assert_allclose(unit[row][real], expected, atol=1e-6)
            if who == source:
                others = np.setdiff1d(np.arange(unit.shape[1]), real)
                np.testing.assert_array_equal(unit[row][others], units[piece - 1][who][others])


LAYOUTS = {
    "several chunks": {"chunk": 4},
    "states on the devices": {"chunk": 12, "keep_states": False},
    "two devices": {"num_devices": 2},
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_layout_changes_no_bit(swept, layout):
    options = {"keep_states": True, **layout}
    devices = jax.local_devices()[: options.pop("num_devices", 1)]
    other = run(devices=devices, **options)
    np.testing.assert_array_equal(other.curves, swept.curves)
    np.testing.assert_array_equal(other.lineage.parent, swept.lineage.parent)
    jax.tree.map(np.testing.assert_array_equal, other.lineage.hparams, swept.lineage.hparams)


def test_a_replay_is_the_surviving_lane_bit_for_bit(swept):
    again = population.replay(noisy(), swept)
    assert again.losses[0] == swept.best_loss
    jax.tree.map(np.testing.assert_array_equal, again.best_state, swept.best_state)


def test_it_goes_on_from_a_checkpoint(swept, tmp_path):
    class Stopped(Exception):
        pass

    def stop(event):
        if event.steps_done > 12 * LEVELS[-2]:
            raise Stopped

    given = SPACE.sample(jax.random.key(5), 12)
    options = {"key": 3, "num_steps": STEPS, "num_reports": 6, "width": 2, "keep_states": True}
    options |= {"scheduler": make(12), "checkpoint_dir": tmp_path}
    with pytest.raises(Stopped):
        population.sweep(noisy(), given, progress=stop, **options)
    resumed = population.sweep(noisy(), given, progress=False, **options)
    np.testing.assert_array_equal(resumed.curves, swept.curves)
    jax.tree.map(np.testing.assert_array_equal, resumed.lineage.hparams, swept.lineage.hparams)


def test_a_failed_trial_and_a_slope_that_is_no_number():
    """The square root's slope at 0 is infinite: such a trial stays where it is, and goes on."""
    space = hpo.Space({"lr": hpo.uniform(0.0, 0.5)})
    training = hpo.Training(
        init=lambda key, h: jnp.zeros((), FLOAT),
        step=lambda key, h, s, t: s + jnp.sqrt(0.0 * h["lr"]),
        loss=lambda h, s: s + h["lr"] * 0.0 + 1.0,
    )
    given = {"lr": jnp.full(8, 0.2, FLOAT).at[3].set(jnp.nan)}
    result = population.sweep(
        training, given, key=0, num_steps=STEPS, scheduler=make(8, space), progress=False
    )
    assert np.isfinite(result.losses).all()
    np.testing.assert_array_equal(result.lineage.hparams["lr"][:, -1], np.full(8, 0.2, FLOAT))


def test_what_cannot_be_differentiated_forward_is_said():
    @jax.custom_vjp
    def f(x):
        return x

    f.defvjp(lambda x: (x, None), lambda _, ct: (ct,))
    space = hpo.Space({"lr": hpo.uniform(0.1, 0.5)})
    training = hpo.Training(
        init=lambda key, h: jnp.ones((), FLOAT),
        step=lambda key, h, s, t: s * (1 - f(h["lr"])),
        loss=lambda h, s: s**2,
    )
    with pytest.raises(TypeError) as caught:
        run(training=training, space=space, scheduler=make(12, space))
    assert "`training` was differentiated forward, which `scheduler` needs" in str(
        caught.value.__notes__
    )


def test_arguments():
    with pytest.raises(ValueError, match="pbt: `explore` must be one of"):
        make(8, explore="gradient")
    whole = hpo.Space({"units": hpo.integer(1, 5), "flag": hpo.choice([False, True])})
    with pytest.raises(ValueError, match="pbt: `space` must be one with a continuous dimension"):
        make(8, whole)
    scheduler = make(8)
    state, job = scheduler.ask(0, scheduler.init(0))
    with pytest.raises(TypeError, match="pbt.tell: `outcome.gradient` must be the gradient of"):
        scheduler.tell(0, state, job, hpo.Outcome(jnp.zeros(8)))
    with pytest.raises(ValueError, match="pbt.tell: `outcome.gradient` must be .* shape"):
        scheduler.tell(0, state, job, hpo.Outcome(jnp.zeros(8), gradient=jnp.zeros(8)))


@pytest.mark.slow
def test_it_is_far_better_than_any_constant_where_a_schedule_helps():
    """The noisy quadratic: medians of 5 seeds; `benchmarks/pbt.py` has all."""
    problem, scores = hpo.problems.noisy_quadratic(), []
    for seed in range(5):
        found = population.sweep(
            problem.training,
            problem.space.sample(jax.random.key(seed), 20),
            key=seed,
            num_steps=800,
            scheduler=hpo.schedulers.pbt(20, 800, space=problem.space, explore="hypergradient"),
            progress=False,
        )
        rates = np.repeat(found.lineage.schedule(found.best_index)["lr"], 20)
        scores.append(problem.expected_loss(rates) / problem.best_constant()[1])
    assert np.median(scores) < 0.6
