"""Which blobs a record names.

There are two answers, each safe for its purpose. *Mentioned* is everything that could be the name of a blob: what is
mentioned is kept by the garbage collector, and copied where it is there. *Needed* are the places of which ModelDB knows
that a blob must be there: the fields that the schema says so of, and values that were moved out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from modeldb_core.errors import InvalidArgumentError
from modeldb_core.log.changes import APPEND, CREATE, UPDATE, Change, is_understood
from modeldb_core.model.links import blobs_of
from modeldb_core.model.values import decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


def mentioned_in(text: bytes) -> list[str]:
    """Return everything in the JSON of a payload or document that could be the digest of a blob, each once."""
    if b"\\u00" in text:  # a writer of another make may have escaped what need not be
        with suppress(InvalidArgumentError):  # what a newer client means by it need not be JSON
            text = encode(decode(text))
    return [digest.decode() for digest in dict.fromkeys(_DIGEST.findall(text))]


def mentioned_by(change: Change) -> list[str]:
    """Return everything in a change that could be the digest of a blob; nothing once it is erased."""
    if change.payload is None or (change.action not in (CREATE, UPDATE) and is_understood(change)):
        return []
    return mentioned_in(change.payload)


def needed_by(change: Change) -> Iterator[str]:
    """Iterate over the digests of the blobs that a change puts into a document."""
    if change.payload is None or change.action == APPEND:
        return
    data = change.data()
    yield from blobs_of(change.kind, data)
    for part in ("set", "put"):
        if isinstance(data.get(part), Mapping):
            yield from blobs_of(change.kind, data[part])
