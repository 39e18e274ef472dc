"""The search space: a pytree of dimensions, seen as values, as a unit cube and as features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _base, _checks
from jaxhpo._checks.suggest import named_arguments
from jaxhpo._tracing.owned import Handle
from jaxhpo.space import _codec, _flat, _layout
from jaxhpo.space._constraints import all_hold, check_constraints
from jaxhpo.space._describe import describe_constraints, describe_leaves, text_of
from jaxhpo.space._enumerate import count_feasible
from jaxhpo.space._features import active_leaves, cell_ends, feature_columns
from jaxhpo.space._layout import Leaf
from jaxhpo.space._precision import check_fault, dtype_for, fault_of, index_fault_of, sufficient
from jaxhpo.space._sample import check_drawn, sample_unit
from jaxhpo.space._values import real_points, to_numpy
from jaxhpo.space.dimensions._dimension import Array, Discrete

# Constrained spaces up to this size are counted exactly, configuration by configuration.
_COUNTABLE = 2**18


@jax.tree_util.register_pytree_node_class
class Space:
    """A search space over any pytree of dimensions.

    Values have three forms. *Params*: the Python objects that an objective receives, only the
    active branch of a nested choice. *Values*: the same tree with an array a leaf, all branches
    kept; a numeric choice is its number and any other choice its index. *Unit*: points `[..., d]`
    of the unit cube, where samplers live. A space is itself a pytree whose leaves are the bounds,
    so it may be an argument of `jit`, and spaces of equal structure share compiled code.

    Args:
        tree: pytree (dicts, tuples, dataclasses) whose leaves are dimensions, or plain lists, which
            mean `choice(list)`.
        constraints: predicates `values -> bool` on one configuration's values (True: allowed), or
            `forbid({...})`. Every sampler respects them.

    Raises:
        TypeError: a leaf of the tree is neither a dimension nor a list.
        ValueError: an empty tree, duplicate names, a forbidden combination that names no parameter,
            or constraints that leave nothing.

    Example:
        >>> import jax, jaxhpo as hpo
        >>> space = hpo.Space({"lr": hpo.log_uniform(1e-4, 1.0), "opt": ["adam", "sgd"]})
        >>> values = space.sample(jax.random.key(0), 4)
        >>> values["lr"].shape, space.num_dims
        ((4,), 2)
        >>> space.encode({"lr": 0.1, "opt": "sgd"})["opt"]
        array(1, dtype=int32)
    """

    # Whether samplers may propose a configuration of a finite space more than once.
    may_repeat: ClassVar[bool] = False

    @named_arguments
    def __init__(self, tree: Any, *, constraints: Any = ()) -> None:
        self._root, self._leaves = _layout.build_layout(tree)
        self._constraints = check_constraints(constraints, self._leaves)
        if self._constraints and not self._is_traced:
            # In one program: each operation alone would be compiled by itself.
            check_drawn(jax.jit(lambda: sample_unit(self, jax.random.key(0), 1))())

    # -- pytree ------------------------------------------------------------------------------

    def tree_flatten(self) -> tuple[tuple[Any, ...], Any]:
        """Bounds are leaves; everything else is structure."""
        table = tuple((leaf.name, leaf.start, leaf.stop, leaf.conditions) for leaf in self._leaves)
        dimensions = tuple(leaf.dimension for leaf in self._leaves)
        # Users' functions are known weakly: JAX keeps structures for ever.
        constraints = tuple(Handle(item) for item in self._constraints)
        return dimensions, (self._root, table, constraints)

    @classmethod
    def tree_unflatten(cls, structure: Any, dimensions: Any) -> Space:
        """Puts a space together without validation."""
        space = object.__new__(cls)
        space._root, table, constraints = structure
        space._constraints = tuple(handle.get() for handle in constraints)
        space._leaves = tuple(
            Leaf(name, dimension, start, stop, conditions)
            for dimension, (name, start, stop, conditions) in zip(dimensions, table, strict=True)
        )
        return space

    # -- what it is --------------------------------------------------------------------------

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """The table of leaves: name, dimension, unit columns, conditions."""
        return self._leaves

    @property
    def names(self) -> tuple[str, ...]:
        """Dotted path of each leaf."""
        return tuple(leaf.name for leaf in self._leaves)

    @property
    def num_dims(self) -> int:
        """`d`, the number of unit coordinates."""
        return self._leaves[-1].stop

    @property
    def has_static(self) -> bool:
        """Whether a leaf changes the shapes of the program."""
        return _layout.has_static(self._leaves)

    @property
    def is_conditional(self) -> bool:
        """Whether some parameters count in one branch of another only."""
        return any(leaf.conditions for leaf in self._leaves)

    @property
    def has_constraints(self) -> bool:
        """Whether some configurations are not allowed."""
        return bool(self._constraints)

    @property
    def num_levels(self) -> np.ndarray:
        """Levels of each unit coordinate, int64 `[d]`; 0 where continuous. Host side."""
        return _flat.level_counts(self._leaves)

    @property
    def is_categorical(self) -> np.ndarray:
        """Whether each unit coordinate is unordered, bool `[d]`."""
        kinds = [[leaf.dimension.is_categorical] * (leaf.stop - leaf.start) for leaf in self.leaves]
        return np.asarray([kind for row in kinds for kind in row], dtype=bool)

    @property
    def cardinality(self) -> int | None:
        """Number of distinct allowed configurations; None if continuous. Host side.

        Parameters of inactive branches are not counted. With constraints the count is exact up to
        2¹⁸ combinations and ignores the constraints beyond.
        """
        count = _layout.count_configurations(self._root, self._leaves)
        product = int(np.prod(self.num_levels.astype(object)))
        if count is None or not self._constraints or product > _COUNTABLE:
            return count
        return count_feasible(self)

    # -- between the forms -------------------------------------------------------------------

    def from_unit(self, unit: Any) -> Any:
        """Maps unit points `[..., d]` to the values pytree, leading axes kept.

        The values are JAX arrays; they are NumPy's, as of `host_values`, where `unit` is NumPy's
        and a dimension needs more than the device's precision.

        Raises:
            ValueError: another last axis, or a dimension that needs more than that precision.
        """
        is_short = fault_of(self._leaves, jnp.result_type(float)) is not None
        if isinstance(unit, np.ndarray) and is_short:
            return self.host_values(unit)
        unit = real_points("Space.from_unit", unit)
        check_fault("Space.from_unit", fault_of(self._leaves, unit.dtype))
        return self._values("Space.from_unit", unit)

    def host_values(self, unit: Any) -> Any:
        """Maps unit points `[..., d]` to values as a Python objective receives them.

        Args:
            unit: points on the host, of either precision.

        Returns:
            The values pytree in NumPy arrays: float64 and exact integers, whatever the precision
            of the device.
        """
        with np.errstate(all="ignore"):
            return self._values("Space.host_values", np.asarray(unit, np.float64))

    def _values(self, where: str, unit: Any) -> Any:
        if unit.shape[-1:] != (self.num_dims,):
            raise _checks.fail(where, "unit", f"of shape [..., {self.num_dims}]", unit.shape)
        return _codec.pack(self._root, [self._leaf_from_unit(leaf, unit) for leaf in self._leaves])

    def to_unit(self, values: Any) -> Array:
        """Maps the values pytree to unit points `[..., d]`; discrete ones to cell centres.

        Values that are all NumPy's are mapped by NumPy, in float64.
        """
        leaf_values = self._unpack(values)
        batch = _codec.batch_shape(self._leaves, leaf_values)
        arrays = jax.tree.leaves(leaf_values)
        xp = jnp if self._is_traced or any(isinstance(a, jax.Array) for a in arrays) else np
        dtype = np.dtype(np.float64) if xp is np else _codec.real_dtype(leaf_values)
        check_fault("Space.to_unit", fault_of(self._leaves, dtype))
        leaf_values = [jax.tree.map(xp.asarray, value) for value in leaf_values]
        with np.errstate(all="ignore"):
            columns = [
                leaf.dimension.to_unit(value).reshape(*batch, leaf.stop - leaf.start)
                for leaf, value in zip(self._leaves, leaf_values, strict=True)
                if leaf.stop > leaf.start
            ]
        if not columns:
            return xp.zeros((*batch, 0), dtype)
        return xp.concatenate([column.astype(dtype) for column in columns], axis=-1)

    def check_precision(self, where: str) -> None:
        """Requires that programs can hold the values.

        Args:
            where: the public function, for errors.

        Raises:
            ValueError: an interval too narrow beside its offset, or numbers out of reach.
        """
        found = fault_of(self._leaves, jnp.result_type(float))
        check_fault(where, found or index_fault_of(self._leaves))

    @property
    def _is_traced(self) -> bool:
        return any(_checks.is_traced(bound) for bound in jax.tree.leaves(self))

    def snap(self, unit: Array) -> Array:
        """Moves unit points `[..., d]` to their canonical place.

        Discrete coordinates go to the centre of their cell and inactive ones to 0.5 (discrete: the
        first cell's centre), so that two points decode to the same params just if they snap to the
        same place. NaN rows stay NaN.
        """
        unit = jnp.asarray(unit)
        snapped = self._per_leaf(unit, lambda leaf, part: leaf.dimension.snap(part))
        if self.is_conditional:
            first = self._per_leaf(
                jnp.zeros_like(unit), lambda leaf, part: leaf.dimension.snap(part)
            )
            neutral = jnp.where(self._discrete_columns(), first, 0.5)
            snapped = jnp.where(self.active_columns(unit), snapped, neutral)
        return jnp.where(_base.has_proposal(unit)[..., None], snapped, jnp.nan)

    def levels(self, unit: Array) -> Array:
        """Level of each coordinate of unit points, int32 `[..., d]`; 0 where continuous."""
        return self._per_leaf(unit, lambda leaf, part: leaf.dimension.level(part), jnp.int32)

    def from_levels(self, levels: Array, dtype: Any = None) -> Array:
        """Unit points `[..., d]` at the centres of discrete levels; 0.5 where continuous."""
        dtype = dtype or jnp.result_type(float)

        def centre(leaf: Leaf, part: Array) -> Array:
            if isinstance(leaf.dimension, Discrete) and leaf.dimension.is_discrete:
                return leaf.dimension.unit_of_level(part, dtype)
            return jnp.full(part.shape, 0.5, dtype)

        return self._per_leaf(levels, centre, dtype)

    def cell_ends(self, unit: Array) -> tuple[Array, Array]:
        """Both ends of each coordinate's discrete cell, `[..., d]`; continuous: the coordinate."""
        return cell_ends(self._leaves, unit)

    def decode(self, values: Any) -> Any:
        """Turns values into Python params: exact numbers, objects, the active branch only.

        Args:
            values: the values pytree, with one leading axis or none.

        Returns:
            A list of params, or one params where `values` has no batch axis. Host side.
        """
        leaf_values = [to_numpy(value) for value in self._unpack(values)]
        batch = _codec.batch_shape(self._leaves, leaf_values)
        if len(batch) > 1:
            raise _checks.fail("Space.decode", "values", "one batch axis at most", batch)
        n = batch[0] if batch else 1
        rows = _codec.decode_rows(self._root, self._leaves, leaf_values, n)
        return rows if batch else rows[0]

    def encode(self, params: Any, dtype: Any = None) -> Any:
        """Turns params, or a list of them, into values (NumPy arrays); the inverse of `decode`.

        Args:
            params: what an objective receives, or a list of such.
            dtype: of real values. None is JAX's default, or float64 where a dimension needs it.

        Raises:
            ValueError: a parameter is missing, unknown or out of range; the message names it.
        """
        many = self._is_many(params)
        rows = [
            _codec.encode_row(self._root, self._leaves, item)
            for item in (params if many else [params])
        ]
        default = dtype_for(self._leaves, jnp.result_type(float))
        dtype = _checks.check_dtype("Space.encode", "dtype", default if dtype is None else dtype)
        defaults = _codec.default_values(self._leaves, dtype)
        values = _codec.stack_rows(self._root, self._leaves, rows, defaults)
        return values if many else jax.tree.map(lambda array: np.asarray(array[0]), values)

    def flatten_params(self, params: Any, *, is_decoded: bool = False) -> dict[str, Any]:
        """Params as `{name: None | bool | int | float | str}`; unchecked if `decode` made them."""
        return _flat.flatten(self._root, self._leaves, params, is_decoded=is_decoded)

    def unflatten_params(
        self, flat: dict[str, Any], *, others: Mapping[str, Any] | None = None
    ) -> Any:
        """Params from a flat dict; the inverse of `flatten_params`.

        Args:
            flat: name to stored value, of active parameters.
            others: the same of parameters that `flat` may leave out, active or not.

        Returns:
            The params.

        Raises:
            ValueError: an active parameter is missing, or a name of `flat` is unknown or inactive.
        """
        return _flat.unflatten(self._root, self._leaves, flat, {} if others is None else others)

    # -- samples, masks, features ------------------------------------------------------------

    def sample(self, key: Array, n: int) -> Any:
        """Draws `n` configurations from the space's own distribution.

        Args:
            key: a key; consumed.
            n: static number of draws.

        Returns:
            The values pytree with leading axis `n`: NumPy arrays where a dimension needs more than
            the device's precision. Constraints are met by rejection.

        Raises:
            ValueError: no allowed point was found for some row (outside `jit`; inside, real values
                of such a row are NaN).
        """
        key = _checks.check_key("Space.sample", key)
        n = _checks.check_count("Space.sample", "n", n, 1)
        unit = sample_unit(self, key, n)
        if _checks.is_traced(unit):
            return self.from_unit(unit)
        if self._constraints:
            check_drawn(unit)
        is_exact = fault_of(self._leaves, unit.dtype) is None
        return self.from_unit(unit) if is_exact else self.host_values(unit)

    def active(self, values: Any) -> Any:
        """Which leaves count, as a pytree of bools `[...]` of the values' structure."""
        leaf_values = self._unpack(values)
        masks = active_leaves(
            self._leaves, leaf_values, _codec.batch_shape(self._leaves, leaf_values)
        )
        return _codec.pack(self._root, masks)

    def active_columns(self, unit: Array) -> Array:
        """Which unit coordinates count, bool `[..., d]`."""
        unit = jnp.asarray(unit)
        if not self.is_conditional:
            return jnp.ones(unit.shape, bool)
        selectors = {selector for leaf in self._leaves for selector, _ in leaf.conditions}
        leaf_values = [
            self._leaf_from_unit(leaf, unit) if at in selectors else None
            for at, leaf in enumerate(self._leaves)
        ]
        masks = active_leaves(self._leaves, leaf_values, unit.shape[:-1])
        columns = [
            jnp.repeat(mask[..., None], leaf.stop - leaf.start, axis=-1)
            for leaf, mask in zip(self._leaves, masks, strict=True)
        ]
        return jnp.concatenate(columns, axis=-1)

    def allows(self, unit: Array) -> Array:
        """Whether unit points `[..., d]` meet all constraints, bool `[...]`.

        Where a dimension needs more than the device's precision, its constraints are evaluated in
        float64, on the values that a Python objective receives.
        """
        unit = jnp.asarray(unit)
        with sufficient(self._leaves):
            dtype = dtype_for(self._leaves, unit.dtype)
            return self.feasible(self.from_unit(unit.astype(dtype)))

    def feasible(self, values: Any) -> Array:
        """Whether each configuration meets all constraints, bool `[...]`."""
        leaf_values = self._unpack(values)
        batch = _codec.batch_shape(self._leaves, leaf_values)
        active = active_leaves(self._leaves, leaf_values, batch)
        with sufficient(self._leaves):
            return all_hold(self._constraints, self._leaves, values, leaf_values, active, batch)

    def features(self, unit: Array, categories: str = "onehot") -> Array:
        """What a model should see of unit points.

        Args:
            unit: `[..., d]`.
            categories: static; "onehot" gives an unordered coordinate one column per option,
                "index" gives it one column with the option's number (for Hamming distances).

        Returns:
            `[..., f]`, in [0, 1] but for indices. Discrete numbers lie at their cell's centre (half
            a step inside either end), numeric ordinals at their own place, and inactive
            coordinates at 0.5 (one-hot and index: 0).
        """
        where = "Space.features"
        categories = _checks.check_choice(where, "categories", categories, ("onehot", "index"))
        unit = real_points(where, unit, self.num_dims)
        return feature_columns(self._leaves, unit, self.active_columns(unit), categories)

    def describe(self) -> list[dict[str, Any]]:
        """The space as JSON-ready records, one per leaf; equal for equal spaces."""
        return describe_leaves(self._leaves)

    def describe_constraints(self) -> list[str]:
        """One text per constraint: a forbidden combination as it is, a function by its name."""
        return describe_constraints(self._constraints)

    def __repr__(self) -> str:
        return text_of(self._leaves, self._constraints)

    # -- parts -------------------------------------------------------------------------------

    def _leaf_from_unit(self, leaf: Leaf, unit: Array) -> Any:
        shape = leaf.dimension.shape if leaf.stop > leaf.start else (0,)
        part = unit[..., leaf.start : leaf.stop].reshape((*unit.shape[:-1], *shape))
        return leaf.dimension.from_unit(part)

    def _per_leaf(self, array: Array, function: Any, dtype: Any = None) -> Array:
        array = jnp.asarray(array)
        parts = [
            function(leaf, array[..., leaf.start : leaf.stop]).astype(dtype or array.dtype)
            for leaf in self._leaves
            if leaf.stop > leaf.start
        ]
        return jnp.concatenate(parts, axis=-1) if parts else array.astype(dtype or array.dtype)

    def _discrete_columns(self) -> Array:
        kinds = [[leaf.dimension.is_discrete] * (leaf.stop - leaf.start) for leaf in self._leaves]
        return jnp.asarray([kind for row in kinds for kind in row], dtype=bool)

    def _is_many(self, params: Any) -> bool:
        return _codec.is_many(self._root, self._leaves, params)

    def _unpack(self, values: Any) -> list[Any]:
        try:
            return _codec.unpack(self._root, values, [None] * len(self._leaves))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"Space: `values` must have the space's structure with the leaves {self.names}, "
                f"got {jax.tree.structure(values)}."
            ) from error
