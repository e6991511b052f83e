"""Values as they are recorded: checked, and the large ones moved to the artifact store."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from modeldb_core.errors import InvalidTypeError
from modeldb_core.model.values import SAFE_INTEGER, BlobReference, Value, check_key, encode, normalize

if TYPE_CHECKING:
    from modeldb_core.stores import BlobInfo

SPILL_BYTES = 1 << 16
"""A value whose written form is longer goes to the artifact store, and the record keeps its digest."""

PutBlob: TypeAlias = "Callable[[BinaryIO], BlobInfo]"
"""Stores the bytes of a stream."""


def recorded(values: object, section: str, put_blob: PutBlob, limit: int = SPILL_BYTES) -> dict[str, Value]:
    """Return ``values`` as they are recorded.

    Args:
        values: a map from names to values.
        section: what they are, for messages.
        put_blob: takes the large ones.
        limit: bytes from which on a value is large.

    Raises:
        InvalidTypeError: it is not a map, a key is not a string, or a value cannot be stored; the message names it.
        InvalidArgumentError: a key is empty or too long.
    """
    if not isinstance(values, Mapping):
        msg = f"{section} is of type {type(values).__name__}; expected a map from names to values"
        raise InvalidTypeError(msg)
    checked = {check_key(key, f"a key of {section}"): value for key, value in values.items()}
    kept = {key: normalize(value, f"{section}.{key}") for key, value in checked.items()}
    return {key: _spilled(value, put_blob, limit) for key, value in kept.items()}


def _spilled(value: Value, put_blob: PutBlob, limit: int) -> Value:
    if value is None or isinstance(value, (bool, float, BlobReference)):
        return value
    if isinstance(value, str) and len(value) * 4 < limit:
        return value
    if isinstance(value, int) and abs(value) <= SAFE_INTEGER:
        return value
    data = encode(value)
    if len(data) <= limit:
        return value
    info = put_blob(io.BytesIO(data))
    return BlobReference(info.digest, info.size_bytes)
