"""What other rooms of the package need of `benchmarking`, and no user: free to change."""

from jaxhpo.benchmarking._draw import draw_curves as draw_curves
from jaxhpo.benchmarking._draw import draw_ranks as draw_ranks
from jaxhpo.benchmarking.leaderboard._pareto import draw_pareto as draw_pareto
from jaxhpo.benchmarking.leaderboard._write import markdown_of as markdown_of
