"""The commands, their options and their help; the work is done in the files beside this one."""

from __future__ import annotations

import os
import pathlib
import sys
from typing import Annotated

import typer

from jaxhpo.cli._bench_commands import bench_app
from jaxhpo.cli._errors import NO_RESULT, USAGE, UserError, say_error

app = typer.Typer(
    name="jaxhpo",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find good hyperparameters. Start with **jaxhpo demo**; tune your own function with "
    "**jaxhpo tune**; look at what is stored with **jaxhpo studies**, **jaxhpo best** and "
    "**jaxhpo report**; watch it with **jaxhpo dashboard**.",
)

_INTERRUPTED = 130
_STORAGE = "sqlite:///jaxhpo.db"

Storage = Annotated[
    str,
    typer.Option(
        "--storage",
        help="Where studies are kept: a URL such as sqlite:///study.db or "
        "postgresql://host/name, or a file ending in .journal.",
    ),
]
Name = Annotated[str, typer.Argument(help="Name of the study (see `jaxhpo studies`).")]


def _say_version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        typer.echo(f"jaxhpo {metadata.version('jaxhpo')}")
        raise typer.Exit


@app.callback()
def _global(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the full traceback of an error.")
    ] = False,
) -> None:
    if debug:
        os.environ["JAXHPO_DEBUG"] = "1"


@app.command()
def demo(
    trials: Annotated[int, typer.Option(min=1, help="Trials to run.")] = 512,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each trial.")] = 200,
    sampler: Annotated[str, typer.Option(help="Sampler by name.")] = "random",
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything.")] = 0,
    out: Annotated[
        pathlib.Path, typer.Option(help="Folder for the plot and the study.")
    ] = pathlib.Path("jaxhpo-demo"),
    storage: Annotated[
        str | None, typer.Option(help="Another storage for the study; default OUT/study.db.")
    ] = None,
) -> None:
    """Tune a small neural network on real data in three acts, each with a plot.

    A flax MLP on scikit-learn's 1,797 handwritten digits. Act 1: random search, all trials side by
    side under `vmap`. Act 2: Bayesian optimization goes on by a Gaussian process. Act 3: exact
    hypergradients of 1,100 hyperparameters at once find the false ones among training labels.
    Leaves the plots and a study in OUT; run it again to add trials to the same study.
    """
    from jaxhpo.cli.demo._demo import run_demo

    run_demo(trials, steps, sampler, seed, out, storage)


@app.command()
def tune(
    objective: Annotated[
        str,
        typer.Argument(help="Your function as module:function; it takes params, returns a float."),
    ],
    space: Annotated[
        str,
        typer.Option(
            help="The space: module:name of a jaxhpo.Space or dict, a JSON file, or JSON."
        ),
    ],
    trials: Annotated[int, typer.Option(min=1, help="Trials to run.")] = 100,
    sampler: Annotated[
        str, typer.Option(help="Sampler by name; auto chooses by the space.")
    ] = "auto",
    storage: Storage = _STORAGE,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the study; default the objective's, with its module."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the study.")] = None,
    maximize: Annotated[
        bool, typer.Option("--maximize", help="Search for the largest value.")
    ] = False,
    directions: Annotated[
        str | None,
        typer.Option(help="For several objectives, one each: minimize,maximize."),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Stop asking for trials after this many seconds.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that evaluate side by side.")] = 1,
) -> None:
    r"""Tune any Python function and keep every trial on disk.

    Example: with a file `train.py` that has `def score(params): ...`

        jaxhpo tune train:score --space '{"lr": {"kind": "log_uniform", "low": 1e-4, "high": 1}}'

    Ctrl-C at any time: what was evaluated is kept, and `jaxhpo resume NAME` continues.
    """
    from jaxhpo.cli._tune import start

    if maximize and directions is not None:
        raise UserError("--maximize and --directions exclude each other.")
    chosen = (directions or ("maximize" if maximize else "minimize")).split(",")
    direction = [one.strip() for one in chosen]
    start(objective, space, trials, sampler, storage, name, seed, direction, timeout, workers)


@app.command()
def resume(
    name: Name,
    trials: Annotated[int, typer.Option(min=1, help="Further trials to run.")] = 100,
    objective: Annotated[
        str | None,
        typer.Option(
            help="The function again, as module:function. Without it you are asked whether what "
            "the study's file names may be imported; no file decides that alone."
        ),
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="The space again, where it is a module:name.")
    ] = None,
    storage: Storage = _STORAGE,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Stop asking for trials after this many seconds.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that evaluate side by side.")] = 1,
) -> None:
    """Go on with a study that `jaxhpo tune` began, where it stopped.

    25 trials and then 25 more are the same 50 trials as 50 in one go.
    """
    from jaxhpo.cli import _tune

    _tune.resume(name, trials, storage, timeout, workers, objective, space)


@app.command()
def studies(storage: Storage = _STORAGE) -> None:
    """List the studies of a storage: trials, failures, best value."""
    from jaxhpo.cli._inspect import list_studies

    list_studies(storage)


@app.command()
def best(
    name: Name,
    storage: Storage = _STORAGE,
    form: Annotated[
        str, typer.Option("--format", help="table, json or csv (csv: all trials).")
    ] = "table",
    top: Annotated[int, typer.Option(help="How many of the best trials to show.")] = 1,
) -> None:
    """Show the best trials of a study, for people (table) or programs (json, csv)."""
    from jaxhpo.cli._inspect import show_best

    show_best(name, storage, form, top)


@app.command()
def report(
    name: Name,
    out: Annotated[pathlib.Path, typer.Option("--out", "-o", help="File to write.")] = pathlib.Path(
        "report.html"
    ),
    storage: Storage = _STORAGE,
    model: Annotated[
        bool, typer.Option(help="Fit a Gaussian process: sensitivities, contours (seconds).")
    ] = True,
) -> None:
    """Write one HTML file about a study: history, importances, slices, failures, times.

    It opens in any browser without a network, and works on studies of Optuna as well.
    """
    from jaxhpo.cli._report import write

    write(name, out, storage, model)


@app.command()
def dashboard(
    storage: Annotated[
        str | None, typer.Argument(help="Where studies are kept: a URL, or a file.")
    ] = None,
    option: Annotated[
        str | None, typer.Option("--storage", help="The same, as other commands take it.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Watch studies in a browser: optuna-dashboard on our storage, until Ctrl-C."""
    from jaxhpo.cli._dashboard import serve

    if storage is not None and option is not None and storage != option:
        raise UserError("the storage is given twice: as an argument and as --storage.")
    serve(storage or option or _STORAGE, host, port)


@app.command()
def warm(
    sampler: Annotated[
        list[str] | None,
        typer.Option("--sampler", "-s", help="A sampler; may be given several times."),
    ] = None,
    dims: Annotated[
        list[int] | None,
        typer.Option("--dims", "-d", min=1, help="Continuous parameters; several times: each."),
    ] = None,
    trials: Annotated[int, typer.Option(help="Trials that a study will have.", min=1)] = 100,
) -> None:
    """Compile the programs of samplers ahead, into the cache that `doctor` names.

    For container images, CI and cluster nodes: what is compiled now is read by later processes,
    in studies of as many continuous parameters, and behind the loops of Optuna and Ray Tune of any
    plain parameters, up to the next of 4, 8, 16 and 32.
    """
    from jaxhpo.cli._warm import warm as fill

    fill(sampler or [], dims or [4], trials)


@app.command()
def doctor() -> None:
    """Say what is installed and what JAX sees: versions, devices, extras, caches."""
    from jaxhpo.cli._doctor import examine

    raise typer.Exit(examine())


app.add_typer(bench_app, name="bench")


def run() -> None:
    """Runs a command; an error that the user can fix is shown as one line, with an exit code.

    Exit codes: 0 done, 1 an unexpected error, 2 wrong usage, 3 no trial with a finite value,
    130 interrupted, 143 told to end (SIGTERM).
    """
    try:
        code = app(standalone_mode=False)
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except Exception as error:
        sys.exit(say_error(error))
    if code == _INTERRUPTED:  # Typer makes it of every interrupt, SIGTERM included
        from jaxhpo.study.internal import exit_status

        code = exit_status()
    sys.exit(code if isinstance(code, int) else 0)


__all__ = ["NO_RESULT", "USAGE", "UserError", "app", "run"]
