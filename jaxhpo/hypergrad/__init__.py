"""Hypergradients: derivatives of a training run by its hyperparameters."""

from jaxhpo.hypergrad import bilevel as bilevel
from jaxhpo.hypergrad._base import Diagnostics as Diagnostics
from jaxhpo.hypergrad._base import Estimator as Estimator
from jaxhpo.hypergrad._base import Hypergradient as Hypergradient
from jaxhpo.hypergrad._base import Traits as Traits
from jaxhpo.hypergrad._descend import Descent as Descent
from jaxhpo.hypergrad._descend import descend as descend
from jaxhpo.hypergrad._diagnose import Diagnosis as Diagnosis
from jaxhpo.hypergrad._diagnose import diagnose as diagnose
from jaxhpo.hypergrad._drmad import drmad as drmad
from jaxhpo.hypergrad._evolution import es as es
from jaxhpo.hypergrad._finite_difference import finite_difference as finite_difference
from jaxhpo.hypergrad._forward import forward as forward
from jaxhpo.hypergrad._hyperdistill import hyperdistill as hyperdistill
from jaxhpo.hypergrad._implicit import implicit as implicit
from jaxhpo.hypergrad._pes import pes as pes
from jaxhpo.hypergrad._recommend import Recommendation as Recommendation
from jaxhpo.hypergrad._recommend import recommend as recommend
from jaxhpo.hypergrad._reversible import reversible as reversible
from jaxhpo.hypergrad._schedules import auto as auto
from jaxhpo.hypergrad._schedules import binomial as binomial
from jaxhpo.hypergrad._schedules import nested as nested
from jaxhpo.hypergrad._solvers import cg as cg
from jaxhpo.hypergrad._solvers import dense as dense
from jaxhpo.hypergrad._solvers import fixed_point as fixed_point
from jaxhpo.hypergrad._solvers import gmres as gmres
from jaxhpo.hypergrad._solvers import neumann as neumann
from jaxhpo.hypergrad._solvers import normal_cg as normal_cg
from jaxhpo.hypergrad._solvers import nystrom as nystrom
from jaxhpo.hypergrad._truncated import greedy as greedy
from jaxhpo.hypergrad._truncated import one_step as one_step
from jaxhpo.hypergrad._truncated import truncated as truncated
from jaxhpo.hypergrad._unrolled import unrolled as unrolled

__all__ = [
    "Descent",
    "Diagnosis",
    "Diagnostics",
    "Estimator",
    "Hypergradient",
    "Recommendation",
    "Traits",
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
