"""Durable studies of any Python objective."""

from jaxhpo.ask_tell import enable_compilation_cache as enable_compilation_cache
from jaxhpo.progress import Progress as Progress
from jaxhpo.study._load import StoredStudy as StoredStudy
from jaxhpo.study._load import load_study as load_study
from jaxhpo.study._study import Study as Study
from jaxhpo.study._trial import Trial as Trial
from jaxhpo.study.reporting._report import Report as Report
from jaxhpo.study.running.sweeping._sweep_summary import SweepSummary as SweepSummary
from jaxhpo.study.scheduling._terminator import Terminator as Terminator
from jaxhpo.study.storage._errors import StorageError as StorageError
from jaxhpo.study.storage._errors import StudyMismatchError as StudyMismatchError

__all__ = [
    "Progress",
    "Report",
    "StorageError",
    "StoredStudy",
    "Study",
    "StudyMismatchError",
    "SweepSummary",
    "Terminator",
    "Trial",
    "enable_compilation_cache",
    "load_study",
]
