"""Halving and Hyperband against the full sweep: an MLP over scikit-learn's digits.

    python benchmarks/halving.py [--trials 4096] [--steps 405] [--rounds 1] [--only halving]

All contenders train the same trials (six hyperparameters) with the same keys, each in a process of
its own, in interleaved rounds. `run` and `CPU` are without tracing and compiling, `all` is with
them. `loss lost` is how much worse the best trained trial is than that of the full sweep, in
validation loss. `rule` is what deciding alone takes, apart and after compiling, for as many trials.
"""

import argparse
import functools
import json
import os
import subprocess
import sys
import time

HIDDEN, BATCH = 32, 64
CONTENDERS = (
    "full sweep",
    "full sweep, width of halving",
    "halving",
    "halving, eta 3",
    "hyperband",
    "asha, 512 jobs at once",
)


def digits():
    import numpy as np
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = (x[order] / 16).astype(np.float32), y[order].astype(np.int32)
    return (x[:1347], y[:1347]), (x[1347:], y[1347:])


def training():
    """A layer of 32 units, by SGD with momentum, weight decay, label smoothing and a gain."""
    import jax
    import jax.numpy as jnp
    import optax

    from jaxhpo.training import from_optax

    train, validation = digits()

    def init(key, hparams):
        one, two = jax.random.split(key)
        first = jax.random.normal(one, (64, HIDDEN)) * hparams["init_scale"] / 8
        second = jax.random.normal(two, (HIDDEN, 10)) * hparams["init_scale"] / HIDDEN**0.5
        return (first, jnp.zeros(HIDDEN)), (second, jnp.zeros(10))

    def logits(params, x):
        (w1, b1), (w2, b2) = params
        return jnp.maximum(x @ w1 + b1, 0) @ w2 + b2

    def loss(hparams, params, batch):
        x, y = batch
        smooth = optax.smooth_labels(jax.nn.one_hot(y, 10), hparams["smoothing"])
        return optax.softmax_cross_entropy(hparams["gain"] * logits(params, x), smooth).mean()

    def held_out(hparams, params, batch):
        x, y = batch
        scaled = hparams["gain"] * logits(params, x)
        return optax.softmax_cross_entropy_with_integer_labels(scaled, y).mean()

    def optimizer(hparams):
        return optax.chain(
            optax.add_decayed_weights(hparams["decay"]),
            optax.sgd(hparams["lr"], hparams["momentum"]),
        )

    return from_optax(
        init,
        loss,
        optimizer,
        train=train,
        validation=validation,
        batch_size=BATCH,
        validation_loss=held_out,
    )


def space():
    import jaxhpo as hpo

    return hpo.Space(
        {
            "lr": hpo.log_uniform(1e-3, 3.0),
            "momentum": hpo.uniform(0.0, 0.99),
            "decay": hpo.log_uniform(1e-6, 1e-1),
            "init_scale": hpo.log_uniform(1e-2, 10.0),
            "smoothing": hpo.uniform(0.0, 0.3),
            "gain": hpo.log_uniform(0.1, 10.0),
        }
    )


def hyperparameters(n, seed):
    import jax

    return space().sample(jax.random.key(1000 + seed), n)


def scheduler_of(name, n, steps):
    from jaxhpo import schedulers

    if name.startswith("full"):
        return None
    if name.startswith("asha"):
        return schedulers.asha(n, steps, batch_size=512)
    eta = {"eta": 3} if name.endswith("eta 3") else {}
    return schedulers.get(name.split(",")[0], n, steps, **eta)


def child(name, n, steps, seed):
    import numpy as np

    from jaxhpo import population

    scheduler = scheduler_of(name, n, steps)
    width = None
    if name == "full sweep, width of halving":
        halving = scheduler_of("halving", n, 2)
        small = {"key": 0, "num_steps": 2, "progress": False, "scheduler": halving}
        width = population.sweep(training(), hyperparameters(n, seed), **small).plan.width

    def stop(progress):
        if progress.steps_done:
            raise KeyboardInterrupt

    run = functools.partial(
        population.sweep,
        training(),
        hyperparameters(n, seed),
        key=seed,
        num_steps=steps,
        num_reports=1,
        scheduler=scheduler,
        width=width,
        programs=population.Programs(),
    )
    # One call of the program is let pass, so that what is measured next compiles nothing.
    try:
        run(progress=stop)
        raise SystemExit("the sweep was not stopped")
    except population.SweepInterrupted as error:
        first = error.sweep
    cpu = time.process_time()
    result = run(progress=False)
    assert result.num_compilations == 0
    found = {
        "steps": int(result.steps.sum(dtype=np.int64)),
        "run": result.seconds,
        "all": result.seconds + first.compile_seconds,
        "cpu": time.process_time() - cpu,
        "best": result.best_loss,
        "best_index": int(result.best_index),
        "width": int(result.plan.width),
        "compilations": first.num_compilations,
        "rule": 0.0 if scheduler is None else rule_seconds(scheduler, n, steps),
    }
    print(json.dumps(found))


def rule_seconds(scheduler, n, steps):
    """CPU seconds that all decisions of a sweep take, on values that nothing has trained."""
    import jax
    import numpy as np

    from jaxhpo.population._rule import Rule

    values = np.random.default_rng(0).normal(size=n)
    rule = Rule("halving.py", scheduler, jax.random.key(0), n, steps)
    before = time.process_time()
    while len((pieces := rule.pieces()).trial):
        rule.tell(pieces, values[pieces.trial])
    return time.process_time() - before


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=405)
    parser.add_argument("--rounds", type=int, default=1, help="each has other trials and keys")
    parser.add_argument("--only", default="", help="besides the full sweep, what contains this")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return child(arguments.child, arguments.trials, arguments.steps, arguments.seed)
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    names = [one for one in CONTENDERS if one == "full sweep" or arguments.only in one]
    rows = {name: [] for name in names}
    for seed in range(arguments.rounds):
        for name in names:
            sizes = ["--trials", str(arguments.trials), "--steps", str(arguments.steps)]
            command = [sys.executable, __file__, "--child", name, *sizes, "--seed", str(seed)]
            done = subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
            rows[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{name}: {done.stdout.splitlines()[-1]}", file=sys.stderr, flush=True)
    report(rows, arguments)
    return None


def report(rows, arguments):
    full = rows["full sweep"]
    print(
        f"{arguments.trials} trials of at most {arguments.steps} steps; the full sweep takes "
        f"{full[0]['run']:.1f} s (run), {full[0]['cpu']:.1f} s of CPU time"
    )
    print("| contender | steps | run | all | CPU | loss lost | width | programs | rule, CPU s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, found in rows.items():
        pairs = list(zip(full, found, strict=True))
        ratios = [
            f"{sum(a[part] for a, _ in pairs) / sum(b[part] for _, b in pairs):.1f}x"
            for part in ("steps", "run", "all", "cpu")
        ]
        lost = ", ".join(f"{b['best'] - a['best']:+.4f}" for a, b in pairs)
        one = found[0]
        cells = [name, *ratios, lost, str(one["width"]), str(one["compilations"])]
        print(f"| {' | '.join(cells)} | {max(r['rule'] for r in found):.3f} |")


if __name__ == "__main__":
    main()
