"""All figures of the main job, table after table: import, sweep, memory, storage.

python benchmarks/main_job.py

Runs the scripts beside this one in turn. For figures worth quoting the machine must be quiet.
"""

import pathlib
import subprocess
import sys

SCRIPTS = ("import_time.py", "sweep_digits.py", "sweep_memory.py", "study_storage.py")


def main():
    folder = pathlib.Path(__file__).parent
    for script in SCRIPTS:
        print(f"\n== benchmarks/{script}\n", flush=True)
        subprocess.run([sys.executable, str(folder / script)], check=True)


if __name__ == "__main__":
    main()
