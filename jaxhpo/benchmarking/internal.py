"""What other rooms of the package need of `benchmarking`, and no user: free to change."""

from jaxhpo.benchmarking._draw import draw_curves as draw_curves
from jaxhpo.benchmarking._draw import draw_ranks as draw_ranks
