"""Values as they are recorded: checked, and the large ones moved to the artifact store."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from modeldb_core.errors import InvalidTypeError
from modeldb_core.model.plain_data import SAFE_INTEGER
from modeldb_core.model.values import BlobReference, Value, check_keys, encode, normalize

if TYPE_CHECKING:
    from modeldb_core.stores import BlobInfo

SPILL_BYTES = 1 << 16
"""A value whose written form is longer goes to the artifact store, and the record keeps its digest."""

PutBlob: TypeAlias = "Callable[[BinaryIO], BlobInfo]"
"""Stores the bytes of a stream."""


def recorded(
    values: object,
    section: str,
    put_blob: PutBlob,
    limit: int = SPILL_BYTES,
    *,
    value_of: Callable[[object, str], Value] = normalize,
) -> dict[str, Value]:
    """Return ``values`` as they are recorded.

    Args:
        values: a map from names to values.
        section: what they are, for messages.
        put_blob: takes the large ones.
        limit: bytes from which on a value is large.
        value_of: checks a value, whose name it gets for messages, and returns it as plain data.

    Raises:
        InvalidTypeError: it is not a map, a key is not a string, or a value cannot be stored; the message names it.
        InvalidArgumentError: a key is empty or too long.
    """
    if not isinstance(values, Mapping):
        msg = f"{section} is of type {type(values).__name__}; expected a map from names to values"
        raise InvalidTypeError(msg)
    kept: dict[str, Value] = {}
    others: list[str] = []
    check_keys(values, f"a key of {section}")
    for key, value in values.items():
        kind = type(value)
        # Nothing is called for what nearly all values are.
        if (
            kind is float
            or kind is bool
            or value is None
            or (kind is int and -SAFE_INTEGER <= value <= SAFE_INTEGER)
            or (kind is str and len(value) * 4 < limit and value.isascii())
        ):
            kept[key] = value
        else:
            kept[key] = value_of(value, f"{section}.{key}")
            others.append(key)
    for key in others:  # only now: where something is refused, nothing is stored
        kept[key] = _spilled(kept[key], put_blob, limit)
    return kept


def _spilled(value: Value, put_blob: PutBlob, limit: int) -> Value:
    if value is None or isinstance(value, (bool, float, BlobReference)):
        return value
    data = encode(value)
    if len(data) <= limit:
        return value
    info = put_blob(io.BytesIO(data))
    return BlobReference(info.digest, info.size_bytes)
