"""scikit-learn: a search estimator with our samplers, and estimators that train under `vmap`."""

from jaxhpo.integrations._extras import require as _require

_require("sklearn", "sklearn")

from jaxhpo.integrations.sklearn._jax_estimator import JaxEstimator as JaxEstimator  # noqa: E402
from jaxhpo.integrations.sklearn._search import SearchCV as SearchCV  # noqa: E402

__all__ = ["JaxEstimator", "SearchCV"]
