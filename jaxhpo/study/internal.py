"""What other rooms of the package need of `study`, and no user: free to change."""

from jaxhpo.study._batch import build_rows as build_rows
from jaxhpo.study._record import store_rows as store_rows
from jaxhpo.study._trial import as_tuple as as_tuple
from jaxhpo.study._trial import finite_value as finite_value
from jaxhpo.study._trial import params_of as params_of
from jaxhpo.study._trial import status_of as status_of
from jaxhpo.study.reporting._tasks import Recorder as Recorder
from jaxhpo.study.reporting._tasks import Task as Task
from jaxhpo.study.running._failures import failure_reasons as failure_reasons
from jaxhpo.study.running._failures import most_frequent_reason as most_frequent_reason
from jaxhpo.study.running._first_failures import (
    stopped_by_first_failures as stopped_by_first_failures,
)
from jaxhpo.study.running._interrupts import DeferredInterrupts as DeferredInterrupts
from jaxhpo.study.running._interrupts import exit_status as exit_status
from jaxhpo.study.running._modules import import_from as import_from
from jaxhpo.study.running._optimize import OptimizeLoop as OptimizeLoop
from jaxhpo.study.running._results import ObjectiveResult as ObjectiveResult
from jaxhpo.study.running._results import to_objective_result as to_objective_result
from jaxhpo.study.scheduling._pruner import is_pruner as is_pruner
from jaxhpo.study.storage._distributions import internal_value as internal_value
from jaxhpo.study.storage._errors import NoStudiesError as NoStudiesError
from jaxhpo.study.storage._open import open_storage as open_storage
from jaxhpo.study.storage._owner import this_process as this_process
from jaxhpo.study.storage._reports import set_user_attr as set_user_attr
from jaxhpo.study.storage._reserved import Batch as Batch
from jaxhpo.study.storage._rows import CONSTRAINTS_ATTR as CONSTRAINTS_ATTR
from jaxhpo.study.storage._rows import Ending as Ending
from jaxhpo.study.storage._rows import record_compile_seconds as record_compile_seconds
from jaxhpo.study.storage._secrets import redact_url as redact_url
from jaxhpo.study.storage.files._read_store import file_of as file_of
from jaxhpo.study.storage.files._read_store import is_writable as is_writable
from jaxhpo.study.storage.files._read_store import open_to_read as open_to_read
