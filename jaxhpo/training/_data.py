"""Arrays of examples: checks before training, and the minibatch as a function of key and step."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxhpo._checks import check_count, fail


def as_examples(where: str, argument: str, data: Any) -> tuple[Any, int]:
    """Requires a pytree of arrays with one common leading length and returns both.

    Args:
        where: the function to name in errors.
        argument: the argument to name in errors.
        data: pytree of arrays, each `[num_examples, ...]`.

    Returns:
        `(data as jax arrays, num_examples)`.

    Raises:
        ValueError: no arrays, an array without a leading axis, no examples, or lengths that differ.
        TypeError: a leaf that is not a numeric array.
    """
    treedef: Any = jax.tree.structure(data)
    leaves = jax.tree_util.tree_flatten_with_path(data)[0]
    if not leaves:
        raise fail(where, argument, "a pytree of arrays", data)
    lengths: dict[str, int] = {}
    arrays = []
    for path, given in leaves:
        name = argument + jax.tree_util.keystr(path)
        leaf = _as_array(where, name, given)
        arrays.append(leaf)
        if leaf.ndim < 1 or leaf.shape[0] < 1:
            raise fail(where, name, "an array of at least one example", leaf.shape)
        lengths[name] = leaf.shape[0]
    if len(set(lengths.values())) > 1:
        raise fail(where, argument, "arrays of equal leading length", lengths)
    data = treedef.unflatten([_put(leaf) for leaf in arrays])
    return data, next(iter(lengths.values()))


def _as_array(where: str, name: str, given: Any) -> Any:
    """An array of numbers; a torch tensor or a pandas frame, too, becomes one."""
    leaf = given
    if callable(getattr(leaf, "detach", None)):  # torch: off the tape and off its device
        leaf = leaf.detach().cpu()
        leaf = leaf.float() if str(leaf.dtype) == "torch.bfloat16" else leaf  # unknown to NumPy
    if isinstance(leaf, np.ma.MaskedArray) and np.ma.is_masked(leaf):
        raise TypeError(f"{where}: `{name}` must hold no masked numbers; fill them first.")
    if not isinstance(leaf, jax.Array) and hasattr(leaf, "__array__"):
        leaf = np.asarray(leaf)
    dtype: Any = getattr(leaf, "dtype", None)
    is_array = isinstance(leaf, jax.Array | np.ndarray)
    if is_array and (jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_)):
        return leaf
    kind = type(given).__name__
    got = f"{kind} of dtype {dtype}" if is_array else kind
    raise TypeError(f"{where}: `{name}` must be a numeric array, got {got}.{advice(given)}")


def advice(given: Any) -> str:
    """What to pass instead of data that come piece by piece, or in a list."""
    if isinstance(given, str | bytes):
        return ""
    if hasattr(given, "__array__"):
        return " Encode text, categories and dates as numbers first."
    if callable(getattr(given, "toarray", None)):
        return " Pass its `toarray()`."
    if isinstance(given, int | float | complex):
        return " Lists are read as pytrees; pass numpy.asarray(list)."
    if hasattr(given, "__iter__") or hasattr(given, "__getitem__"):
        return (
            " A compiled step draws its batches from arrays in memory: collect them first, for "
            "example jax.tree.map(lambda *parts: numpy.concatenate(parts), *batches), or write "
            "a Training by hand for data that do not fit."
        )
    return ""


def _put(leaf: Any) -> jax.Array:
    """Moves a host array to the device in JAX's own default precision, without a warning."""
    return jnp.asarray(leaf, jax.dtypes.canonicalize_dtype(leaf.dtype))


def check_batch_size(
    where: str, batch_size: Any, num_examples: int, *, part: str = "train"
) -> int | None:
    """Requires None (the full batch) or a batch no larger than the data of this part."""
    if batch_size is None:
        return None
    argument = "batch_size" if part == "train" else f"{part}_batch_size"
    kind = "training" if part == "train" else part
    batch_size = check_count(where, argument, batch_size, 1)
    if batch_size > num_examples:
        expected = f"at most the {num_examples} {kind} examples"
        raise fail(where, argument, expected, batch_size)
    return batch_size


def minibatch(key: jax.Array, data: Any, num_examples: int, batch_size: int | None) -> Any:
    """Draws a minibatch with replacement.

    One block of random bits and a remainder: measured about ten times cheaper on CPU than the
    permutation of an epoch, which a stateless step would have to sort anew at every step. The
    remainder favours some examples by at most `num_examples / 2**32`.

    Args:
        key: `[]` the key of this step.
        data: pytree of arrays `[num_examples, ...]`.
        num_examples: static.
        batch_size: static; None takes all examples in their order.

    Returns:
        The pytree with leading axis `batch_size`.
    """
    if batch_size is None:
        return data
    bits = jax.random.bits(key, (batch_size,), jnp.uint32)
    rows = (bits % np.uint32(num_examples)).astype(jnp.int32)
    # The rows are in bounds by construction, so the gather needs no clamping.
    return jax.tree.map(lambda a: _take(a, rows), data)


def _take(a: jax.Array, rows: jax.Array) -> jax.Array:
    """Some rows, on every device where the axes of the mesh are explicit."""
    mesh: Any = jax.typeof(a).sharding.mesh
    is_explicit = AxisType.Explicit in mesh.axis_types
    spread = NamedSharding(mesh, PartitionSpec()) if is_explicit else None
    return a.at[rows].get(mode="promise_in_bounds", out_sharding=spread)


_whole: contextvars.ContextVar[bool] = contextvars.ContextVar("whole", default=False)


@contextlib.contextmanager
def whole_data() -> Iterator[None]:
    """Has the adapters use data that are split over no mesh, in what is traced inside.

    A sweep splits its trials over a mesh of its own, where every device needs all data.
    """
    token = _whole.set(True)
    try:
        yield
    finally:
        _whole.reset(token)


def wants_whole_data() -> bool:
    """Tells whether code runs inside `whole_data`."""
    return _whole.get()


def gathered(data: Any) -> Any:
    """The same arrays, each whole on one device."""

    def gather(leaf: jax.Array) -> jax.Array:
        is_split = isinstance(leaf.sharding, NamedSharding) and leaf.is_fully_addressable
        return jnp.asarray(np.asarray(leaf)) if is_split else leaf

    with jax.ensure_compile_time_eval():
        return jax.tree.map(gather, data)
