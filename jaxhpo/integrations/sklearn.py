"""scikit-learn: a search estimator with our samplers, and estimators that train under `vmap`."""

from jaxhpo.integrations._extras import require as _require

_require("sklearn", "sklearn")

from jaxhpo.integrations._sklearn_jax import JaxEstimator as JaxEstimator  # noqa: E402
from jaxhpo.integrations._sklearn_search import SearchCV as SearchCV  # noqa: E402
