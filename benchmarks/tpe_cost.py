"""CPU time of one proposal and its tell, `samplers.tpe` beside Optuna's TPE, by number of trials.

python benchmarks/tpe_cost.py [--dims 20] [--trials 1000 10000] [--skip-optuna-above 1000]

The history is random; then proposals are asked, evaluated and told one by one, as in a study on the
host. Time is that of the process (all its threads) and of the clock, the median of 20 rounds.
"""

import argparse
import functools
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import optuna

import jaxhpo as hpo

ROUNDS = 20


def sphere(unit):
    return float(np.sum((unit - 0.3) ** 2))


def measure(step):
    """Median milliseconds of the clock and of the processor."""
    clock, cpu = [], []
    for number in range(ROUNDS + 3):
        start = time.perf_counter(), time.process_time()
        step(number)
        if number >= 3:
            clock.append(1e3 * (time.perf_counter() - start[0]))
            cpu.append(1e3 * (time.process_time() - start[1]))
    return statistics.median(clock), statistics.median(cpu)


def ours(num_dims, num_trials, history):
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0, shape=(num_dims,))})
    sampler = hpo.samplers.tpe(space, capacity=num_trials + ROUNDS + 8)
    ask = jax.jit(lambda sampler, key, state: sampler.ask(key, state))
    tell = jax.jit(
        lambda sampler, key, state, unit, value: sampler.tell(key, state, unit, hpo.Outcome(value))[
            0
        ]
    )
    key = jax.random.key(0)
    unit = jnp.asarray(history, jnp.result_type(float))
    values = jnp.asarray([sphere(row) for row in history], unit.dtype)
    state = tell(sampler, key, jax.jit(sampler.init)(key), unit, values)

    def step(number):
        nonlocal state
        state, unit = ask(sampler, jax.random.fold_in(key, number), state)
        value = jnp.asarray([sphere(np.asarray(unit[0]))], unit.dtype)
        state = jax.block_until_ready(tell(sampler, key, state, unit, value))

    return measure(step)


def optunas(num_dims, num_trials, history):
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    distribution = optuna.distributions.FloatDistribution(0.0, 1.0)
    names = [f"x{i}" for i in range(num_dims)]
    study.add_trials(
        optuna.create_trial(
            params=dict(zip(names, map(float, row), strict=True)),
            distributions=dict.fromkeys(names, distribution),
            value=sphere(row),
        )
        for row in history[:num_trials]
    )

    def step(number):
        trial = study.ask()
        row = np.asarray([trial.suggest_float(name, 0.0, 1.0) for name in names])
        study.tell(trial, sphere(row))

    return measure(step)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dims", type=int, default=20)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--skip-optuna-above", type=int, default=10000)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print(f"{arguments.dims} dimensions; milliseconds a trial, clock / processor")
    for num_trials in arguments.trials:
        history = np.random.default_rng(0).random((num_trials, arguments.dims))
        rows = {"jaxhpo": functools.partial(ours, arguments.dims, num_trials, history)}
        if num_trials <= arguments.skip_optuna_above:
            rows["optuna"] = functools.partial(optunas, arguments.dims, num_trials, history)
        for name, run in rows.items():
            clock, cpu = run()
            print(f"{num_trials:7d} trials  {name:7s} {clock:9.2f} / {cpu:9.2f}", flush=True)


if __name__ == "__main__":
    main()
