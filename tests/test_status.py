"""One rule for what becomes of a trial, on the host and in compiled code."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import Status
from jaxhpo._status import status_of_rows, status_of_values

NUMBERS = (-1.0, 0.0, 2.0, math.nan, math.inf, -math.inf)


def test_compiled_code_and_the_host_judge_alike():
    rows = list(itertools.product(NUMBERS, NUMBERS, NUMBERS))
    array = np.asarray(rows)
    value, violation = jnp.asarray(array[:, :1]), jnp.asarray(array[:, 1:])
    found = jax.jit(lambda v, b: status_of_rows(v, b))(value, violation)
    assert found.dtype == jnp.int32
    assert found.tolist() == [status_of_values(row[:1], row[1:]) for row in rows]
    free = jax.jit(lambda v: status_of_rows(v))(value)
    assert free.tolist() == [status_of_values(row[:1]) for row in rows]


def test_the_value_decides_first_then_what_is_not_known():
    assert status_of_values([math.nan], [1.0]) is Status.FAILED
    assert status_of_values([1.0, math.inf], []) is Status.FAILED
    assert status_of_values([1.0], [math.nan]) is Status.INFEASIBLE
    assert status_of_values([1.0], [math.nan, 1.0], is_unknown=Status.FAILED) is Status.FAILED
    assert status_of_values([1.0], [0.0, -1.0]) is Status.COMPLETE
