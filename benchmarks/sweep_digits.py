"""A sweep of an MLP over scikit-learn's digits, beside a jitted loop and beside PyTorch.

    python benchmarks/sweep_digits.py [--trials 512] [--rounds 3]

The same data, the same model (64-32-10, ReLU), the same optimizer (SGD with momentum and weight
decay), 200 steps of 64 examples drawn with replacement, the same hyperparameters. Every contender
runs in a process of its own, in interleaved rounds, with one OpenMP and one OpenBLAS thread.
`run` is without compilation, `all` includes tracing and compiling; imports are in neither.
PyTorch is measured twice in its best known forms: `nn.Module` with `optim.SGD(fused=True)`, and
hand-written functional steps over `torch._foreach` (no module, no optimizer object).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

STEPS, BATCH, HIDDEN = 200, 64, 32


def digits():
    import numpy as np
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = (x[order] / 16).astype(np.float32), y[order]
    return (x[:1347], y[:1347]), (x[1347:], y[1347:])


def settings(n):
    import numpy as np

    rng = np.random.default_rng(1)
    return {
        "lr": (10 ** rng.uniform(-3, 0, n)).astype(np.float32),
        "momentum": rng.uniform(0, 0.95, n).astype(np.float32),
        "decay": (10 ** rng.uniform(-6, -2, n)).astype(np.float32),
    }


def jax_training():
    import jax
    import jax.numpy as jnp
    import optax

    from jaxhpo import training

    fit, check = digits()

    def init(key, hparams):
        # Uniform in +-1/sqrt(inputs) for weights and biases, as torch.nn.Linear does.
        first, second = 65 * HIDDEN, (HIDDEN + 1) * 10
        draws = jax.random.uniform(key, (first + second,), minval=-1.0)
        one = draws[:first].reshape(65, HIDDEN) / 64**0.5
        two = draws[first:].reshape(HIDDEN + 1, 10) / HIDDEN**0.5
        return (one[:-1], one[-1]), (two[:-1], two[-1])

    def logits(params, x):
        (w1, b1), (w2, b2) = params
        return jnp.maximum(x @ w1 + b1, 0) @ w2 + b2

    def loss(hparams, params, batch):
        x, y = batch
        return optax.softmax_cross_entropy_with_integer_labels(logits(params, x), y).mean()

    def error(hparams, params, batch):
        return jnp.mean(jnp.argmax(logits(params, batch[0]), -1) != batch[1])

    def optimizer(hparams):
        return optax.chain(
            optax.add_decayed_weights(hparams["decay"]),
            optax.sgd(hparams["lr"], hparams["momentum"]),
        )

    def arrays(pair):
        return pair[0], pair[1].astype("int32")

    return training.from_optax(
        init,
        loss,
        optimizer,
        train=arrays(fit),
        validation=arrays(check),
        batch_size=BATCH,
        validation_loss=error,
    )


def run_sweep(n, **options):
    from jaxhpo import population

    result = population.sweep(
        jax_training(), settings(n), key=0, num_steps=STEPS, num_reports=1, **options
    )
    return result.seconds - result.compile_seconds, result.seconds, result.losses


def run_loop(n):
    """A Python loop over one jitted trial with traced hyperparameters."""
    import jax
    import numpy as np

    from jaxhpo import training

    trial = jax.jit(training.objective(jax_training(), STEPS))
    values, key = settings(n), jax.random.key(0)
    fold = jax.jit(jax.random.fold_in)
    keys = [fold(key, i) for i in range(n)]
    rows = [{k: v[i] for k, v in values.items()} for i in range(n)]
    before = time.perf_counter()
    trial(keys[0], rows[0]).block_until_ready()
    compiled = time.perf_counter()
    losses = np.asarray([trial(k, row) for k, row in zip(keys, rows, strict=True)])
    end = time.perf_counter()
    return end - compiled, end - before, losses


def torch_module(seed, lr, momentum, decay):
    import torch

    (x, y), (vx, vy) = torch_module.data
    torch.manual_seed(seed)
    linear = torch.nn.Linear
    model = torch.nn.Sequential(linear(64, HIDDEN), torch.nn.ReLU(), linear(HIDDEN, 10))
    optimizer = torch.optim.SGD(
        model.parameters(), lr=lr, momentum=momentum, weight_decay=decay, fused=True
    )
    for _ in range(STEPS):
        rows = torch.randint(0, len(x), (BATCH,))
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        return float((model(vx).argmax(-1) != vy).float().mean())


def torch_functional(seed, lr, momentum, decay):
    import torch

    (x, y), (vx, vy) = torch_module.data
    torch.manual_seed(seed)
    layers = torch.nn.Linear(64, HIDDEN), torch.nn.Linear(HIDDEN, 10)
    params = [p.detach().requires_grad_() for m in layers for p in (m.weight, m.bias)]
    trace = [torch.zeros_like(p) for p in params]
    linear = torch.nn.functional.linear

    def logits(x):
        return linear(torch.relu(linear(x, params[0], params[1])), params[2], params[3])

    for _ in range(STEPS):
        rows = torch.randint(0, len(x), (BATCH,))
        loss = torch.nn.functional.cross_entropy(logits(x[rows]), y[rows])
        grads = torch.autograd.grad(loss, params)
        with torch.no_grad():
            grads = torch._foreach_add(grads, params, alpha=decay)
            torch._foreach_mul_(trace, momentum)
            torch._foreach_add_(trace, grads)
            torch._foreach_add_(params, trace, alpha=-lr)
    with torch.no_grad():
        return float((logits(vx).argmax(-1) != vy).float().mean())


def torch_start():
    import torch

    torch.set_num_threads(1)
    torch_module.data = [(torch.from_numpy(x), torch.from_numpy(y).long()) for x, y in digits()]


def run_torch(n, trial, processes):
    from concurrent.futures import ProcessPoolExecutor

    values = settings(n)
    jobs = [range(n), *(values[k].tolist() for k in ("lr", "momentum", "decay"))]
    if processes == 1:
        torch_start()
        trial(0, 0.1, 0.9, 0.0)
        before = time.perf_counter()
        losses = [trial(*job) for job in zip(*jobs, strict=True)]
        seconds = time.perf_counter() - before
    else:
        with ProcessPoolExecutor(processes, initializer=torch_start) as pool:
            warm = 4 * processes
            list(pool.map(trial, range(warm), [0.1] * warm, [0.9] * warm, [0.0] * warm))
            before = time.perf_counter()
            losses = list(pool.map(trial, *jobs, chunksize=4))
            seconds = time.perf_counter() - before
    return seconds, seconds, losses


CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
CONTENDERS = {
    "jaxhpo sweep": lambda n: run_sweep(n),
    "jaxhpo sweep, shared data order": lambda n: run_sweep(n, share_data_order=True),
    "sequential jitted loop": run_loop,
    "torch module, 1 thread": lambda n: run_torch(n, torch_module, 1),
    "torch functional, 1 thread": lambda n: run_torch(n, torch_functional, 1),
    f"torch module, {CORES} processes": lambda n: run_torch(n, torch_module, CORES),
    f"torch functional, {CORES} processes": lambda n: run_torch(n, torch_functional, CORES),
}


def child(name, n):
    import resource

    import numpy as np

    def cpu():
        kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
        return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, kinds))

    if name.startswith("torch"):
        import torch  # noqa: F401
    else:
        import jaxhpo.population  # noqa: F401
    before = cpu()
    run, everything, losses = CONTENDERS[name](n)
    errors = np.asarray(losses, float)
    print(
        json.dumps(
            {
                "run": run,
                "all": everything,
                "cpu": cpu() - before,
                "mean": float(np.nanmean(errors)),
                "best": float(np.nanmin(errors)),
            }
        )
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="run the contenders whose name contains this")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return child(arguments.child, arguments.trials)
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment["JAX_PLATFORMS"] = "cpu"
    environment["PYTHONPATH"] = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    names = [name for name in CONTENDERS if arguments.only in name]
    rows = {name: [] for name in names}
    for _ in range(arguments.rounds):
        for name in names:
            command = [sys.executable, __file__, "--child", name, "--trials", str(arguments.trials)]
            done = subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
            rows[name].append(json.loads(done.stdout.splitlines()[-1]))
    report(rows, arguments)
    return None


def report(rows, arguments):
    print(
        f"{arguments.trials} trials of {STEPS} steps, {arguments.rounds} interleaved rounds, "
        f"{CORES} cores; seconds (min / median)"
    )
    print("| contender | run | all | CPU | mean error | best error |")
    print("|---|---|---|---|---|---|")
    for name, results in rows.items():
        cells = [
            f"{min(values):.2f} / {statistics.median(values):.2f}"
            for values in ([r[k] for r in results] for k in ("run", "all", "cpu"))
        ]
        errors = [f"{results[0][k]:.4f}" for k in ("mean", "best")]
        print("| " + " | ".join([name, *cells, *errors]) + " |")

    def least(kind, part):
        found = [min(r[part] for r in rows[n]) for n in rows if n.startswith(kind)]
        return min(found, default=float("nan"))

    ours = {
        part: min((r[part] for r in rows.get("jaxhpo sweep", [])), default=float("nan"))
        for part in ("run", "all")
    }
    print()
    for part, goal in (("run", 10), ("all", 5)):
        ratio = least("torch", part) / ours[part]
        print(f"the best of PyTorch / sweep, {part}: {ratio:.1f}x (goal {goal}x)")
    loop = least("sequential", "run") / ours["run"]
    print(f"sequential jitted loop / sweep, run: {loop:.2f}x (goal 1.6x on 2 cores)")


if __name__ == "__main__":
    main()
