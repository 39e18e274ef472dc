"""Figures of trials, drawn with matplotlib (extra `plot`)."""

from jaxhpo.plots._curves import learning_curves as learning_curves
from jaxhpo.plots._figure import save as save
from jaxhpo.plots._front import pareto_front as pareto_front
from jaxhpo.plots._history import history as history
from jaxhpo.plots._lineage import lineage as lineage
from jaxhpo.plots._parallel import parallel_coordinates as parallel_coordinates
from jaxhpo.plots._rungs import rungs as rungs
from jaxhpo.plots._surrogate import leave_one_out as leave_one_out
from jaxhpo.plots._surrogate import model_slice as model_slice
from jaxhpo.plots._surrogate import sensitivity as sensitivity

__all__ = [
    "history",
    "learning_curves",
    "leave_one_out",
    "lineage",
    "model_slice",
    "parallel_coordinates",
    "pareto_front",
    "rungs",
    "save",
    "sensitivity",
]
