"""Optuna: every sampler of this package in a study of theirs.

`JaxhpoSampler("gp")` is a `sampler=` of `optuna.create_study`. The objective may be define-by-run.
`import_study` takes a study of theirs over; `FoldPruner` is a `pruner=` of theirs with our rule.
Their pruners end trials of our studies as well: `Study.optimize(…, scheduler=pruner)`.
"""

from jaxhpo.integrations.optuna._bridge import import_study as import_study
from jaxhpo.integrations.optuna._pruner import FoldPruner as FoldPruner
from jaxhpo.integrations.optuna._sampler import JaxhpoSampler as JaxhpoSampler

__all__ = ["FoldPruner", "JaxhpoSampler", "import_study"]
