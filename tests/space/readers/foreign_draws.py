"""How a reader is compared with the library that it reads: same draws, same support."""

import math

import jax
import numpy as np
from scipy import stats

NUM_DRAWS = 4000


def draw(space, num_draws=NUM_DRAWS):
    return space.decode(space.sample(jax.random.key(7), num_draws))


def same_law(ours, theirs):
    """Two-sample Kolmogorov-Smirnov at a fixed seed; 1.95 √(2/n) is its 0.1 % critical value."""
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    limit = 1.95 * math.sqrt(1 / len(ours) + 1 / len(theirs))
    assert stats.ks_2samp(ours, theirs).statistic < limit


def same_frequencies(ours, theirs, ignoring=()):
    """Asserts the same values, each within 4.5 standard errors of the other sample's frequency.

    The values in `ignoring` may differ in frequency, where the reader documents that they do; the
    others are compared among themselves.
    """
    ours, theirs = [repr(value) for value in ours], [repr(value) for value in theirs]
    assert set(ours) == set(theirs)
    left_out = {repr(value) for value in ignoring}
    ours, theirs = ([v for v in side if v not in left_out] for side in (ours, theirs))
    for value in set(ours):
        first, second = ours.count(value) / len(ours), theirs.count(value) / len(theirs)
        spread = math.sqrt(second * (1 - second) * (1 / len(ours) + 1 / len(theirs)))
        assert abs(first - second) <= 4.5 * spread, value
