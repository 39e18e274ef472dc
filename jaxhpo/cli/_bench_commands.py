"""`jaxhpo bench` and what stands below it."""

from __future__ import annotations

import pathlib
from typing import Annotated

import typer

bench_app = typer.Typer(invoke_without_command=True, rich_markup_mode="markdown")


@bench_app.callback()
def bench(
    context: typer.Context,
    samplers: Annotated[
        str, typer.Option(help="Samplers by name, separated by commas.")
    ] = "auto,random,qmc,tpe,cma_es,de,gp,pattern",
    problems: Annotated[
        str,
        typer.Option(
            help="Problems or sets of them by name: quick, standard, bbob, tabular, wide, wider, "
            "branin, …"
        ),
    ] = "standard",
    trials: Annotated[int, typer.Option(min=1, help="Trials of each study.")] = 100,
    seeds: Annotated[
        int, typer.Option(min=1, help="Studies of each sampler on each problem.")
    ] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Points that are proposed at once.")] = 1,
    out: Annotated[
        pathlib.Path, typer.Option(help="Folder for results, tables and figures.")
    ] = pathlib.Path("jaxhpo-bench"),
) -> None:
    """Compare samplers on problems with known answers, or hypergradient estimators on tasks.

    Without a further command, samplers: ranks, regret curves, time per suggestion.

    The seeds of a sampler, on all problems of one kind of space, run as one compiled program. What
    is finished is kept, so the command can be stopped with Ctrl-C and given again, also with more
    samplers or problems.
    """
    if context.invoked_subcommand is not None:
        return
    from jaxhpo.cli._bench import bench as run_bench

    run_bench(samplers, problems, trials, seeds, seed, batch_size, out)


@bench_app.command()
def hypergradients(
    estimators: Annotated[
        str,
        typer.Option(
            help="Estimators separated by commas: names, or module:name of a function "
            "(training, *, num_steps) -> Estimator."
        ),
    ] = "unrolled,forward,truncated,one_step,implicit_cg,hyperdistill,es,pes",
    tasks: Annotated[
        str,
        typer.Option(
            help="Tasks separated by commas: names, or module:name of a problems.Task or of a "
            "function that returns one."
        ),
    ] = "ridge,logistic,valley,penalties,schedule",
    budget: Annotated[
        int, typer.Option(min=1, help="Training runs that one descent may cost.")
    ] = 200,
    seeds: Annotated[int, typer.Option(min=1, help="Descents that are reported.")] = 5,
    tuning_seeds: Annotated[
        int, typer.Option(min=1, help="Other descents that judge each outer step.")
    ] = 2,
    out: Annotated[
        pathlib.Path, typer.Option(help="Folder for results, tables and pictures.")
    ] = pathlib.Path("jaxhpo-bench"),
) -> None:
    """Compare hypergradient estimators at one budget of training steps: error, time, memory, loss.

    Each descends with its own best outer step. What is finished is kept, so the command can be
    stopped with Ctrl-C and given again, also with more estimators or tasks.
    """
    from jaxhpo.cli._bench_hypergradients import bench as run_bench

    run_bench(estimators, tasks, budget, seeds, tuning_seeds, out)
