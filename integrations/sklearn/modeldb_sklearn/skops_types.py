"""Lets skops write what mainstream pipelines hold and it does not know: columns of pandas.

``ColumnTransformer([("num", StandardScaler(), X.select_dtypes("number").columns)])`` keeps the index that it was given.
skops has a table of functions by type, to which its own support of other libraries is added, and a node for objects that
are made by calling their type with arguments. Both are used as they are, so plain skops reads such a file too, once it is
told to trust these types.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

HARMLESS = frozenset({"pandas.Index", "pandas.Series", "pandas.array", "pandas.api.typing.NAType"})
"""Types that are known to be harmless besides those that skops knows: built from values of harmless types."""


def support_pandas() -> None:
    """Let skops write the indexes, columns and arrays of pandas, and ``NA``, where the program has imported it."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not hasattr(pandas, "Series"):
        return
    from skops.io._utils import _get_state

    if pandas.Index not in _get_state.registry:
        _get_state.register(pandas.Index)(_index_state)
        _get_state.register(pandas.Series)(_series_state)
        _get_state.register(pandas.api.extensions.ExtensionArray)(_array_state)
        _get_state.register(type(pandas.NA))(_missing_state)


def _index_state(index: Any, context: Any) -> dict[str, Any]:  # noqa: ANN401
    return _state("Index", (_values(index), _dtype(index), False, index.name), context)


def _series_state(column: Any, context: Any) -> dict[str, Any]:  # noqa: ANN401
    return _state("Series", (_values(column), column.index, _dtype(column), column.name), context)


def _array_state(array: Any, context: Any) -> dict[str, Any]:  # noqa: ANN401
    """``X.columns.values`` is one from pandas 3 on; rebuilt as skops rebuilds objects, it ends the process that loads it."""
    return _state("array", (_values(array), _dtype(array)), context)


def _missing_state(_: Any, context: Any) -> dict[str, Any]:  # noqa: ANN401
    return {**_state("NAType", (), context), "__module__": "pandas.api.typing"}


def _state(name: str, arguments: tuple[Any, ...], context: Any) -> dict[str, Any]:  # noqa: ANN401
    from skops.io._utils import get_state

    state: Callable[..., dict[str, Any]] = get_state
    return {
        "__class__": name,
        "__module__": "pandas",
        "__loader__": "ConstructorFromReduceNode",
        "content": state(arguments, context),
    }


def _values(values: Any) -> list[Any]:  # noqa: ANN401
    """Return the values as Python's own; raises what skops raises where they are dates, categories or nested."""
    from skops.io.exceptions import UnsupportedTypeException

    found: list[Any] = values.tolist()
    is_plain = all(item is None or isinstance(item, (str, bool, int, float)) for item in found)
    if getattr(values, "nlevels", 1) != 1 or not is_plain or _dtype(values) == "category":
        msg = f"{type(values).__name__} of pandas with values of the type {values.dtype}"
        raise UnsupportedTypeException(msg)
    return found


def _dtype(values: Any) -> str:  # noqa: ANN401
    return str(values.dtype)
