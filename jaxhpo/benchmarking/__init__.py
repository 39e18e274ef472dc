"""Samplers on problems, and hypergradient estimators on tasks: what `jaxhpo bench` runs."""

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
from jaxhpo.benchmarking.leaderboard._bench import hypergradients as hypergradients
from jaxhpo.benchmarking.leaderboard._methods import ESTIMATORS as ESTIMATORS
from jaxhpo.benchmarking.leaderboard._table import Leaderboard as Leaderboard
from jaxhpo.benchmarking.leaderboard._table import Standings as Standings
from jaxhpo.benchmarking.leaderboard._write import write_leaderboard as write_leaderboard
from jaxhpo.benchmarking.leaderboard.peers._registry import PEERS as PEERS

__all__ = [
    "ESTIMATORS",
    "PEERS",
    "PROBLEMS",
    "SETS",
    "Cell",
    "Leaderboard",
    "Standing",
    "Standings",
    "Table",
    "cells",
    "hypergradients",
    "load",
    "pack",
    "rank_table",
    "run",
    "standing",
    "summary",
    "unpack",
    "write_leaderboard",
]
