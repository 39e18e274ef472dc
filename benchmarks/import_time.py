"""What `import jaxhpo` costs over `import jax, optax`: fresh processes, interleaved rounds.

python benchmarks/import_time.py [--rounds 9]
"""

import argparse
import os
import statistics
import subprocess
import sys

GOAL = 0.15
STATEMENTS = {"import jax, optax": "import jax, optax", "import jaxhpo": "import jaxhpo"}
SCRIPT = """
import time, resource
before = time.perf_counter(), time.process_time()
{statement}
print(time.perf_counter() - before[0], time.process_time() - before[1])
"""


def measure(statement, environment):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(statement=statement)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    wall, cpu = done.stdout.split()
    return float(wall), float(cpu)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    rows = {name: [] for name in STATEMENTS}
    for statement in STATEMENTS.values():
        measure(statement, environment)  # Fills the file caches.
    for _ in range(rounds):
        for name, statement in STATEMENTS.items():
            rows[name].append(measure(statement, environment))
    print(f"{rounds} interleaved rounds, fresh processes; seconds (min / median)")
    print("| statement | wall | CPU |")
    print("|---|---|---|")
    for name, values in rows.items():
        wall, cpu = zip(*values, strict=True)
        cells = [f"{min(v):.3f} / {statistics.median(v):.3f}" for v in (wall, cpu)]
        print("| " + " | ".join([name, *cells]) + " |")
    base, ours = (min(w for w, _ in rows[name]) for name in STATEMENTS)
    print(f"\ndifference of the minima: {ours - base:.3f} s (goal: at most {GOAL} s)")
    return 0 if ours - base <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
