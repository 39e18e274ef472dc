"""Several objectives: who dominates whom, the front, and the volume it dominates.

Everything is minimised. A row with a NaN or an infinite value is a failed trial: it dominates
nothing and is on no front.
"""

from jaxhpo.pareto._directions import reference_directions as reference_directions
from jaxhpo.pareto._dominance import crowding_distance as crowding_distance
from jaxhpo.pareto._dominance import front_mask as front_mask
from jaxhpo.pareto._dominance import ranks as ranks
from jaxhpo.pareto._hypervolume import hypervolume as hypervolume

__all__ = ["crowding_distance", "front_mask", "hypervolume", "ranks", "reference_directions"]
