"""What becomes of trials when something breaks: `python benchmarks/faults.py`.

Prints a row per fault: how many times it was injected; trials that were lost, duplicated, or left
running for ever; and whether the study is the one that an uninterrupted run gives in which the same
trials fail ("timing": which trials there are is chance). The rows are those of `tests/faults`,
which also asserts them. With TEXT, only rows whose name contains it; with `--most`, at most so many
faults a row. Needs a C compiler, and root to mount small file systems; PostgreSQL, loky, Dask
and Ray where installed: other rows say what is missing.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import tempfile
import time
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from tests.faults import table
from tests.faults.harness import Nursery, Tally, compiled_shim


def line(found: Tally, seconds: float) -> str:
    """A row of the table, as Markdown."""
    equal = {True: "yes", False: "no", None: "timing"}[found.is_equal]
    counts = (found.injected, found.lost, found.duplicated, found.stuck)
    return " | ".join(["", found.fault, *map(str, counts), equal, f"{seconds:.0f} s", ""]).strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=int, help="at most so many faults a row")
    parser.add_argument("text", nargs="*", help="only rows whose name contains one of these")
    options = parser.parse_args()
    if compiled_shim() is None:
        raise SystemExit("faults.py needs a C compiler (cc) and Linux")
    warnings.simplefilter("ignore")
    print("| fault | injected | lost | duplicated | stuck | result equal | took |")
    print("|---|---|---|---|---|---|---|", flush=True)
    notes, total = [], 0
    with tempfile.TemporaryDirectory(prefix="jaxhpo-faults-") as folder:
        nursery = Nursery(folder)
        for name, row in table.load().items():
            times = min(row.many, options.most or row.many)
            if options.text and not any(one in name for one in options.text):
                continue
            start = time.monotonic()
            try:
                found = row.inject(nursery, folder, times)
            except (RuntimeError, ImportError) as error:
                print(f"| {name} | not run: {str(error).splitlines()[0]} | | | | | |", flush=True)
                continue
            except AssertionError as error:
                print(f"| {name} | failed | | | | | |", flush=True)
                notes.append(f"{name}: {error}")
                continue
            print(line(found, time.monotonic() - start), flush=True)
            total += found.injected
            notes += [] if found.is_clean else [f"{name}: {note}" for note in found.notes]
        nursery.close()
    print(f"\n{total} faults")
    print("\n".join(notes), file=sys.stderr)


if __name__ == "__main__":
    main()
