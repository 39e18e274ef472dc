"""What becomes of a call with strange arguments, and what is wrong with that."""

import contextlib
import math
import signal
import warnings

import jax
import numpy as np

from jaxhpo.study import StorageError
from tests.malformed import call

SECONDS = 60
# Refusals; the last one is documented, of storages that cannot be opened.
REFUSALS = (ValueError, TypeError, StorageError)


class Hangs(BaseException):
    """Raised in a call that takes too long."""


@contextlib.contextmanager
def limited(seconds):
    """Ends a call that hangs."""

    def stop(*_):
        raise Hangs(f"no answer within {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fault_of(entry, changed):
    """What is wrong with how a call ends; None where it is right."""
    given = entry.given() if callable(entry.given) else dict(entry.given)
    arguments = {**given, **changed}
    try:
        with limited(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if entry.is_traced:
                jax.eval_shape(lambda: jax.tree.map(_kept, call(entry.function, arguments)))
                return None
            result = call(entry.function, arguments)
    except REFUSALS as error:
        # Of arrays that do not fit each other, the error may name the other one.
        names = [*changed, *given, *entry.names]
        said = "\n".join([str(error), *getattr(error, "__notes__", ())])
        if any(f"`{name}" in said for name in names):
            return None
        return f"names no argument: {type(error).__name__}: {error}"
    except (KeyError, IndexError, AttributeError, ZeroDivisionError, OverflowError) as error:
        # A function of the user's own may stumble over what it was given; then a note says so.
        notes = "".join(getattr(error, "__notes__", ()))
        if any(f"`{name}" in notes for name in changed):
            return None
        return f"{type(error).__name__}: {error}"
    except (Exception, Hangs) as error:
        return f"{type(error).__name__}: {error}"
    if not entry.may_be_nan and _is_finite(arguments) and not _is_number(result):
        return f"a silent NaN in {result!r:.300}"
    return entry.check(result, arguments)


def _kept(leaf):
    return leaf if isinstance(leaf, jax.Array) else np.zeros(())


def _leaves(tree):
    """The floating point numbers of a tree."""
    for leaf in jax.tree.leaves(tree):
        if isinstance(leaf, float):
            yield np.asarray(leaf)
        elif isinstance(leaf, np.ndarray | np.generic | jax.Array):
            with contextlib.suppress(TypeError):
                if np.issubdtype(leaf.dtype, np.floating):
                    yield np.asarray(leaf)


def _is_finite(tree):
    """Whether all numbers of the arguments are, and small enough to be squared in float32."""

    def is_small(leaf):
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            return bool(np.all(np.abs(np.asarray(leaf, float)) < 1e15))
        return True

    return all(is_small(leaf) for leaf in jax.tree.leaves(tree))


def _is_number(tree):
    return not any(np.isnan(leaf).any() for leaf in _leaves(tree))


def in_cube(result, arguments):
    """A check: points of the unit cube."""
    points = np.asarray(result, float)
    inside = bool(np.all((points >= 0.0) & (points <= 1.0)))
    return None if inside else f"outside of the unit cube: {points}"


def nothing(result, arguments):
    """No further check."""


def samples_in_bounds(dimension, arguments):
    """A check of a dimension: what is drawn is in its bounds, and comes back from the cube."""
    import jaxhpo as hpo

    if isinstance(dimension, hpo.space.Dimension) or dimension is not None:
        try:
            space = hpo.Space({"x": dimension})
        except (ValueError, TypeError) as error:
            return None if "`" in str(error) else f"Space: {error}"
        values = space.sample(jax.random.key(0), 8)
        if not _is_number(values):
            return f"NaN in samples {values}"
        unit = np.asarray(space.to_unit(values))
        if (said := in_cube(unit, arguments)) is not None:
            return said
        low, high = arguments.get("low"), arguments.get("high")
        if low is not None and high is not None and math.isfinite(float(low)):
            drawn = np.asarray(values["x"], float)
            eps = 1e-30 + 1e-5 * max(abs(float(low)), abs(float(high)))
            if not np.all((drawn >= float(low) - eps) & (drawn <= float(high) + eps)):
                return f"{drawn} is not in [{low}, {high}]"
    return None
