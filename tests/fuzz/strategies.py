"""What an argument is drawn from, by its kind; a kind is read from the signature."""

import inspect
import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.malformed import VALUES

TEXTS = st.sampled_from(["", "a", "random", "lr", "x", "minimize", "\0", "ü", "a" * 300, "gp\n"])
INTEGERS = st.integers(-3, 12) | st.sampled_from([2**31, -(2**40), 2**70, True, np.int8(3), 3.0])
FLOATS = st.one_of(
    st.floats(-10.0, 10.0), st.floats(), st.integers(-2, 3),
    st.sampled_from([0.0, 1e-320, 1e300, math.nan, math.inf, np.float32(0.5), np.float64(2.0)]),
)  # fmt: skip
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6)
ARRAYS = st.one_of(
    arrays.arrays(np.float64, SHAPES, elements=st.floats(-2.0, 2.0)),
    arrays.arrays(np.float32, SHAPES, elements=st.floats(width=32)),
    arrays.arrays(np.int64, SHAPES, elements=st.integers(-5, 5)),
    arrays.arrays(np.bool_, SHAPES),
    st.lists(st.floats(0.0, 1.0), max_size=4),
    st.floats(-1.0, 1.0),
)
ANYTHING = st.sampled_from(list(VALUES.values())) | FLOATS | INTEGERS | TEXTS | ARRAYS
DEEP = st.recursive(
    ANYTHING,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)

KINDS = {
    "Array": ARRAYS, "ndarray": ARRAYS, "int": INTEGERS, "float": FLOATS, "str": TEXTS,
    "bool": st.booleans() | INTEGERS,
}  # fmt: skip


def of_parameter(function, name):
    """What to draw an argument from: mostly of its kind, at times anything."""
    parameter = inspect.signature(function).parameters.get(name)
    said = "" if parameter is None else str(parameter.annotation)
    own = [strategy for kind, strategy in KINDS.items() if kind in said]
    if "None" in said:
        own.append(st.none())
    return st.one_of(*own, *own, DEEP)


def changes(function, names, fewest=1):
    """Some arguments of a call, to be put in the place of good ones."""
    return st.lists(st.sampled_from(names), min_size=fewest, max_size=3, unique=True).flatmap(
        lambda chosen: st.fixed_dictionaries({n: of_parameter(function, n) for n in chosen})
    )
