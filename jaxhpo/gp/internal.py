"""What the other subpackages use of `gp`; not public, free to change."""

from jaxhpo.gp._quasi_newton import Minimum as Minimum
from jaxhpo.gp._quasi_newton import minimize_box as minimize_box
