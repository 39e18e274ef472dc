"""Exact Gaussian processes on masked buffers of fixed capacity."""

from jaxhpo.gp._fit import Fit as Fit
from jaxhpo.gp._fit import fit as fit
from jaxhpo.gp._kernels import Kernel as Kernel
from jaxhpo.gp._kernels import matern52 as matern52
from jaxhpo.gp._kernels import rbf as rbf
from jaxhpo.gp._kernels import squared_distances as squared_distances
from jaxhpo.gp._likelihood import log_marginal_likelihood as log_marginal_likelihood
from jaxhpo.gp._likelihood import negative_log_posterior as negative_log_posterior
from jaxhpo.gp._model import Data as Data
from jaxhpo.gp._model import Hyperparameters as Hyperparameters
from jaxhpo.gp._model import Prior as Prior
from jaxhpo.gp._model import covariance as covariance
from jaxhpo.gp._model import default_prior as default_prior
from jaxhpo.gp._model import unravel as unravel
from jaxhpo.gp._paths import Paths as Paths
from jaxhpo.gp._paths import draw_paths as draw_paths
from jaxhpo.gp._posterior import Posterior as Posterior
from jaxhpo.gp._posterior import Prediction as Prediction
from jaxhpo.gp._posterior import condition as condition
from jaxhpo.gp._precision import argmax as argmax
from jaxhpo.gp._precision import cast as cast
from jaxhpo.gp._quasi_newton import Minimum as Minimum
from jaxhpo.gp._quasi_newton import minimize_box as minimize_box
from jaxhpo.gp._warp import SHARPNESS as SHARPNESS
from jaxhpo.gp._warp import Warped as Warped
from jaxhpo.gp._warp import warp as warp

__all__ = [
    "SHARPNESS",
    "Data",
    "Fit",
    "Hyperparameters",
    "Kernel",
    "Minimum",
    "Paths",
    "Posterior",
    "Prediction",
    "Prior",
    "Warped",
    "argmax",
    "cast",
    "condition",
    "covariance",
    "default_prior",
    "draw_paths",
    "fit",
    "log_marginal_likelihood",
    "matern52",
    "minimize_box",
    "negative_log_posterior",
    "rbf",
    "squared_distances",
    "unravel",
    "warp",
]
