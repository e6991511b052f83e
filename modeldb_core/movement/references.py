"""Which blobs a record names.

There are two answers, each safe for its purpose. *Mentioned* is everything that could be the name of a blob: what is
mentioned is kept by the garbage collector, and copied where it is there. *Needed* are the places of which ModelDB knows
that a blob must be there: the fields that the schema says so of, and values that were moved out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import IntegrityError, InvalidArgumentError, NotFoundError
from modeldb_core.log.changes import APPEND, CREATE, UPDATE, Change, is_understood
from modeldb_core.model.links import blobs_of, trees_of
from modeldb_core.model.schema import KINDS
from modeldb_core.model.values import decode, encode
from modeldb_core.trees import MAX_NODE_BYTES, is_node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.stores import ArtifactStore

_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_HEAD_BYTES = 16


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
    """Iterate over the digests of the blobs that a change puts into a document, but for the nodes of trees."""
    for part in _documents_in(change):
        yield from blobs_of(change.kind, part)


def trees_needed_by(change: Change) -> Iterator[tuple[str, str]]:
    """Iterate over the content trees that a change puts into a document: field and root."""
    for part in _documents_in(change):
        yield from trees_of(change.kind, part)


def likely_trees_in(change: Change) -> list[str]:
    """Return everything in a change that nobody here understands, or in fields of a newer version, that could be a tree."""
    if change.payload is None or change.action == APPEND:
        return []
    if not is_understood(change):
        return mentioned_in(change.payload)
    found: list[str] = []
    for part in _documents_in(change):
        found += likely_trees_of(change.kind, part)
    return found


def likely_trees_of(kind: str, document: Mapping[str, Any]) -> list[str]:
    """Return everything in fields of a document that nobody here knows that could be the root of a tree."""
    known = KINDS[kind].stored if kind in KINDS else {}
    unknown = {name: value for name, value in document.items() if name not in known}
    return mentioned_in(encode(unknown)) if unknown else []


def looks_like_a_node(artifacts: ArtifactStore, digest: str) -> bool:
    """Return whether a blob is there and looks like a node of a tree."""
    try:
        if artifacts.stat(digest).size_bytes > MAX_NODE_BYTES:
            return False
        with artifacts.open(digest) as stream:
            return is_node(stream.read(_HEAD_BYTES))
    except (NotFoundError, IntegrityError):
        return False


def _documents_in(change: Change) -> Iterator[Mapping[str, Any]]:
    if change.payload is None or change.action == APPEND:
        return
    data = change.data()
    yield data
    for part in ("set", "put"):
        if isinstance(data.get(part), Mapping):
            yield data[part]
