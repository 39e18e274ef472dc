"""The winner of a sweep can be had again: by its key, by its state, by training it once more."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import population
from jaxhpo.study import Study

SPACE = {"lr": hpo.log_uniform(1e-3, 0.5), "width": hpo.static([2, 3])}
X = np.linspace(-1.0, 1.0, 24)
NUM_STEPS = 12


def net(params, x):
    return jnp.tanh(jnp.outer(x, params["a"])) @ params["b"]


def make_training(target):
    def init(key, h):
        keys = jax.random.split(key)
        return {
            "a": jax.random.normal(keys[0], (h["width"],)),
            "b": jax.random.normal(keys[1], (h["width"],)),
        }

    def step(key, h, state, t):
        rows = jax.random.randint(jax.random.fold_in(key, t), (8,), 0, len(X))
        x = jnp.asarray(X)[rows]
        grads = jax.grad(lambda p: jnp.mean((net(p, x) - target * x) ** 2))(state)
        return jax.tree.map(lambda p, g: p - h["lr"] * g, state, grads)

    return hpo.Training(
        init, step, lambda h, state: jnp.mean((net(state, jnp.asarray(X)) - target * X) ** 2)
    )


TRAINING = make_training(2.0)


def swept(storage=None, num_trials=12, **options):
    study = Study(SPACE, "random", storage=storage, name="s", seed=3)
    study.sweep(TRAINING, num_trials=num_trials, num_steps=NUM_STEPS, progress=False, **options)
    return study


def assert_equal(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


def test_the_key_of_a_trial_repeats_it_in_any_way_of_training():
    study = swept()
    loss = hpo.training.objective(TRAINING, NUM_STEPS)
    for trial in study.trials:
        assert float(loss(study.trial_key(trial.number), trial.params)) == pytest.approx(
            trial.value, rel=1e-5
        )
    best = study.best
    estimator = hpo.hypergrad.unrolled(
        hpo.Training(
            lambda key, h: TRAINING.init(key, {**h, "width": best.params["width"]}),
            lambda key, h, s, t: TRAINING.step(key, h, s, t),
            TRAINING.loss,
        ),
        num_steps=NUM_STEPS,
    )
    found = estimator(study.trial_key(best.number), {"lr": jnp.asarray(best.params["lr"])})
    assert float(found.value) == pytest.approx(best.value, rel=1e-5)


def test_keys_of_many_trials_train_them_in_one_sweep_bit_for_bit():
    space = hpo.Space({"lr": SPACE["lr"]})
    training = hpo.Training(
        lambda key, h: TRAINING.init(key, {"width": 3}), TRAINING.step, TRAINING.loss
    )
    values = space.sample(jax.random.key(1), 9)
    settings = {"num_steps": NUM_STEPS, "progress": False, "width": 4}
    whole = population.sweep(training, values, key=5, first_trial=3, **settings)
    rows = np.asarray([6, 0, 4])
    some = {"lr": values["lr"][rows]}
    by_key = population.sweep(training, some, key=whole.trial_key(rows), **settings)
    by_number = population.sweep(training, some, key=5, first_trial=rows + 3, **settings)
    np.testing.assert_array_equal(by_key.losses, whole.losses[rows])
    np.testing.assert_array_equal(by_number.losses, whole.losses[rows])
    assert whole.trial_key(6) == jax.random.fold_in(jax.random.key(5), 9)
    assert by_key.trial_key(0) == whole.trial_key(6)
    kept = population.sweep(training, values, key=5, first_trial=3, keep_states=True, **settings)
    best = jax.tree.map(lambda leaf: leaf[kept.best_index], kept.states)
    assert_equal(best, kept.best_state)
    with pytest.raises(ValueError, match="`key` must be one key, or 3, one per trial"):
        population.sweep(training, some, key=jax.random.split(jax.random.key(0), 2), **settings)
    with pytest.raises(ValueError, match="`share_data_order` must be False"):
        population.sweep(
            training, some, key=whole.trial_key(rows), share_data_order=True, **settings
        )
    for numbers in ([1, 2], [1.5, 2.0, 3.0], [-1, 0, 1], [0, 1, 2**32]):
        with pytest.raises(ValueError, match="`first_trial` must be"):
            population.sweep(training, some, key=5, first_trial=numbers, **settings)


@pytest.mark.parametrize("share_data_order", [False, True])
def test_the_best_state_is_kept_and_trained_again_to_the_last_bit(url, share_data_order, caplog):
    study = swept(url, share_data_order=share_data_order)
    number, value = study.best.number, study.best_value
    hparams = {"width": study.best_params["width"]}
    assert float(TRAINING.loss(hparams, study.best_state)) == pytest.approx(value, rel=1e-6)
    assert_equal(study.retrain(TRAINING), study.best_state)

    opened = Study(SPACE, "random", storage=url, name="s")
    assert opened.trial_key(number) == study.trial_key(number)
    with pytest.raises(
        ValueError, match=r"`study.retrain\(training\)` trains the best trial again"
    ):
        _ = opened.best_state
    assert_equal(opened.retrain(TRAINING), study.best_state)
    assert "is another one" not in caplog.text
    opened.retrain(make_training(-1.0))
    assert f"trial {number} has the value {value:.6g}, but retraining gave" in caplog.text


def test_the_best_state_is_that_of_the_best_trial_of_all_processes(url):
    study, other = swept(url, 2), swept(url, 20)
    assert study.best.number >= 2  # seed 3: the other object has found it
    assert_equal(study.best_state, other.best_state)


def test_what_cannot_be_trained_again_is_named():
    study = Study(SPACE, "random", storage=None)
    study.optimize(lambda params: params["lr"], num_trials=1, progress=False)
    with pytest.raises(
        ValueError, match="`number` must be that of a trial which `sweep` has trained"
    ):
        study.retrain(TRAINING)
    with pytest.raises(ValueError, match="`number` must be at least 0"):
        study.retrain(TRAINING, -1)
    for wrong in (-1, 0.5, "a", [[1]]):
        with pytest.raises(ValueError, match="Study.trial_key: `number` must be"):
            study.trial_key(wrong)
