"""Samplers against problems: what `jaxhpo bench` runs, measures and draws."""

from jaxhpo.benchmarking._packed import Standing as Standing
from jaxhpo.benchmarking._packed import pack as pack
from jaxhpo.benchmarking._packed import standing as standing
from jaxhpo.benchmarking._packed import unpack as unpack
from jaxhpo.benchmarking._problems import PROBLEMS as PROBLEMS
from jaxhpo.benchmarking._problems import SETS as SETS
from jaxhpo.benchmarking._ranks import Table as Table
from jaxhpo.benchmarking._ranks import rank_table as rank_table
from jaxhpo.benchmarking._ranks import summary as summary
from jaxhpo.benchmarking._run import Cell as Cell
from jaxhpo.benchmarking._run import cells as cells
from jaxhpo.benchmarking._run import load as load
from jaxhpo.benchmarking._run import run as run

__all__ = [
    "PROBLEMS",
    "SETS",
    "Cell",
    "Standing",
    "Table",
    "cells",
    "load",
    "pack",
    "rank_table",
    "run",
    "standing",
    "summary",
    "unpack",
]
