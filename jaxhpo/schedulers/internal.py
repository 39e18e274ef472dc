"""What other rooms of the package need of `schedulers`, and no user: free to change."""

from jaxhpo.schedulers._jobs import Standing as Standing
from jaxhpo.schedulers._jobs import check_jobs as check_jobs
from jaxhpo.schedulers._names import check_kind as check_kind
from jaxhpo.schedulers._names import least_trials as least_trials
from jaxhpo.schedulers._names import makes_points as makes_points
from jaxhpo.schedulers._names import resolve as resolve
from jaxhpo.schedulers._proposals import proposes as proposes
from jaxhpo.schedulers._rungs import judges_rungs as judges_rungs
from jaxhpo.schedulers._table import check_levels as check_levels
from jaxhpo.schedulers._table import check_table as check_table
from jaxhpo.schedulers._table import decides_in_ask as decides_in_ask
from jaxhpo.schedulers._table import wants_gradient as wants_gradient
from jaxhpo.schedulers.population_based._explore import real_columns as real_columns
