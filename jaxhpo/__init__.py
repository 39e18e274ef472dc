"""jaxhpo: functional, vectorised hyperparameter optimization in JAX.

The public names, as a table of contents; `import jaxhpo as hpo`. Rooms that not every program needs
are imported when they are first named, so that `import jaxhpo` costs little more than JAX.
"""

# isort: off
from jaxhpo import _folder as _folder  # first of all: see there

# isort: on
import importlib as _importlib
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

# Search spaces: dimensions, conditions, constraints; and search algorithms.
from jaxhpo import samplers as samplers
from jaxhpo import space as space

# The protocol and its records.
from jaxhpo._base import Outcome as Outcome
from jaxhpo._base import Result as Result
from jaxhpo._base import Sampler as Sampler
from jaxhpo._base import Trials as Trials
from jaxhpo._base import make_sampler as make_sampler
from jaxhpo._checks.suggest import did_you_mean as _did_you_mean
from jaxhpo._status import Status as Status
from jaxhpo.search import minimize as minimize
from jaxhpo.search import minimize_many as minimize_many
from jaxhpo.search import replicates as replicates

# A whole study as one pure function, and many of them.
from jaxhpo.search import with_gradient as with_gradient
from jaxhpo.space import Space as Space
from jaxhpo.space import choice as choice
from jaxhpo.space import fixed as fixed
from jaxhpo.space import forbid as forbid
from jaxhpo.space import integer as integer
from jaxhpo.space import log_normal as log_normal
from jaxhpo.space import log_uniform as log_uniform
from jaxhpo.space import normal as normal
from jaxhpo.space import ordinal as ordinal
from jaxhpo.space import quantized as quantized
from jaxhpo.space import static as static
from jaxhpo.space import uniform as uniform

if _TYPE_CHECKING:
    # Rooms, each with more names of its own.
    from jaxhpo import acquisition as acquisition
    from jaxhpo import benchmarking as benchmarking
    from jaxhpo import gp as gp
    from jaxhpo import hypergrad as hypergrad
    from jaxhpo import inspection as inspection
    from jaxhpo import pareto as pareto
    from jaxhpo import plots as plots
    from jaxhpo import population as population
    from jaxhpo import problems as problems
    from jaxhpo import report as report
    from jaxhpo import schedulers as schedulers
    from jaxhpo import study as study
    from jaxhpo import testing as testing
    from jaxhpo import training as training

    # A durable study of any Python objective; one training run, written once.
    from jaxhpo.study import Report as Report
    from jaxhpo.study import Study as Study
    from jaxhpo.study import load_study as load_study
    from jaxhpo.training import Training as Training

_ROOMS = (
    "acquisition", "benchmarking", "gp", "hypergrad", "inspection", "pareto", "plots",
    "population", "problems",
    "report", "schedulers", "study", "testing", "training",
)  # fmt: skip
_NAMES = {"Report": "study", "Study": "study", "Training": "training", "load_study": "study"}

__all__ = [
    "Outcome", "Result", "Sampler", "Space", "Status", "Trials", "choice", "fixed", "forbid",
    "integer", "log_normal", "log_uniform", "make_sampler", "minimize", "minimize_many", "normal",
    "ordinal", "quantized", "replicates", "samplers", "space", "static", "uniform", "with_gradient",
    *_ROOMS, *_NAMES,
]  # fmt: skip


def __getattr__(name: str) -> _Any:
    if name in _ROOMS:
        return _importlib.import_module(f"jaxhpo.{name}")
    if name in _NAMES:
        return getattr(_importlib.import_module(f"jaxhpo.{_NAMES[name]}"), name)
    hint = _did_you_mean(name, __dir__())
    raise AttributeError(f"module 'jaxhpo' has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS, *_NAMES})
