"""Nodes in an artifact store: reading them through a small cache, and putting them in batches."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

from modeldb_core.errors import IntegrityError
from modeldb_core.stores import ArtifactStore, BlobInfo, check_stored, put_together
from modeldb_core.stores.reading import ReadableBlobs, ReadableTogether
from modeldb_core.trees.nodes import MAX_NODE_BYTES, Child, Node, decode_node

if TYPE_CHECKING:
    from collections.abc import Sequence

CACHE_BYTES = 16 << 20
"""Of nodes as they are written; in memory they take some five times as much."""
_WAITING_BYTES = 1 << 20
_WAITING_NODES = 128
_KEPT = 64
"""Whoever makes fewer nodes, by an edit, is likely to read them next."""


class Blobs(ReadableBlobs, Protocol):
    """What trees are kept in: an :class:`~modeldb_core.stores.ArtifactStore`, or what passes blobs on to one later."""

    def put(self, stream: BinaryIO, /) -> BlobInfo:
        """Store what ``stream`` holds, and return its digest and size."""


class Place(NamedTuple):
    """Where a node is in a tree.

    Attributes:
        child: what the node above says of it.
        level: that it has.
        after: the key before its first one; empty where there is none.
    """

    child: Child
    level: int
    after: bytes


class NodeReader:
    """Reads nodes. Safe for any number of threads; it need not be closed.

    Args:
        blobs: where nodes are kept.
        cache_bytes: how much of what was read is kept in memory.
    """

    def __init__(self, blobs: ReadableBlobs, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._readable = blobs
        self._cache_bytes = cache_bytes
        self._cached: OrderedDict[str, tuple[Node, int]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def root(self, root: str) -> Node:
        """Return the node at the top of a tree, which its digest names; raises as :meth:`nodes` does."""
        return self._known(root) or self.keep(decode_node(self._read(root)))

    def node(self, child: Child, level: int, after: bytes) -> Node:
        """Return the node that one above it names; see :meth:`nodes`."""
        return self.nodes([Place(child, level, after)])[0]

    def nodes(self, places: Sequence[Place]) -> list[Node]:
        """Return nodes, those that are not in memory in as few requests as there can be.

        Raises:
            NotFoundError: one is not in the artifact store.
            IntegrityError: one is damaged, or not what the node above says.
            StoreUnavailableError: the artifact store cannot be read.
        """
        found = [self._known(place.child.digest.hex()) for place in places]
        lacking = [place.child.digest.hex() for place, node in zip(places, found, strict=True) if node is None]
        read = dict(zip(lacking, self._read_all(lacking), strict=True))
        nodes = []
        for place, known in zip(places, found, strict=True):
            if known is not None:
                _check(known, place)
                nodes.append(known)
            else:
                nodes.append(self.keep(decode_node(read[place.child.digest.hex()], *place)))
        return nodes

    def keep(self, node: Node) -> Node:
        """Have a node in memory that is in the artifact store."""
        digest = node.summary.digest.hex()
        size = 64 + sum(map(len, node.keys)) + 80 * len(node.items)
        if node.level == 0:
            size += sum(len(record.identity) + len(record.observed) for record in node.records)
        with self._lock:
            if digest not in self._cached:
                self._cached[digest] = (node, size)
                self._size += size
            while self._size > self._cache_bytes and self._cached:
                _, (_, freed) = self._cached.popitem(last=False)
                self._size -= freed
        return node

    def _read_all(self, digests: list[str]) -> Sequence[bytes]:
        if len(digests) > 1 and isinstance(self._readable, ReadableTogether):
            return [_checked(digest, data) for digest, data in zip(digests, self._many(digests), strict=True)]
        return [self._read(digest) for digest in digests]

    def _many(self, digests: list[str]) -> Sequence[bytes]:
        assert isinstance(self._readable, ReadableTogether)
        return self._readable.read_many(digests, MAX_NODE_BYTES)

    def _read(self, digest: str) -> bytes:
        with self._readable.open(digest) as stream:
            parts = []
            left = MAX_NODE_BYTES + 1
            while left > 0 and (part := stream.read(left)):
                parts.append(part)
                left -= len(part)
        return _checked(digest, b"".join(parts))

    def _known(self, digest: str) -> Node | None:
        with self._lock:
            found = self._cached.get(digest)
            if found is None:
                return None
            self._cached.move_to_end(digest)
            return found[0]


class NodeStore(NodeReader):
    """Reads nodes and puts them; see :class:`NodeReader`."""

    def __init__(self, blobs: Blobs, *, cache_bytes: int = CACHE_BYTES) -> None:
        super().__init__(blobs, cache_bytes=cache_bytes)
        self._blobs = blobs

    def put_all(self, contents: Sequence[bytes]) -> None:
        """Put nodes, in as few requests as there can be."""
        if isinstance(self._blobs, ArtifactStore):
            put_together(self._blobs, contents, [hashlib.sha256(content).hexdigest() for content in contents])
            return
        for content in contents:
            sent = BlobInfo(hashlib.sha256(content).hexdigest(), len(content))
            where = str(getattr(self._blobs, "url", "the artifact store"))
            check_stored(self._blobs.put(io.BytesIO(content)), sent, where)


class NodeWriter:
    """Puts nodes in batches, children before those above them; leaving its block puts the last ones."""

    def __init__(self, store: NodeStore) -> None:
        self._store = store
        self._waiting: list[bytes] = []
        self._bytes = self._level = 0
        self._made: list[Node] = []

    def put(self, node: Node, data: bytes) -> None:
        """Put a node, now or with those that follow."""
        if node.level > self._level or self._bytes > _WAITING_BYTES or len(self._waiting) >= _WAITING_NODES:
            self._flush()
        self._level = node.level
        self._waiting.append(data)
        self._bytes += len(data)
        if len(self._made) < _KEPT:
            self._made.append(node)

    def _flush(self) -> None:
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        if waiting:
            self._store.put_all(waiting)

    def __enter__(self) -> NodeWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._flush()
            for node in self._made if len(self._made) < _KEPT else ():
                self._store.keep(node)


def _checked(digest: str, data: bytes) -> bytes:
    if hashlib.sha256(data).hexdigest() != digest:
        msg = f"blob {digest} is not a node of a tree: it has more than {MAX_NODE_BYTES:,} bytes, or is damaged"
        raise IntegrityError(msg)
    return data


def _check(node: Node, place: Place) -> None:
    """Hold a node that is in memory against the place in which another tree has it."""
    child = place.child
    if node.summary != child or node.level != place.level or node.keys[0] <= place.after:
        msg = f"the node {child.digest.hex()} of a tree does not fit its place: it was made by no version of ModelDB"
        raise IntegrityError(msg)
