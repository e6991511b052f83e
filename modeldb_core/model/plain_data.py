"""Whether a value is, as it is, its own JSON data: most are, and need not be gone through to be written."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SAFE_INTEGER = 2**53 - 1  # the largest integer that a JSON reader with 64-bit floats keeps exactly
MAX_CONTAINERS = 200_000
"""So many maps and lists may lie in a value: more belongs into an artifact, and what leads back to itself has no end."""
_MAX_LEVELS = 100


def is_plain_data(value: Any) -> bool:  # noqa: ANN401 - any value
    """Return whether a value is what :func:`~modeldb_core.model.values.normalize` and ``to_json`` make of it.

    ``False`` may be wrong for text beyond ASCII, which those look at. One call a container, none for what is in it: this is
    asked of everything that is logged.
    """
    return _holds_plain_data((value,), _MAX_LEVELS, itertools.count())


def _holds_plain_data(items: Any, levels: int, containers: Iterator[int]) -> bool:  # noqa: ANN401 - any values
    if next(containers) > MAX_CONTAINERS:
        return False
    for item in items:
        kind = type(item)
        if kind is str:
            if not item.isascii():
                return False
        elif kind is float:
            if item - item != 0.0:  # NaN and infinities
                return False
        elif kind is int:
            if not -SAFE_INTEGER <= item <= SAFE_INTEGER:
                return False
        elif kind is dict:
            for key in item:
                if type(key) is not str or not key.isascii() or key[:1] == "$":
                    return False
            if not levels or not _holds_plain_data(item.values(), levels - 1, containers):
                return False
        elif kind is list:
            if not levels or not _holds_plain_data(item, levels - 1, containers):
                return False
        elif kind is not bool and item is not None:
            return False
    return True


def copy_of(value: Any) -> Any:  # noqa: ANN401 - any value
    """Return a copy of plain data, down to the last map and list in it."""
    kind = type(value)
    if kind is dict:
        return {key: copy_of(item) if type(item) in _CONTAINERS else item for key, item in value.items()}
    if kind is list:
        return [copy_of(item) if type(item) in _CONTAINERS else item for item in value]
    return value


_CONTAINERS = (dict, list)
