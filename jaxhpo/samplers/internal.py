"""What the other subpackages use of `samplers`; not public, free to change."""

from jaxhpo.samplers._batches import Batching as Batching
from jaxhpo.samplers._batches import batching_of as batching_of
from jaxhpo.samplers._batches import learns as learns
from jaxhpo.samplers._batches import startup_of as startup_of
from jaxhpo.samplers._batches import warn_of_large_batch as warn_of_large_batch
from jaxhpo.samplers._description import describe as describe
from jaxhpo.samplers._traits import check_objectives as check_objectives
from jaxhpo.samplers._traits import constraint_settings as constraint_settings
from jaxhpo.samplers._traits import names_with as names_with
from jaxhpo.samplers._traits import needs_outcome_structure as needs_outcome_structure
from jaxhpo.samplers._traits import settings_for as settings_for
from jaxhpo.samplers._traits import traits_of as traits_of
from jaxhpo.samplers.space_filling._random import plain_columns as plain_columns
