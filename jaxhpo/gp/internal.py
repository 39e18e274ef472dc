"""What other rooms of the package need of `gp`, and no user: free to change."""

from jaxhpo.gp._quasi_newton import Minimum as Minimum
from jaxhpo.gp._quasi_newton import minimize_box as minimize_box
