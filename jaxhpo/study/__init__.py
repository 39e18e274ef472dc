"""Durable studies of any Python objective."""

from jaxhpo._progress import Progress as Progress
from jaxhpo.study._cache import enable_compilation_cache as enable_compilation_cache
from jaxhpo.study._errors import StorageError as StorageError
from jaxhpo.study._errors import StudyMismatchError as StudyMismatchError
from jaxhpo.study._load import StoredStudy as StoredStudy
from jaxhpo.study._load import load_study as load_study
from jaxhpo.study._study import Study as Study
from jaxhpo.study._sweep import SweepSummary as SweepSummary
from jaxhpo.study._trial import Trial as Trial

__all__ = [
    "Progress",
    "StorageError",
    "StoredStudy",
    "Study",
    "StudyMismatchError",
    "SweepSummary",
    "Trial",
    "enable_compilation_cache",
    "load_study",
]
