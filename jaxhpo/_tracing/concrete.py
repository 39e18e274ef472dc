"""Traced values where Python needs a number: one short error in place of a trace through JAX."""

from __future__ import annotations

import contextlib
import pathlib
import re
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo._checks import is_traced

_ERRORS = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
# JAX says the same with plain exceptions where a shape, a slice or a key of a dict is traced.
_WORDS = re.compile(
    r"Shapes must be 1D|concrete value|must have static|must be static"
    r"|(not hashable|unhashable|unsupported format|object cannot be interpreted).*Tracer"
    r"|Tracer.*(not hashable|unhashable|unsupported format|cannot be interpreted)"
)
_OURS = str(pathlib.Path(__file__).parent)
_JAX = str(pathlib.Path(jax.__file__).parent)
_LIBRARIES = str(pathlib.Path(jax.__file__).parents[1])
_MARK = "_jaxhpo_explained"


@contextlib.contextmanager
def explain_concrete(
    where: str, name: str, call: Callable[[Any], Any], hparams: Any, argument: str = "hparams"
) -> Iterator[None]:
    """Turns JAX's errors about traced values that must be known into one sentence.

    Args:
        where: the function to name in errors.
        name: the user's function to name in errors.
        call: that function of the hyperparameters alone; called again only to find the culprit.
        hparams: the hyperparameters, traced.
        argument: what the user calls them.

    Raises:
        TypeError: in place of the tracing error.
    """
    try:
        yield
    except Exception as error:
        if getattr(error, _MARK, False) or not _is_about_tracing(error):
            raise
        found = [argument + path for path in _culprits(call, hparams)]
        what = " and ".join(f"`{path}`" for path in found) or "a traced value"
        told = TypeError(
            f"{where}: `{name}` needs {what} as a Python number{_place(error)}, but "
            f"hyperparameters are traced: one program serves all values.{_advice(error)}"
        )
        setattr(told, _MARK, True)
    else:
        return
    raise told


def _is_about_tracing(error: Exception) -> bool:
    if isinstance(error, _ERRORS):
        return True
    return isinstance(error, TypeError | IndexError | ValueError) and bool(
        _WORDS.search(str(error))
    )


def _culprits(call: Callable[[Any], Any], hparams: Any) -> list[str]:
    """Which hyperparameters make the call fail although all others are known."""
    leaves, treedef = jax.tree_util.tree_flatten_with_path(hparams)

    def fails(index: int) -> bool:
        def alone(leaf: Any) -> None:
            with jax.ensure_compile_time_eval():
                known = [leaf if i == index else _known(a) for i, (_, a) in enumerate(leaves)]
                call(jax.tree.unflatten(treedef, known))

        leaf = leaves[index][1]
        try:
            jax.eval_shape(alone, jax.ShapeDtypeStruct(leaf.shape, leaf.dtype))
        except Exception as error:
            return _is_about_tracing(error)
        return False

    traced = [i for i, (_, leaf) in enumerate(leaves) if is_traced(leaf)]
    found = [jax.tree_util.keystr(leaves[i][0]) for i in traced if fails(i)]
    # What fails whichever is known is not about the hyperparameters.
    return [] if len(found) == len(leaves) > 1 else found


def _known(leaf: Any) -> Any:
    """Some value in a traced leaf's place: one is a shape, a count and a rate."""
    return jnp.ones(leaf.shape, leaf.dtype) if is_traced(leaf) else leaf


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Where it happened, innermost first, without JAX and this package."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f for f in reversed(frames) if not f.filename.startswith((_OURS, _JAX))]


def _place(error: BaseException) -> str:
    """The user's own line where there is one, else that of the library."""
    frames = _frames(error)
    for frame in [f for f in frames if not f.filename.startswith(_LIBRARIES)] + frames:
        return f" ({frame.name}, {pathlib.Path(frame.filename).name}:{frame.lineno})"
    return ""


def _advice(error: BaseException) -> str:
    """What to write instead, by the library that asked for the number."""
    files = [frame.filename for frame in _frames(error)]
    if any(re.search(r"optax.schedules", name) for name in files):
        return (
            " optax's schedules compare numbers in Python; those of `hpo.training.schedules` take "
            "traced ones."
        )
    if any(re.search(r"flax.*(stochastic|dropout)", name) for name in files):
        return " flax's dropout compares its rate in Python; `hpo.training.dropout` traces it."
    return (
        " Declare what sets a shape, a count or a branch as `hpo.static(...)` and search it with "
        "`population.sweep` or a Study, which compile one program a value; or write the code with "
        "jnp.where, jax.lax.cond or a mask."
    )
