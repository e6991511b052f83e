"""How a single item of a data set is written for its digest: by its type and its content, or not at all.

One byte names the type, and what it holds follows. ``number`` and ``text`` are those of :mod:`modeldb_core.tracking.description.digests`.

- ``n``: missing; ``t``/``f``: a bool; ``i``: an integer as decimal text; ``d``: a float in 8 bytes; ``c``: a complex number
  in 16; ``r``: a float with more digits than that, as the texts of numerator and denominator; ``s``: a text; ``b``: bytes;
- ``l``: a list or tuple: count and items; ``z``: a set: count and its items ordered by their bytes; ``m``: a map: count,
  then its keys and values, ordered by the bytes of the keys; ``g``: a range: count, first and step as items;
- ``v``: a value of a known type: two texts, the name of the type and how it is written (times by ISO 8601);
- ``e``: a member of an enumeration, ``k``: a data class or named tuple: the name of the class as text, then the member's
  name as text, or a map of the fields;
- ``o``: data within data, such as an array or a table: its digest, 32 bytes.

Everything else has no written form.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import struct
import uuid
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from modeldb_core.errors import ModelDBError
from modeldb_core.model.integers import int_text

Nested: TypeAlias = Callable[[object], bytes | None]

_NUMBER = struct.Struct("<Q")
_FLOAT = struct.Struct("<d")
_NAN = _FLOAT.pack(float("nan"))
_MAPS = (dict, OrderedDict, defaultdict, MappingProxyType)
_OF_PYTHON = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class that a program made, and no built-in
_BARE: Mapping[type, Callable[[Any], Any]] = {str: str.__str__, int: int.__int__, float: float.__float__}


class UnreadableContentError(ModelDBError, TypeError):
    """Something holds an object whose content cannot be read, so that no digest can be made."""


def encode_item(item: object, nested: Nested | None = None) -> bytes:
    """Return the written form of one item.

    Args:
        nested: returns the digest of data within data as 32 bytes, ``None`` for what is not data.

    Raises:
        UnreadableContentError: it, or something in it, has none.
    """
    cls = type(item)
    if cls is str:
        return b"s" + _sized(item.encode("utf-8", "surrogatepass"))  # type: ignore[attr-defined]
    if item is None:
        return b"n"
    if cls is bool or cls is np.bool_:
        return b"t" if item else b"f"
    if cls is int:
        return b"i" + _text(int_text(item))  # type: ignore[arg-type]
    if cls is float:
        return b"d" + (_FLOAT.pack(item) if item == item else _NAN)
    if cls in (list, tuple):
        return b"l" + _NUMBER.pack(len(item)) + b"".join([encode_item(part, nested) for part in item])  # type: ignore[arg-type, attr-defined]
    if isinstance(item, np.generic):
        return _encode_scalar(item, nested)
    return _encode_container(item, nested)


def _encode_scalar(item: np.generic, nested: Nested | None) -> bytes:
    """Write a scalar of NumPy: as the same value of Python where there is one."""
    if isinstance(item, (np.datetime64, np.timedelta64, np.void)):
        if np.isnat(item) if not isinstance(item, np.void) else False:
            return b"n"
        return _encode_nested(np.asarray(item), nested)
    if isinstance(item, np.floating):
        return _encode_float(item)
    if isinstance(item, np.complexfloating):
        value = complex(item)
        if item != value and not np.isnan(item):
            raise _unreadable(item)
        return b"c" + encode_item(value.real)[1:] + encode_item(value.imag)[1:]
    return encode_item(item.item(), nested)


def _encode_float(item: Any) -> bytes:  # noqa: ANN401
    value = float(item)
    if np.isnan(item) or item == value:
        return encode_item(value)
    numerator, denominator = item.as_integer_ratio()
    return b"r" + _text(int_text(numerator)) + _text(int_text(denominator))


def _encode_container(item: object, nested: Nested | None) -> bytes:
    cls = type(item)
    if isinstance(item, enum.Enum):
        return b"e" + _text(cls.__qualname__) + _text(item.name or "") + encode_item(item.value, nested)
    if cls in _MAPS:
        return b"m" + _encode_map(item, nested)  # type: ignore[arg-type]
    if cls in (set, frozenset):
        return b"z" + _encode_sorted([encode_item(part, nested) for part in item])  # type: ignore[attr-defined]
    if cls is memoryview and (item.format not in ("B", "c") or item.ndim != 1):  # type: ignore[attr-defined]
        return _encode_nested(np.asarray(item), nested)
    if cls in (bytes, bytearray, memoryview):
        return b"b" + _sized(bytes(item))  # type: ignore[call-overload]
    if cls is complex:
        return b"c" + encode_item(item.real)[1:] + encode_item(item.imag)[1:]  # type: ignore[attr-defined]
    if cls is range:
        first, step = (item[0], item.step if len(item) > 1 else 1) if item else (0, 1)  # type: ignore[index, arg-type, attr-defined]
        return b"g" + b"".join(encode_item(part) for part in (len(item), first, step))  # type: ignore[arg-type]
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        fields = {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
        return _encode_fields(item, fields, nested)
    if isinstance(item, tuple) and hasattr(item, "_asdict"):
        return _encode_fields(item, item._asdict(), nested)
    if isinstance(item, Mapping) and isinstance(item, dict) and _is_bunch(item):
        return b"m" + _encode_map(item, nested)
    return _encode_value(item, nested)


def _encode_value(item: object, nested: Nested | None) -> bytes:
    name = type(item).__qualname__
    package = type(item).__module__.partition(".")[0]
    if package == "pandas" and name in ("NAType", "NaTType"):
        return b"n"
    for known, written in _VALUES:
        if isinstance(item, known) and not _has_more(item, known):
            return b"v" + _text(known.__qualname__) + _text(written(item))
    if package == "pandas":
        if name == "Period":
            return b"v" + _text("Period") + _text(item.freqstr) + encode_item(item.ordinal)  # type: ignore[attr-defined]
        if name == "Interval":
            ends = (item.left, item.right, item.closed)  # type: ignore[attr-defined]
            return b"v" + _text("Interval") + b"".join(encode_item(end, nested) for end in ends)
    for bare, plain in _BARE.items():
        if isinstance(item, bare) and not own_attributes(item):
            return encode_item(plain(item), nested)
    return _encode_nested(item, nested)


def _encode_nested(item: object, nested: Nested | None) -> bytes:
    digest = nested(item) if nested is not None else None
    if digest is None:
        raise _unreadable(item)
    return b"o" + digest


def _encode_fields(item: object, fields: Mapping[str, object], nested: Nested | None) -> bytes:
    if not own_attributes(item).keys() <= fields.keys() or _holds_items(item):
        raise _unreadable(item)  # it holds more than its class declares
    return b"k" + _text(type(item).__qualname__) + _encode_map(fields, nested)


def _encode_map(item: Mapping[Any, Any], nested: Nested | None) -> bytes:
    return _encode_sorted([encode_item(key, nested) + encode_item(value, nested) for key, value in item.items()])


def _encode_sorted(encoded: list[bytes]) -> bytes:
    return _NUMBER.pack(len(encoded)) + b"".join(sorted(encoded))


def own_attributes(item: object) -> dict[str, Any]:
    """Return what an object holds in attributes of its own, those of slots included, and is not ``None``."""
    found = dict(getattr(item, "__dict__", None) or {})
    for cls in type(item).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            private = slot.startswith("__") and not slot.endswith("__")
            name = f"_{cls.__name__.lstrip('_')}{slot}" if private else slot
            if name not in ("__dict__", "__weakref__"):
                found[name] = getattr(item, name, None)
    return {name: value for name, value in found.items() if value is not None}


def _holds_items(item: object) -> bool:
    """Whether a data class is a list, a map or another built-in as well, which holds more than fields."""
    return not isinstance(item, tuple) and any(not cls.__flags__ & _OF_PYTHON for cls in type(item).__mro__[:-1])


def _is_bunch(item: dict[Any, Any]) -> bool:
    """Whether it is a map of scikit-learn, whose attributes are its keys."""
    own = getattr(item, "__dict__", {}).keys() - {"_deprecated_key_to_warnings"}
    return type(item).__module__.partition(".")[0] == "sklearn" and not own


def _has_more(item: object, known: type) -> bool:
    """Whether an object of a class derived from a known one may hold more than that one writes."""
    return type(item) is not known and type(item).__module__.partition(".")[0] not in ("pandas", "pathlib")


def _duration(item: Any) -> str:  # noqa: ANN401
    micros = (item.days * 86_400 + item.seconds) * 1_000_000 + item.microseconds
    return int_text(micros * 1000 + getattr(item, "nanoseconds", 0))


def _zoned(item: Any) -> str:  # noqa: ANN401 - a datetime or a time
    return f"{item.isoformat()} {zone_name(item.tzinfo)}" if item.tzinfo is not None else str(item.isoformat())


def zone_name(zone: Any) -> str:  # noqa: ANN401 - a tzinfo of whatever library
    """Return by what a time zone is known: its name in the IANA database, else its fixed distance from UTC."""
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)
    if isinstance(name, str):
        return name
    distance = zone.utcoffset(None)
    if distance is None:
        raise _unreadable(zone)
    return "UTC" if not distance else f"UTC{distance.total_seconds():+.6f}"


_VALUES: Iterable[tuple[type, Callable[[Any], str]]] = (
    (datetime.datetime, _zoned),
    (datetime.date, datetime.date.isoformat),
    (datetime.time, _zoned),
    (datetime.timedelta, _duration),
    (decimal.Decimal, str),
    (fractions.Fraction, str),
    (uuid.UUID, str),
    (pathlib.PurePath, pathlib.PurePath.as_posix),
)


def _unreadable(item: object) -> UnreadableContentError:
    cls = type(item)
    return UnreadableContentError(
        f"it holds a {cls.__module__}.{cls.__qualname__}, whose content is not known; convert it to numbers, texts, lists, "
        "maps or arrays"
    )


def _text(value: str) -> bytes:
    return _sized(value.encode("utf-8", "surrogatepass"))


def _sized(data: bytes) -> bytes:
    return _NUMBER.pack(len(data)) + data
