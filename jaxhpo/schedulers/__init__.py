"""Who trains on, up to where, and from whose state: one file a rule, all three pure functions."""

from jaxhpo.schedulers._asha import asha as asha
from jaxhpo.schedulers._halving import halving as halving
from jaxhpo.schedulers._hyperband import hyperband as hyperband
from jaxhpo.schedulers._names import get as get
from jaxhpo.schedulers._names import names as names
from jaxhpo.schedulers._protocol import Job as Job
from jaxhpo.schedulers._protocol import Scheduler as Scheduler
from jaxhpo.schedulers._protocol import TellInfo as TellInfo
from jaxhpo.schedulers._protocol import make_scheduler as make_scheduler
from jaxhpo.schedulers._table import Table as Table
from jaxhpo.schedulers.population_based._pb2 import pb2 as pb2
from jaxhpo.schedulers.population_based._pbt import pbt as pbt

__all__ = [
    "Job",
    "Scheduler",
    "Table",
    "TellInfo",
    "asha",
    "get",
    "halving",
    "hyperband",
    "make_scheduler",
    "names",
    "pb2",
    "pbt",
]
