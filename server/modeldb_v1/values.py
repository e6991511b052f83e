"""Values of ours and ``google.protobuf.Value``, and lists of keys with values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from modeldb_core.model.plain_data import SAFE_INTEGER
from modeldb_core.model.values import BlobReference, Value, decode

if TYPE_CHECKING:
    from modeldb_core.stores import ArtifactStore
    from modeldb_v1.schema import Fields

STRING, NUMBER, LIST, BLOB = range(4)
"""``ValueTypeEnum.ValueType``."""
_NON_FINITE = ((math.isnan, "NaN"), (lambda value: value > 0, "Infinity"), (lambda value: value < 0, "-Infinity"))


def from_value(message: Fields) -> Value:
    """Return what a message holds; a number without a fraction is an integer, as the original client takes it."""
    kind = message.WhichOneof("kind")
    if kind == "number_value":
        number = float(message.number_value)
        return int(number) if number.is_integer() and abs(number) <= SAFE_INTEGER else number
    if kind == "list_value":
        return [from_value(each) for each in message.list_value.values]
    if kind == "struct_value":
        return {key: from_value(each) for key, each in message.struct_value.fields.items()}
    if kind in ("bool_value", "string_value"):
        value: bool | str = getattr(message, kind)
        return value
    return None


def to_value(message: Fields, value: Any) -> None:  # noqa: ANN401 - of any type
    """Write a value into a message. What JSON has no number for becomes its name: "NaN", "Infinity"."""
    if value is None:
        message.null_value = 0
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, (int, float)):
        _to_number(message, value)
    elif isinstance(value, str):
        message.string_value = value
    elif isinstance(value, Mapping):
        message.struct_value.SetInParent()
        for key, each in value.items():
            to_value(message.struct_value.fields[str(key)], each)
    elif isinstance(value, BlobReference):
        message.string_value = f"sha256:{value.digest}"
    else:
        message.list_value.SetInParent()
        for each in value:
            to_value(message.list_value.values.add(), each)


def _to_number(message: Fields, value: float) -> None:
    try:
        number = float(value)
    except OverflowError:
        message.string_value = str(value)
        return
    if math.isfinite(number):
        message.number_value = number
    else:
        message.string_value = next(name for test, name in _NON_FINITE if test(number))


def value_type(value: object) -> int:
    """Return the type that a message states beside a value."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return NUMBER
    return LIST if isinstance(value, (list, tuple)) else STRING


def fill_pairs(messages: Fields, values: Mapping[str, Any], artifacts: ArtifactStore) -> None:
    """Add a key with its value for each of ``values``; one that was moved to the artifact store is read from there."""
    for key, value in values.items():
        pair = messages.add(key=key)
        read = whole(value, artifacts)
        to_value(pair.value, read)
        pair.value_type = value_type(read)


def pairs_of(messages: Iterable[Any]) -> list[tuple[str, Value]]:
    """Return keys and values as messages have them."""
    return [(pair.key, from_value(pair.value)) for pair in messages]


def whole(value: Any, artifacts: ArtifactStore) -> Any:  # noqa: ANN401 - of any type
    """Return a value; one that was moved to the artifact store is read from there."""
    if not isinstance(value, BlobReference):
        return value
    with artifacts.open(value.digest) as stream:
        return decode(stream.read())
