"""Typed values: what can be logged, and how it is written as JSON without losing anything.

A value is ``None``, a bool, an int of any size, a float (NaN, infinities and -0.0 included), a string, a list of
values, or a map to values, whose keys are strings, numbers, bools or ``None``. NumPy scalars and 0-dimensional tensors
are taken as the Python number they hold, tuples as lists. Nothing else is accepted: a value is never turned into a
string and never cut.

Written form: strict JSON, so that any language reads it. What JSON numbers cannot carry everywhere is tagged:
``{"$float": "NaN" | "Infinity" | "-Infinity"}``, ``{"$int": "9007199254740993"}`` for integers beyond ±(2^53 - 1), and
``{"$blob": "<sha256>", "size": n}`` for a value that was moved to the artifact store. A map key that begins with ``$``
is written with one more ``$``; one that is not a string as ``$`` and its JSON: ``$1``, ``$0.5``, ``$true``, ``$null``.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError
from modeldb_core.model.integers import big_int, check_integer, int_text
from modeldb_core.model.plain_data import MAX_CONTAINERS, SAFE_INTEGER, copy_of, is_plain_data
from modeldb_core.model.scalars import scalar_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Value: TypeAlias = "None | bool | int | float | str | list[Value] | dict[Any, Value] | BlobReference"
Key: TypeAlias = "None | bool | int | float | str"

MAX_KEY_LENGTH = 1024
MAX_NAME_LENGTH = 256  # of containers and runs: a title, not a text
MAX_DEPTH = 100  # far below the recursion limit of any JSON reader
MAX_WRITTEN_DEPTH = MAX_DEPTH + 2  # of what is read: a value's own levels, and those of a tag within


class BlobReference:
    """A value that was too large for the record and lies in the artifact store under ``digest``.

    Attributes:
        digest: SHA-256 of the value's written form, 64 hexadecimal digits.
        size_bytes: length of that form.
    """

    __slots__ = ("digest", "size_bytes")

    def __init__(self, digest: str, size_bytes: int) -> None:
        self.digest = digest
        self.size_bytes = size_bytes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BlobReference) and (self.digest, self.size_bytes) == (other.digest, other.size_bytes)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"BlobReference({self.digest[:12]}…, {self.size_bytes} bytes)"


def is_digest(value: object) -> bool:
    """Return whether ``value`` is the name of a blob: SHA-256 in 64 hexadecimal digits."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def check_key(key: object, what: str = "key") -> str:
    """Return ``key`` if it may name something: a non-empty string of at most 1,024 characters.

    Raises:
        InvalidTypeError: it is not a string.
        InvalidArgumentError: it is empty, too long, or holds a character that no store can keep.
    """
    if type(key) is str and key.isascii() and 0 < len(key) <= MAX_KEY_LENGTH and "\0" not in key:
        return key
    if not isinstance(key, str):
        msg = f"{what} {key!r} is of type {type(key).__name__}; expected a string"
        raise InvalidTypeError(msg)
    if not key:
        msg = f"{what} is empty; expected 1 to {MAX_KEY_LENGTH:,} characters"
        raise InvalidArgumentError(msg)
    if len(key) > MAX_KEY_LENGTH:
        msg = f"{what} {key[:40]!r}… has {len(key):,} characters; at most {MAX_KEY_LENGTH:,} are allowed"
        raise InvalidArgumentError(msg)
    if "\0" in key:
        msg = f"{what} {key!r} holds a NUL character; remove it"
        raise InvalidArgumentError(msg)
    return _check_text(key, what)


def check_keys(keys: Iterable[Any], what: str = "key") -> None:
    """See that each of ``keys`` may name something, as :func:`check_key`; of plain ones all are looked at together."""
    listed = list(keys)
    try:
        text = "".join(listed)
    except TypeError:
        text = "\0"
    if not text.isascii() or "\0" in text or not all(listed) or max(map(len, listed), default=0) > MAX_KEY_LENGTH:
        for key in listed:
            check_key(key, what)


def normalize(value: object, where: str) -> Value:
    """Return ``value`` as plain Python data, equal in every bit; ``where`` names it in errors.

    Raises:
        InvalidTypeError: something in it is of a type that cannot be stored, or a map key is.
        InvalidArgumentError: it is nested deeper than 100 levels, holds more than 200,000 maps and lists, text that is not valid Unicode, or an
            integer of more than 2^20 bits.
    """
    if _is_plain(value):
        return value  # type: ignore[return-value]
    return copy_of(value) if is_plain_data(value) else _normalize(value, where, 0, itertools.count())


def _normalize(value: object, where: str, depth: int, containers: Iterator[int]) -> Value:
    if value is None or isinstance(value, (bool, BlobReference)):
        return value
    if isinstance(value, str):
        return _check_text(str.__str__(value), where)
    if isinstance(value, int):
        return check_integer(int.__int__(value), where)
    if isinstance(value, float):
        return float.__float__(value)  # of a subclass too
    if depth >= MAX_DEPTH:
        msg = f"{where} is nested deeper than {MAX_DEPTH} levels; log it as an artifact instead"
        raise InvalidArgumentError(msg)
    if isinstance(value, (Mapping, list, tuple)) and next(containers) > MAX_CONTAINERS:
        msg = f"{where.partition('.')[0]} holds more than {MAX_CONTAINERS:,} maps and lists, or leads back to itself"
        raise InvalidArgumentError(msg)
    if isinstance(value, Mapping):
        return {
            key if _is_plain(key) else check_key_in_map(key, where): item
            if _is_plain(item)
            else _normalize(item, f"{where}.{key_text(check_key_in_map(key, where))}", depth + 1, containers)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [
            item if _is_plain(item) else _normalize(item, f"{where}[{index}]", depth + 1, containers)
            for index, item in enumerate(value)
        ]
    number = scalar_of(value)
    if number is not None:
        return number
    msg = f"{where} is of type {type_name(value)}, which cannot be stored; {_hint(value)}"
    raise InvalidTypeError(msg)


def _is_plain(value: object) -> bool:
    """Return whether a value is what :func:`normalize` makes of it: most are, and this is many times faster."""
    kind = type(value)
    if kind is str:
        return value.isascii()  # type: ignore[attr-defined, no-any-return]
    return kind in _KEPT or (kind is int and -SAFE_INTEGER <= value <= SAFE_INTEGER)  # type: ignore[operator]


_KEPT = frozenset({bool, float, type(None)})


def check_text(text: object, what: str) -> str:
    """Return ``text`` if it is valid Unicode text, possibly empty.

    Raises:
        InvalidTypeError: it is not a string.
        InvalidArgumentError: it holds a lone surrogate.
    """
    if not isinstance(text, str):
        msg = f"{what} is of type {type_name(text)}; expected text"
        raise InvalidTypeError(msg)
    return _check_text(text, what)


def check_key_in_map(key: object, where: str) -> Key:
    """Return ``key`` if it may be a key inside a map value: a string, possibly empty, a number, a bool or ``None``."""
    if isinstance(key, str):
        return _check_text(str.__str__(key), where)
    if key is None or isinstance(key, bool):
        return key
    if isinstance(key, int):
        return check_integer(int.__int__(key), where)
    if isinstance(key, float):
        return float.__float__(key)
    if (scalar := scalar_of(key)) is not None:
        return scalar
    msg = (
        f"{where} has the key {key!r} of type {type_name(key)}; "
        f"map keys are strings, numbers, booleans or None: use {str(key)!r}"
    )
    raise InvalidTypeError(msg)


def key_text(key: Key) -> str:
    """Return the key of a map value as text, as queries name it: a string as it is, else its JSON."""
    if isinstance(key, str):
        return key
    if isinstance(key, float):
        return repr(key) if math.isfinite(key) else _FLOAT_NAMES.get(key, "NaN")
    return _WORDS[key] if key is None or isinstance(key, bool) else int_text(key)


def key_named(values: Mapping[Any, object], text: str) -> Any:  # noqa: ANN401 - a string, a number, a bool or None
    """Return the key of a map that :func:`key_text` calls ``text``; ``text`` itself where there is none."""
    if text in values:
        return text
    return next((key for key in values if not isinstance(key, str) and key_text(key) == text), text)


def write_key(key: Key) -> str:
    """Return the key of a map value as it is written in JSON."""
    return key if isinstance(key, str) and not key.startswith("$") else "$" + key_text(key)


def read_key(text: str) -> Key:
    """Return the key that :func:`write_key` wrote."""
    if not text.startswith("$") or text.startswith("$$"):
        return text[1:] if text.startswith("$") else text
    rest = text[1:]
    if rest in _KEYS:
        return _KEYS[rest]
    try:
        return big_int(rest) if "x" in rest or not set(rest) & set(".e") else float(rest)
    except ValueError:  # not one of ours
        return rest


def encode(value: Value) -> bytes:
    """Return the written form of a normalized value: strict JSON in UTF-8, without spaces."""
    return json_text(value if is_plain_data(value) else to_json(value)).encode()


def json_text(data: Any) -> str:  # noqa: ANN401 - JSON data
    """Return JSON data, such as :func:`to_json` makes, as strict JSON without spaces."""
    return _ENCODER.encode(data)


def decode(data: bytes | str) -> Value:
    """Return the value that ``data`` holds; the reverse of :func:`encode`.

    Raises:
        InvalidArgumentError: it is not strict JSON in UTF-8, or something in it stands for no value.
    """
    try:
        text = data if isinstance(data, str) else data.decode()
        found = _DECODER.decode(text)
        is_text = data is not text or text.isascii()  # what was decoded has no lone surrogates
        return found if is_text and _is_flat(text) else from_json(found)
    except InvalidArgumentError:
        raise
    except RecursionError:
        msg = _too_deep()
    except ValueError as error:
        msg = f"it is not JSON: {error}"
    raise InvalidArgumentError(msg)


def _is_flat(text: str) -> bool:
    """Return whether JSON stands for the values that it shows: no tag, no text that may be no Unicode, few levels."""
    return '"$' not in text and "\\u" not in text and text.count("{") + text.count("[") <= MAX_WRITTEN_DEPTH


def _no_constant(name: str) -> NoReturn:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_DECODER = json.JSONDecoder(parse_constant=_no_constant)  # Python reads NaN and Infinity by default


def to_json(value: Value) -> Any:  # noqa: ANN401 - JSON data
    """Return ``value`` as data that a strict JSON writer takes."""
    if type(value) is str or value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": _FLOAT_NAMES.get(value, "NaN")}
    if isinstance(value, int):
        return value if -SAFE_INTEGER <= value <= SAFE_INTEGER else {"$int": int_text(value)}
    if isinstance(value, BlobReference):
        return {"$blob": value.digest, "size": value.size_bytes}
    if isinstance(value, dict):
        return {
            key if type(key) is str and key[:1] != "$" else write_key(key): item if type(item) is str else to_json(item)
            for key, item in value.items()
        }
    return [to_json(item) for item in value]


def from_json(data: Any) -> Value:  # noqa: ANN401 - JSON data
    """Return the value that JSON ``data`` stands for; the reverse of :func:`to_json`.

    Raises:
        InvalidArgumentError: something in it stands for no value: a tag that says nothing, text that is not valid
            Unicode, an integer of more than 2^20 bits, or more levels than a value has.
    """
    return _from_json(data, MAX_WRITTEN_DEPTH)


def _from_json(data: Any, levels: int) -> Value:  # noqa: ANN401 - JSON data
    if isinstance(data, str):
        return data if data.isascii() else _check_text(data, "a text")
    if isinstance(data, dict):
        if not levels:
            raise InvalidArgumentError(_too_deep())
        for tag, read in _TAGS.items():
            if tag in data:
                return read(data)
        return {
            read_key(key if key.isascii() else _check_text(key, "a key")): _from_json(item, levels - 1)
            for key, item in data.items()
        }
    if isinstance(data, list):
        if not levels:
            raise InvalidArgumentError(_too_deep())
        return [_from_json(item, levels - 1) for item in data]
    return data  # type: ignore[no-any-return]


def _too_deep() -> str:
    return f"it is nested deeper than {MAX_DEPTH} levels, which no value is"


def _tagged_float(data: Mapping[str, Any]) -> float:
    text = data["$float"]
    if len(data) != 1 or text not in _FLOATS:
        raise _meaningless("$float", text)
    return float(text.replace("Infinity", "inf"))


def _tagged_int(data: Mapping[str, Any]) -> int:
    text = data["$int"]
    if len(data) != 1 or not isinstance(text, str):
        raise _meaningless("$int", text)
    return big_int(text)


def _tagged_blob(data: Mapping[str, Any]) -> BlobReference:
    digest, size = data["$blob"], data.get("size")
    if len(data) != 2 or not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise _meaningless("$blob", digest)
    if type(size) is not int or not 0 <= size < 2**63:
        raise _meaningless("size", size)
    return BlobReference(digest, size)


def _meaningless(tag: str, found: object) -> InvalidArgumentError:
    return InvalidArgumentError(f"{tag} is {repr(found)[:80]}, which stands for no value")


_TAGS: Mapping[str, Callable[[Mapping[str, Any]], Value]] = {
    "$float": _tagged_float,
    "$int": _tagged_int,
    "$blob": _tagged_blob,
}
_DIGEST = re.compile("[0-9a-f]{64}")
_FLOAT_NAMES = {math.inf: "Infinity", -math.inf: "-Infinity"}
_FLOATS = ("NaN", *_FLOAT_NAMES.values())
_WORDS: dict[None | bool, str] = {None: "null", True: "true", False: "false"}
_KEYS: Mapping[str, Key] = {
    **{word: key for key, word in _WORDS.items()},
    "NaN": math.nan,
    "Infinity": math.inf,
    "-Infinity": -math.inf,
}


def _check_text(text: str, where: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            msg = f"{where} holds a lone surrogate at index {error.start}, which is not Unicode text; decode it first"
            raise InvalidArgumentError(msg) from None
    return text


def type_name(value: object) -> str:
    """Return the name of the type of a value, as messages name it."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _hint(value: object) -> str:
    if hasattr(value, "tolist"):
        return "pass .tolist(), or log it as an artifact"
    if isinstance(value, (set, frozenset)):
        return "pass a sorted list"
    if isinstance(value, (bytes, bytearray)):
        return "log it as an artifact"
    return "pass numbers, strings, lists and maps"
