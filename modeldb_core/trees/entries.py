"""Entries: what a tree says of a location, a small map of values.

Three keys mean something to ModelDB: ``digest`` names a blob of the same artifact store that the entry needs, ``tree`` the
root of a further tree there, ``size_bytes`` is added up. What lies below ``observed`` is kept but is no part of the content: a
time of modification, or where a file was found. It may name a blob and a tree too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from modeldb_core.errors import IntegrityError, InvalidArgumentError, InvalidTypeError
from modeldb_core.model.values import (
    BlobReference,
    Value,
    decode,
    is_digest,
    normalize,
    to_json,
    type_name,
)

Entry: TypeAlias = Mapping[str, Any]
"""A map of values, such as ``{"digest": "…", "size_bytes": 5, "observed": {"modified_at": …}}``."""

OBSERVED, SIZE, DIGEST, TREE = "observed", "size_bytes", "digest", "tree"
MAX_ENTRY_BYTES = 16 << 10
"""Of an entry in its written form, without what was observed."""
MAX_OBSERVED_BYTES = 2 << 10
MAX_SIZE = 2**63 - 1
_NOTHING = b"{}"
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True)


class Record(NamedTuple):
    """An entry as it stands in a leaf.

    Attributes:
        key: of its location.
        size: one more than its ``size_bytes``; 0 where it has none.
        identity: the JSON of the entry without ``size_bytes`` and ``observed``, keys sorted.
        observed: the JSON of ``observed``; empty where there is nothing.
    """

    key: bytes
    size: int
    identity: bytes
    observed: bytes

    @property
    def size_bytes(self) -> int:
        """What it adds to the size of a tree."""
        return max(0, self.size - 1)


def record_of(key: bytes, location: str, entry: object) -> Record:
    """Return an entry as it stands in a leaf.

    Raises:
        InvalidTypeError: it is not a map with texts as keys, or holds what cannot be stored.
        InvalidArgumentError: ``size_bytes``, ``digest`` or ``tree`` is not one, or the entry is too large.
    """
    if not isinstance(entry, Mapping) or not all(isinstance(name, str) for name in entry):
        msg = f"the entry at {location!r:.200} is of type {type_name(entry)}; expected a map with texts as keys"
        raise InvalidTypeError(msg)
    rest = dict(entry)
    observed, size = rest.pop(OBSERVED, None), rest.pop(SIZE, None)
    if observed is not None and not isinstance(observed, Mapping):
        msg = f"'observed' of the entry at {location!r:.200} is of type {type_name(observed)}; expected a map"
        raise InvalidTypeError(msg)
    if size is not None and (type(size) is not int or not 0 <= size <= MAX_SIZE):
        msg = f"'size_bytes' of the entry at {location!r:.200} is {size!r:.80}; expected an integer of at least 0"
        raise InvalidArgumentError(msg)
    _check_names(location, rest)
    identity = _written(rest, f"the entry at {location!r:.200}", MAX_ENTRY_BYTES)
    if not observed:
        return Record(key, 0 if size is None else size + 1, identity, b"")
    _check_names(location, observed)
    kept = _written(observed, f"'observed' of the entry at {location!r:.200}", MAX_OBSERVED_BYTES)
    return Record(key, 0 if size is None else size + 1, identity, kept)


def entry_of(record: Record) -> dict[str, Any]:
    """Return what a leaf says of a location.

    Raises:
        IntegrityError: it is not what :func:`record_of` makes.
    """
    entry = _read(record.identity, record.key)
    if OBSERVED in entry or SIZE in entry or record.observed == _NOTHING:
        msg = f"the entry of {record.key[:80]!r} says in its JSON what stands beside it, or that nothing was observed"
        raise IntegrityError(msg)
    if record.size:
        entry[SIZE] = record.size - 1
    if record.observed:
        entry[OBSERVED] = _read(record.observed, record.key)
    return entry


def blobs_in(entry: Entry) -> Iterator[str]:
    """Iterate over the digests of the blobs that an entry needs."""
    return _named(entry, DIGEST, with_values=True)


def blob_of(entry: Entry) -> str | None:
    """Return the digest of the blob that holds what an entry stands for; ``None``: that was not kept.

    It is part of the entry, or was only observed: then the same content is one entry, whether it is kept or not.
    """
    for part in (entry, entry.get(OBSERVED)):
        value = part.get(DIGEST) if isinstance(part, Mapping) else None
        if isinstance(value, str) and is_digest(value):
            return value
    return None


def trees_in(entry: Entry) -> Iterator[str]:
    """Iterate over the roots of the trees that an entry names."""
    return _named(entry, TREE, with_values=False)


def _named(entry: Entry, name: str, *, with_values: bool) -> Iterator[str]:
    for part in (entry, entry.get(OBSERVED)):
        value = part.get(name) if isinstance(part, Mapping) else None
        if isinstance(value, str) and is_digest(value):
            yield value
    waiting: list[Any] = [entry] if with_values else []
    while waiting:
        value = waiting.pop()
        if isinstance(value, BlobReference):
            yield value.digest
        elif isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _check_names(location: str, part: Mapping[str, Any]) -> None:
    for name in (DIGEST, TREE):
        if name in part and not is_digest(part[name]):
            msg = (
                f"{name!r} of the entry at {location!r:.200} is {part[name]!r:.80}; expected the SHA-256 of what is in the "
                "artifact store, 64 hexadecimal digits in lower case; call it otherwise where it names something else"
            )
            raise InvalidArgumentError(msg)


def _written(values: Mapping[str, Any], where: str, most: int) -> bytes:
    text = _canonical(normalize(values, where))
    if len(text) > most:
        msg = f"{where} has {len(text):,} bytes as JSON; at most {most:,} are allowed: put it into a file and name its digest"
        raise InvalidArgumentError(msg)
    return text


def _canonical(value: Value) -> bytes:
    return _ENCODER.encode(to_json(value)).encode()


def _read(text: bytes, key: bytes) -> dict[str, Any]:
    if text == _NOTHING:
        return {}
    try:
        value = decode(text)
        is_plain = (
            isinstance(value, dict) and all(isinstance(name, str) for name in value) and _canonical(value) == text
        )
    except InvalidArgumentError as error:
        msg = f"the entry of {key[:80]!r} cannot be read: {error}"
        raise IntegrityError(msg) from error
    if not is_plain:
        msg = f"the entry of {key[:80]!r} is not the sorted JSON of a map"
        raise IntegrityError(msg)
    return value  # type: ignore[return-value]  # a map
