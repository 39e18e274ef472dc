"""What other rooms of the package need of `plots`, and no user: free to change."""

from jaxhpo.plots._figure import CROWD as CROWD
from jaxhpo.plots._figure import GOOD as GOOD
from jaxhpo.plots._figure import TEXT as TEXT
from jaxhpo.plots._figure import make_axes as make_axes
