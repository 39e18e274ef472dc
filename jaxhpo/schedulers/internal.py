"""What other rooms of the package need of `schedulers`, and no user: free to change."""

from jaxhpo.schedulers._names import least_trials as least_trials
from jaxhpo.schedulers._names import makes_points as makes_points
from jaxhpo.schedulers._names import resolve as resolve
