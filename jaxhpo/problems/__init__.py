"""What to measure on: test functions, BBOB, and real training on data that ships in packages.

Real data come with scikit-learn: without it, what needs them raises a ModuleNotFoundError.
"""

from collections.abc import Callable as _Callable

from jaxhpo.problems import bbob as bbob
from jaxhpo.problems import tabular as tabular
from jaxhpo.problems.functions._constrained import Constrained as Constrained
from jaxhpo.problems.functions._constrained import bnh as bnh
from jaxhpo.problems.functions._constrained import c2_dtlz2 as c2_dtlz2
from jaxhpo.problems.functions._constrained import g04 as g04
from jaxhpo.problems.functions._constrained import g06 as g06
from jaxhpo.problems.functions._constrained import g08 as g08
from jaxhpo.problems.functions._constrained import g09 as g09
from jaxhpo.problems.functions._constrained import g24 as g24
from jaxhpo.problems.functions._constrained import gramacy as gramacy
from jaxhpo.problems.functions._constrained import osy as osy
from jaxhpo.problems.functions._functions import FUNCTIONS as FUNCTIONS
from jaxhpo.problems.functions._functions import Function as Function
from jaxhpo.problems.functions._functions import ackley as ackley
from jaxhpo.problems.functions._functions import branin as branin
from jaxhpo.problems.functions._functions import goldstein_price as goldstein_price
from jaxhpo.problems.functions._functions import griewank as griewank
from jaxhpo.problems.functions._functions import hartmann3 as hartmann3
from jaxhpo.problems.functions._functions import hartmann6 as hartmann6
from jaxhpo.problems.functions._functions import levy as levy
from jaxhpo.problems.functions._functions import michalewicz as michalewicz
from jaxhpo.problems.functions._functions import rastrigin as rastrigin
from jaxhpo.problems.functions._functions import rosenbrock as rosenbrock
from jaxhpo.problems.functions._functions import schwefel as schwefel
from jaxhpo.problems.functions._functions import six_hump_camel as six_hump_camel
from jaxhpo.problems.functions._functions import sphere as sphere
from jaxhpo.problems.functions._functions import styblinski_tang as styblinski_tang
from jaxhpo.problems.functions._landscapes import Landscape as Landscape
from jaxhpo.problems.functions._landscapes import categorical as categorical
from jaxhpo.problems.functions._landscapes import conditional as conditional
from jaxhpo.problems.functions._landscapes import mixed as mixed
from jaxhpo.problems.functions._mf_hartmann import MfHartmann as MfHartmann
from jaxhpo.problems.functions._mf_hartmann import mf_hartmann as mf_hartmann
from jaxhpo.problems.functions._multi_objective import MultiObjective as MultiObjective
from jaxhpo.problems.functions._multi_objective import dtlz1 as dtlz1
from jaxhpo.problems.functions._multi_objective import dtlz2 as dtlz2
from jaxhpo.problems.functions._multi_objective import dtlz7 as dtlz7
from jaxhpo.problems.functions._multi_objective import zdt1 as zdt1
from jaxhpo.problems.functions._multi_objective import zdt2 as zdt2
from jaxhpo.problems.functions._multi_objective import zdt3 as zdt3
from jaxhpo.problems.functions._multi_objective import zdt4 as zdt4
from jaxhpo.problems.functions._multi_objective import zdt6 as zdt6
from jaxhpo.problems.tasks._auxiliary import auxiliary as auxiliary
from jaxhpo.problems.tasks._cleaning import Corrupted as Corrupted
from jaxhpo.problems.tasks._cleaning import clean_accuracy as clean_accuracy
from jaxhpo.problems.tasks._cleaning import cleaning as cleaning
from jaxhpo.problems.tasks._cleaning import cleaning_70 as cleaning_70
from jaxhpo.problems.tasks._cleaning import cleaning_90 as cleaning_90
from jaxhpo.problems.tasks._cleaning import corrupted_digits as corrupted_digits
from jaxhpo.problems.tasks._digits import Mislabelled as Mislabelled
from jaxhpo.problems.tasks._digits import Problem as Problem
from jaxhpo.problems.tasks._digits import digits as digits
from jaxhpo.problems.tasks._digits import mislabelled_digits as mislabelled_digits
from jaxhpo.problems.tasks._distillation import distillation as distillation
from jaxhpo.problems.tasks._kernel import kernel as kernel
from jaxhpo.problems.tasks._logistic import PUBLISHED_TRACE as PUBLISHED_TRACE
from jaxhpo.problems.tasks._logistic import logistic as logistic
from jaxhpo.problems.tasks._mlp import chaos as chaos
from jaxhpo.problems.tasks._mlp import schedule as schedule
from jaxhpo.problems.tasks._noisy_quadratic import NoisyQuadratic as NoisyQuadratic
from jaxhpo.problems.tasks._noisy_quadratic import noisy_quadratic as noisy_quadratic
from jaxhpo.problems.tasks._penalties import penalties as penalties
from jaxhpo.problems.tasks._ridge import ridge as ridge
from jaxhpo.problems.tasks._task import Task as Task
from jaxhpo.problems.tasks._valley import valley as valley
from jaxhpo.problems.tasks._weighting import weighting as weighting
from jaxhpo.problems.tasks.meta._initial import initial as initial
from jaxhpo.problems.tasks.meta._learned_optimizer import learned_optimizer as learned_optimizer
from jaxhpo.problems.tasks.meta._proximal import proximal as proximal

__all__ = [
    "FUNCTIONS",
    "PUBLISHED_TRACE",
    "TASKS",
    "Constrained",
    "Corrupted",
    "Function",
    "Landscape",
    "MfHartmann",
    "Mislabelled",
    "MultiObjective",
    "NoisyQuadratic",
    "Problem",
    "Task",
    "ackley",
    "auxiliary",
    "bbob",
    "bnh",
    "branin",
    "c2_dtlz2",
    "categorical",
    "chaos",
    "clean_accuracy",
    "cleaning",
    "cleaning_70",
    "cleaning_90",
    "conditional",
    "corrupted_digits",
    "digits",
    "distillation",
    "dtlz1",
    "dtlz2",
    "dtlz7",
    "g04",
    "g06",
    "g08",
    "g09",
    "g24",
    "goldstein_price",
    "gramacy",
    "griewank",
    "hartmann3",
    "hartmann6",
    "initial",
    "kernel",
    "learned_optimizer",
    "levy",
    "logistic",
    "mf_hartmann",
    "michalewicz",
    "mislabelled_digits",
    "mixed",
    "noisy_quadratic",
    "osy",
    "penalties",
    "proximal",
    "rastrigin",
    "ridge",
    "rosenbrock",
    "schedule",
    "schwefel",
    "six_hump_camel",
    "sphere",
    "styblinski_tang",
    "tabular",
    "valley",
    "weighting",
    "zdt1",
    "zdt2",
    "zdt3",
    "zdt4",
    "zdt6",
]

# Every bilevel task by name: what `jaxhpo bench hypergradients` and the tests go through.
TASKS: dict[str, _Callable[..., Task]] = {
    "ridge": ridge,  # a penalty per feature; closed form
    "logistic": logistic,  # a penalty per feature; published trace
    "penalties": penalties,  # a log penalty per feature, as many as weights
    "kernel": kernel,  # length scales; the step solves a system; closed form
    "valley": valley,  # one number, many local optima, all known
    "cleaning": cleaning,  # a weight per example
    "cleaning_70": cleaning_70,
    "cleaning_90": cleaning_90,
    "auxiliary": auxiliary,  # weights of many losses
    "weighting": weighting,  # a small network
    "distillation": distillation,  # the training data themselves
    "initial": initial,  # initial weights
    "proximal": proximal,  # initial weights that move the solution
    "learned_optimizer": learned_optimizer,  # a network that makes the updates
    "schedule": schedule,  # a learning rate per step
    "chaos": chaos,  # a learning rate, up to the edge of chaos
}
