"""Programs of a user's functions, kept as long as the functions live and no longer.

What `jax.jit` compiles it keeps, with every function that was an argument and every array that such
a function closes over. Here a user's function travels as a pytree whose structure knows it weakly,
and each combination of functions has a `jax.jit` of its own, dropped with the first of them.
"""

from __future__ import annotations

import collections
import functools
import types
import weakref
from collections.abc import Callable
from typing import Any

import jax
from jax.tree_util import Partial

_MAX_PROGRAMS = 256
"""Combinations of functions that one program is kept for; the oldest goes first."""


class _Same:
    """A weak reference compared by identity, of objects that may have no hash."""

    __slots__ = ("_hash", "_ref")

    def __init__(self, thing: Any) -> None:
        self._ref, self._hash = weakref.ref(thing), id(thing)

    def __call__(self) -> Any:
        return self._ref()

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        thing = self._ref()
        return thing is not None and isinstance(other, _Same) and thing is other._ref()


class Handle:
    """Knows a function weakly; equal where the functions are the same.

    Functions compared by value (callable frozen dataclasses) and those that cannot be referenced
    weakly are held as they are: what has a hash by value holds no arrays in it.
    """

    __slots__ = ("_parts", "is_weak")

    def __init__(self, function: Any) -> None:
        """Takes any function; the handle has a hash if the function has one."""
        parts = _weak_parts(function)
        self.is_weak = parts is not None
        self._parts: tuple[Any, ...] = (function,) if parts is None else parts

    def get(self) -> Any:
        """The function.

        Raises:
            ReferenceError: it is gone.
        """
        if not self.is_weak:
            return self._parts[0]
        found = [part() for part in self._parts]
        if any(part is None for part in found):
            raise ReferenceError("jaxhpo: a pytree's function is gone; keep the pytree itself.")
        return found[0] if len(found) == 1 else types.MethodType(found[1], found[0])

    def when_gone(self, call: Callable[..., Any], *args: Any) -> None:
        """Calls once the function is gone."""
        for part in self._parts if self.is_weak else ():
            finalizer = weakref.finalize(part(), call, *args)
            finalizer.atexit = False

    def __hash__(self) -> int:
        return hash(self._parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and self._parts == other._parts

    def __repr__(self) -> str:
        try:
            function = self.get()
        except ReferenceError:
            return "<gone>"
        return getattr(function, "__qualname__", None) or repr(function)


def _weak_parts(function: Any) -> tuple[Any, ...] | None:
    hashes: Any = type(function).__hash__
    try:
        if isinstance(function, types.MethodType):
            return _Same(function.__self__), weakref.ref(function.__func__)
        return (weakref.ref(function),) if hashes is object.__hash__ else None
    except TypeError:  # no weak reference to it can be made
        return None


@jax.tree_util.register_pytree_node_class
class Function:
    """A user's function, with arguments bound in front, as a callable pytree."""

    __slots__ = ("__weakref__", "args", "function", "keywords")

    def __init__(self, function: Callable[..., Any], *args: Any, **keywords: Any) -> None:
        """Binds `args` and `keywords`, whose leaves are those of the pytree."""
        self.function, self.args, self.keywords = function, args, keywords

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Calls the function."""
        return self.function(*self.args, *args, **self.keywords, **keywords)

    def tree_flatten(self) -> tuple[Any, Handle]:
        """The function is structure."""
        return (self.args, self.keywords), Handle(self.function)

    @classmethod
    def tree_unflatten(cls, handle: Handle, children: Any) -> Function:
        """Puts it together again."""
        made = object.__new__(cls)
        made.function, (made.args, made.keywords) = handle.get(), children
        return made


def as_pytree(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a user's function an argument of `jit`: a callable pytree is one, others become one.

    An equal function is then the same program. One that cannot be hashed compiles on every call.
    """
    if isinstance(function, Partial):
        args, keywords = jax.tree.map(
            lambda part: as_pytree(part) if isinstance(part, Partial) else part,
            (function.args, function.keywords),
            is_leaf=lambda part: isinstance(part, Partial),
        )
        return Function(function.func, *args, **keywords)
    if not jax.tree_util.all_leaves([function]):
        return function
    try:
        hash(function)
    except TypeError:
        return Function(lambda *args, **keywords: function(*args, **keywords))
    return Function(function)


def weakly(function: Function) -> Callable[..., Any]:
    """Calls a function without keeping it: for what a program calls on the host."""
    handle, bound = Handle(function.function), (function.args, function.keywords)

    def call(*args: Any) -> Any:
        return handle.get()(*bound[0], *args, **bound[1])

    return call


Options = tuple[tuple[str, Any], ...]
"""Names and values of the compiler's options."""


def _no_options(*args: Any) -> Options:
    return ()


def jit(
    fun: Callable[..., Any],
    functions_in: tuple[int, ...],
    static_argnums: tuple[int, ...] = (),
    compiler_options: Callable[..., Options] = _no_options,
) -> OwnedJit:
    """`jax.jit` whose programs live as long as the users' functions among the arguments.

    Args:
        fun: a module's function.
        functions_in: positions of arguments that may hold functions as `as_pytree` makes them.
        static_argnums: as for `jax.jit`; hashable values that hold no function of a user.
        compiler_options: gives those of the program for some arguments.

    Returns:
        The compiled function; it takes positional arguments.
    """
    return OwnedJit(fun, functions_in, static_argnums, compiler_options)


_Key = tuple[tuple[Handle, ...], Options]


class OwnedJit:
    """One `jax.jit` for each combination of users' functions, and of the compiler's options."""

    def __init__(
        self,
        fun: Callable[..., Any],
        functions_in: tuple[int, ...],
        static: tuple[int, ...],
        options: Callable[..., Options],
    ) -> None:
        """Compiles nothing yet."""
        self._fun, self._functions_in, self._static = fun, functions_in, static
        self._options = options
        self._programs: collections.OrderedDict[_Key, Any] = collections.OrderedDict()
        self._num_dropped = 0
        functools.update_wrapper(self, fun)

    def __call__(self, *args: Any) -> Any:
        """Runs the program of these functions."""
        return self.program(*args)(*args)

    def program(self, *args: Any) -> Any:
        """The `jax.jit` for the functions in these arguments."""
        looked_in = [args[i] for i in self._functions_in]
        return self._of((_handles(jax.tree.structure(looked_in)), self._options(*args)))

    def _cache_size(self) -> int:
        """Programs compiled so far, as `jax.jit` counts them; dropped ones count."""
        kept = sum(program._cache_size() for program in self._programs.values())
        return self._num_dropped + kept

    def _of(self, key: _Key) -> Any:
        program = self._programs.get(key)
        if program is not None:
            self._programs.move_to_end(key)
            return program
        fun = self._fun

        # A function of its own: JAX keeps traces by it, and drops them with it.
        @functools.wraps(fun)
        def owned(*args: Any) -> Any:
            return fun(*args)

        handles, options = key
        program = self._programs[key] = jax.jit(
            owned, static_argnums=self._static, compiler_options=dict(options) or None
        )
        for handle in handles:
            handle.when_gone(self._drop, key)
        if len(self._programs) > _MAX_PROGRAMS:
            self._drop(next(iter(self._programs)))
        return program

    def _drop(self, key: _Key) -> None:
        program = self._programs.pop(key, None)
        if program is not None:
            self._num_dropped += program._cache_size()


@functools.lru_cache(maxsize=1024)
def _handles(structure: Any) -> tuple[Handle, ...]:
    """The functions that a structure knows, each once, in order."""
    found: dict[Handle, None] = {}

    def look(part: Any) -> None:
        if isinstance(part, Handle):
            found[part] = None
        elif isinstance(part, tuple | list):
            for inner in part:
                look(inner)

    def walk(node: Any) -> None:
        data = node.node_data()
        if data is not None:
            look(data[1])
        for child in node.children():
            walk(child)

    walk(structure)
    return tuple(found)
