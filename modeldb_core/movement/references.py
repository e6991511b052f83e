"""Which blobs a record names.

There are two answers, each safe for its purpose. *Mentioned* is everything that could be the name of a blob: what is
mentioned is kept by the garbage collector, and copied where it is there. *Needed* are the places of which ModelDB knows
that a blob must be there: artifacts, models, and values that were moved out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modeldb_core.changes import APPEND, CREATE, UPDATE, Change
from modeldb_core.values import BlobReference, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_ONE_DIGEST = re.compile(r"[0-9a-f]{64}")
_ENTRIES = frozenset({"artifacts", "blobs"})
"""Fields that map names to entries with the digest of a blob: of runs, projects and experiments, and of commits."""
_ENTRY = "artifact"
"""The field that is such an entry: of model versions."""


def mentioned_in(text: bytes) -> list[str]:
    """Return everything in the JSON of a payload or document that could be the digest of a blob, each once."""
    if b"\\u00" in text:  # a writer of another make may have escaped what need not be
        from modeldb_core.values import decode

        text = encode(decode(text))
    return [digest.decode() for digest in dict.fromkeys(_DIGEST.findall(text))]


def mentioned_by(change: Change) -> list[str]:
    """Return everything in a change that could be the digest of a blob; nothing once it is erased."""
    if change.payload is None or change.action not in (CREATE, UPDATE):
        return []
    return mentioned_in(change.payload)


def needed_by(change: Change) -> Iterator[str]:
    """Iterate over the digests of the blobs that a change puts into a document."""
    if change.payload is None or change.action == APPEND:
        return
    data = change.data()
    yield from needed_in(data)
    for part in ("set", "put"):
        if isinstance(data.get(part), Mapping):
            yield from needed_in(data[part])


def needed_in(document: Mapping[str, Any]) -> Iterator[str]:
    """Iterate over the digests of the blobs that a document cannot do without."""
    for name in _ENTRIES & document.keys():
        entries = document[name]
        for entry in entries.values() if isinstance(entries, Mapping) else ():
            yield from _digest_of(entry)
    yield from _digest_of(document.get(_ENTRY))
    waiting: list[Any] = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, BlobReference):
            yield value.digest
        elif isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple)):
            waiting.extend(value)


def _digest_of(entry: object) -> Iterator[str]:
    digest = entry.get("digest") if isinstance(entry, Mapping) else None
    if isinstance(digest, str) and _ONE_DIGEST.fullmatch(digest):
        yield digest
