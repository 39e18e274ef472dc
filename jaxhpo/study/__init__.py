"""Durable studies of any Python objective."""

from jaxhpo._progress import Progress as Progress
from jaxhpo.study._cache import enable_compilation_cache as enable_compilation_cache
from jaxhpo.study._errors import StorageError as StorageError
from jaxhpo.study._errors import StudyMismatchError as StudyMismatchError
from jaxhpo.study._study import Study as Study
from jaxhpo.study._trial import Trial as Trial
