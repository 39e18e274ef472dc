"""Optuna: every sampler of this package in a study of theirs.

`JaxhpoSampler("gp")` is a `sampler=` of `optuna.create_study`. The objective may be define-by-run.
`import_study` takes a study of theirs over; `optimize_with_pruner` runs their pruners on ours, and
`FoldPruner` is a `pruner=` of theirs with our rule.
"""

from jaxhpo.integrations.optuna._bridge import import_study as import_study
from jaxhpo.integrations.optuna._bridge import optimize_with_pruner as optimize_with_pruner
from jaxhpo.integrations.optuna._pruner import FoldPruner as FoldPruner
from jaxhpo.integrations.optuna._sampler import JaxhpoSampler as JaxhpoSampler

__all__ = ["FoldPruner", "JaxhpoSampler", "import_study", "optimize_with_pruner"]
