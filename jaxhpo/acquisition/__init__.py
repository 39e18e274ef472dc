"""Where to look next: acquisition functions and the search for their maximum."""

from jaxhpo.acquisition._analytic import Score as Score
from jaxhpo.acquisition._analytic import average as average
from jaxhpo.acquisition._analytic import log_cdf_and_slope as log_cdf_and_slope
from jaxhpo.acquisition._analytic import log_ei as log_ei
from jaxhpo.acquisition._analytic import log_h_and_slope as log_h_and_slope
from jaxhpo.acquisition._analytic import log_pi as log_pi
from jaxhpo.acquisition._analytic import ucb as ucb
from jaxhpo.acquisition._candidates import candidate_points as candidate_points
from jaxhpo.acquisition._chebyshev import Chebyshev as Chebyshev
from jaxhpo.acquisition._chebyshev import log_chebyshev_ei as log_chebyshev_ei
from jaxhpo.acquisition._column_embedding import embedding_of as embedding_of
from jaxhpo.acquisition._ehvi import Boxes as Boxes
from jaxhpo.acquisition._ehvi import free_boxes as free_boxes
from jaxhpo.acquisition._ehvi import log_ehvi as log_ehvi
from jaxhpo.acquisition._embedding import Embedding as Embedding
from jaxhpo.acquisition._entropy import log_mes as log_mes
from jaxhpo.acquisition._optimize import Found as Found
from jaxhpo.acquisition._optimize import optimize as optimize
from jaxhpo.acquisition._problem import Box as Box
from jaxhpo.acquisition._problem import Budget as Budget
from jaxhpo.acquisition._problem import Problem as Problem
from jaxhpo.acquisition._problem import ScoreFn as ScoreFn

__all__ = [
    "Box",
    "Boxes",
    "Budget",
    "Chebyshev",
    "Embedding",
    "Found",
    "Problem",
    "Score",
    "ScoreFn",
    "average",
    "candidate_points",
    "embedding_of",
    "free_boxes",
    "log_cdf_and_slope",
    "log_chebyshev_ei",
    "log_ehvi",
    "log_ei",
    "log_h_and_slope",
    "log_mes",
    "log_pi",
    "optimize",
    "ucb",
]
