"""GPyOpt's `domain` and `constraints` as a `Space`, and its rows of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxhpo._checks import describe, fail
from jaxhpo.space import Space
from jaxhpo.space.readers import from_gpyopt

_WHERE = "BayesianOptimization"


class Domain:
    """The variables of a search: named in our space, columns of numbers in GPyOpt's arrays.

    Attributes:
        space: over positions of categories and arms, so that its values are GPyOpt's numbers.
        num_columns: d of GPyOpt's arrays.
    """

    def __init__(
        self,
        domain: Sequence[Mapping[str, Any]],
        constraints: Sequence[Mapping[str, Any]] | None,
    ) -> None:
        """Reads the variables, then the constraints.

        Args:
            domain: GPyOpt's list.
            constraints: GPyOpt's list, or None.

        Raises:
            TypeError: no list of dicts.
            ValueError: a variable or a constraint that cannot be read.
        """
        from_gpyopt(domain)  # says what is wrong
        self._variables = [{"name": f"var_{i}", **v} for i, v in enumerate(domain)]
        numbered = [_numbered(variable) for variable in self._variables]
        tree_space = from_gpyopt(numbered)
        self.num_columns = sum(_width(variable) for variable in self._variables)
        if not constraints:
            self.space = tree_space
            return
        tests = [self._constraint(i, item) for i, item in enumerate(constraints)]
        self.space = Space(
            {leaf.name: leaf.dimension for leaf in tree_space.leaves}, constraints=tests
        )

    def rows(self, values: Any) -> np.ndarray:
        """GPyOpt's rows `[n, d]` of a values pytree."""
        decoded = self.space.decode(values)
        return np.asarray([self._row(params) for params in decoded], np.float64)

    def params(self, rows: np.ndarray) -> list[dict[str, Any]]:
        """Our params of GPyOpt's rows.

        Raises:
            ValueError: rows of another width, or an arm that does not exist.
        """
        if rows.ndim != 2 or rows.shape[1] != self.num_columns:
            expected = f"of shape [n, {self.num_columns}]"
            raise fail(_WHERE, "X", expected, f"shape {rows.shape}")
        return [
            {
                variable["name"]: self._value(variable, part)
                for variable, part in zip(self._variables, self._split(row), strict=True)
            }
            for row in rows
        ]

    def named(self, row: np.ndarray) -> dict[str, Any]:
        """One row by names, categories as themselves and arms as tuples."""
        found = {}
        for variable, part in zip(self._variables, self._split(row), strict=True):
            if variable.get("type") == "categorical":
                chosen = [variable["domain"][int(i)] for i in part]
            elif variable.get("type") == "bandit":
                chosen = [tuple(part.tolist())]
            else:
                chosen = part.tolist()
            found[variable["name"]] = chosen[0] if len(chosen) == 1 else chosen
        return found

    def _split(self, row: np.ndarray) -> list[np.ndarray]:
        ends = np.cumsum([_width(variable) for variable in self._variables])
        return np.split(row, ends[:-1])

    def _row(self, params: Mapping[str, Any]) -> np.ndarray:
        parts = []
        for variable in self._variables:
            value = params[variable["name"]]
            if variable.get("type") == "bandit":
                value = variable["domain"][value]
            parts.append(np.ravel(np.asarray(value, np.float64)))
        return np.concatenate(parts)

    @staticmethod
    def _value(variable: Mapping[str, Any], part: np.ndarray) -> Any:
        kind = variable.get("type", "continuous")
        if kind == "bandit":
            arms = np.asarray(variable["domain"], np.float64)
            same = np.flatnonzero((arms == part).all(axis=1))
            if same.size == 0:
                raise fail(_WHERE, "X", f"an arm of {variable['name']}", part.tolist())
            return int(same[0])
        values = [int(v) for v in part] if kind == "categorical" else part.tolist()
        return values[0] if len(values) == 1 else values

    def _constraint(self, index: int, item: Any) -> Any:
        """A test of one configuration's values, from the text of a constraint."""
        argument = f"constraints[{index}]"
        if not isinstance(item, Mapping) or not isinstance(item.get("constraint"), str):
            raise TypeError(
                f"{_WHERE}: `{argument}` must be a dict whose 'constraint' is a text in x, "
                f"got {describe(item)}."
            )
        text = item["constraint"]
        try:
            code = compile(text, "<constraint>", "eval")
            found = jnp.shape(_evaluate(code, jnp.zeros((1, self.num_columns))))
        except Exception as error:
            raise fail(_WHERE, argument, f"an expression in x[:, i] ({error})", text) from error
        if found not in ((), (1,)):
            raise fail(_WHERE, argument, "one number per row of x", text)

        def allowed(values: Any) -> Any:
            columns = []
            for variable in self._variables:
                value = jnp.ravel(jnp.asarray(values[variable["name"]]))
                if variable.get("type") == "bandit":
                    arms = jnp.asarray(np.asarray(variable["domain"], np.float32))
                    value = arms[value[0]]
                columns.append(value.astype(jnp.result_type(float)))
            return jnp.reshape(_evaluate(code, jnp.concatenate(columns)[None]) <= 0, ())

        allowed.__qualname__ = text
        return allowed


def _evaluate(code: Any, x: Any) -> Any:
    return eval(code, {"np": jnp, "x": x})


def _numbered(variable: Mapping[str, Any]) -> dict[str, Any]:
    """The variable with positions in place of categories and arms."""
    kind = variable.get("type", "continuous")
    if kind not in ("categorical", "bandit"):
        return dict(variable)
    size = variable.get("dimensionality", 1) if kind == "categorical" else 1
    positions = tuple(range(len(variable["domain"])))
    return {
        "name": variable["name"],
        "type": "categorical",
        "domain": positions,
        "dimensionality": size,
    }


def _width(variable: Mapping[str, Any]) -> int:
    if variable.get("type") == "bandit":
        return len(variable["domain"][0])
    return int(variable.get("dimensionality", 1))
