"""Hypergradients: derivatives of a training run by its hyperparameters."""

from jaxhpo.hypergrad import bilevel as bilevel
from jaxhpo.hypergrad._as_training import DescentState as DescentState
from jaxhpo.hypergrad._as_training import as_training as as_training
from jaxhpo.hypergrad._base import Diagnostics as Diagnostics
from jaxhpo.hypergrad._base import Estimator as Estimator
from jaxhpo.hypergrad._base import Hypergradient as Hypergradient
from jaxhpo.hypergrad._base import Traits as Traits
from jaxhpo.hypergrad._descend import Descent as Descent
from jaxhpo.hypergrad._descend import descend as descend
from jaxhpo.hypergrad._diagnose import Diagnosis as Diagnosis
from jaxhpo.hypergrad._diagnose import diagnose as diagnose
from jaxhpo.hypergrad._recommend import Recommendation as Recommendation
from jaxhpo.hypergrad._recommend import recommend as recommend
from jaxhpo.hypergrad.estimates._evolution import es as es
from jaxhpo.hypergrad.estimates._finite_difference import finite_difference as finite_difference
from jaxhpo.hypergrad.estimates._hyperdistill import hyperdistill as hyperdistill
from jaxhpo.hypergrad.estimates._pes import pes as pes
from jaxhpo.hypergrad.implicit._implicit import implicit as implicit
from jaxhpo.hypergrad.implicit._linear_solvers import cg as cg
from jaxhpo.hypergrad.implicit._linear_solvers import dense as dense
from jaxhpo.hypergrad.implicit._linear_solvers import fixed_point as fixed_point
from jaxhpo.hypergrad.implicit._linear_solvers import gmres as gmres
from jaxhpo.hypergrad.implicit._linear_solvers import neumann as neumann
from jaxhpo.hypergrad.implicit._linear_solvers import normal_cg as normal_cg
from jaxhpo.hypergrad.implicit._linear_solvers import nystrom as nystrom
from jaxhpo.hypergrad.reversible._drmad import drmad as drmad
from jaxhpo.hypergrad.reversible._reversible import reversible as reversible
from jaxhpo.hypergrad.unrolled._forward import forward as forward
from jaxhpo.hypergrad.unrolled._schedules import auto as auto
from jaxhpo.hypergrad.unrolled._schedules import binomial as binomial
from jaxhpo.hypergrad.unrolled._schedules import nested as nested
from jaxhpo.hypergrad.unrolled._truncated import greedy as greedy
from jaxhpo.hypergrad.unrolled._truncated import one_step as one_step
from jaxhpo.hypergrad.unrolled._truncated import truncated as truncated
from jaxhpo.hypergrad.unrolled._unrolled import unrolled as unrolled

__all__ = [
    "Descent",
    "DescentState",
    "Diagnosis",
    "Diagnostics",
    "Estimator",
    "Hypergradient",
    "Recommendation",
    "Traits",
    "as_training",
    "auto",
    "bilevel",
    "binomial",
    "cg",
    "dense",
    "descend",
    "diagnose",
    "drmad",
    "es",
    "finite_difference",
    "fixed_point",
    "forward",
    "gmres",
    "greedy",
    "hyperdistill",
    "implicit",
    "nested",
    "neumann",
    "normal_cg",
    "nystrom",
    "one_step",
    "pes",
    "recommend",
    "reversible",
    "truncated",
    "unrolled",
]
