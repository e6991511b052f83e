"""A tree as it is used: looking up, listing, counting, comparing and editing."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.model.values import check_text, is_digest
from modeldb_core.stores import BlobInfo
from modeldb_core.trees.cursor import Span
from modeldb_core.trees.cutting import Builder
from modeldb_core.trees.differences import Difference, differences
from modeldb_core.trees.editing import Edit, Editor, lowest
from modeldb_core.trees.entries import Entry, Record, entry_of, record_of
from modeldb_core.trees.locations import (
    AFTER_FOLDER,
    SEPARATOR,
    folder_key,
    key_of,
    location_of,
)
from modeldb_core.trees.nodestore import CACHE_BYTES, Blobs, NodeStore, NodeWriter

if TYPE_CHECKING:
    from modeldb_core.trees.nodes import Child, Node


@dataclass(frozen=True, slots=True)
class TreeInfo:
    """What the root of a tree says.

    Attributes:
        root: the digest of the node at the top, by which the tree is opened.
        content: the digest of the content: the root that the tree would have if nothing had been observed.
        count: of the entries.
        size_bytes: their ``size_bytes`` together.
    """

    root: str
    content: str
    count: int
    size_bytes: int


class FolderItem(NamedTuple):
    """What lies immediately in a folder.

    Attributes:
        name: the last part of its location.
        location: of the entry, or of the folder, without a slash at the end.
        entry: ``None`` of a folder.
    """

    name: str
    location: str
    entry: dict[str, Any] | None


class TreeStore:
    """Makes and opens trees. Safe for any number of threads; it need not be closed.

    What is built is put whole, also where it is there already, so that it counts as young in the artifact store. Of an edited
    tree the new nodes are put; what it shares with the tree before is safe as long as an entity names that one, or it was
    built lately (``docs/deletion.md``).

    Args:
        blobs: where nodes are kept: an artifact store, or what passes blobs on to one later.
        cache_bytes: how much of the nodes that were read is kept in memory.
    """

    def __init__(self, blobs: Blobs, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._nodes = NodeStore(blobs, cache_bytes=cache_bytes)

    def build(self, entries: Mapping[str, Entry] | Iterable[tuple[str, Entry]]) -> Tree:
        """Make a tree.

        Args:
            entries: by location; or pairs of location and entry, sorted with :func:`order_of` as the key. Of those memory
                holds some nodes, however many they are.

        Raises:
            InvalidTypeError, InvalidArgumentError: a location or an entry cannot be kept, is there twice or is not in
                order, or a location is an entry and a folder; the message says which and what to do.
        """
        return Tree(self._nodes, build(self._nodes, entries).digest.hex())

    def open(self, root: str) -> Tree:
        """Return the tree with this root, which is read when something is asked of it.

        Raises:
            InvalidArgumentError: it is not a digest.
        """
        if not is_digest(root):
            msg = f"{root!r:.80} is not the root of a tree; expected 64 hexadecimal digits in lower case"
            raise InvalidArgumentError(msg)
        return Tree(self._nodes, root)


class Tree:
    """An immutable map from locations to entries. Get one from :class:`TreeStore`.

    Everything that reads raises NotFoundError where a node is not in the artifact store, IntegrityError where one is damaged or
    the root is not one, and StoreUnavailableError where the store cannot be read.

    Attributes:
        root: its digest.
    """

    def __init__(self, nodes: NodeStore, root: str) -> None:
        self._nodes = nodes
        self.root = root

    def __repr__(self) -> str:
        return f"Tree({self.root!r})"

    # What it says of itself

    @property
    def info(self) -> TreeInfo:
        """What the root says: digests, count and size."""
        return info_of(self._node.summary)

    @property
    def content(self) -> str:
        """The digest of its content, which leaves out what was observed."""
        return self.info.content

    @property
    def count(self) -> int:
        """How many entries there are."""
        return self.info.count

    @property
    def size_bytes(self) -> int:
        """Their ``size_bytes`` together."""
        return self.info.size_bytes

    # Reading

    def get(self, location: str) -> dict[str, Any]:
        """Return the entry at a location.

        Raises:
            NotFoundError: there is none.
        """
        record = self._find(key_of(location))
        if record is None:
            msg = f"there is no {location!r:.200} in the tree"
            raise NotFoundError(msg)
        return entry_of(record)

    def __contains__(self, location: object) -> bool:
        return self._find(key_of(location)) is not None

    def items(
        self, prefix: str = "", *, after: str = "", limit: int | None = None
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Iterate over locations and entries, in order.

        Args:
            prefix: only locations that begin so, such as ``data/``.
            after: only what comes after this location: the last one of the page before.
            limit: at most so many.
        """
        start = _prefix_key(prefix)
        if after:
            start = max(start, key_of(after) + SEPARATOR)
        for record in islice(self._span(start, _end_of(_prefix_key(prefix))), limit):
            yield location_of(record.key), entry_of(record)

    def children(self, folder: str = "", *, after: str = "", limit: int | None = None) -> Iterator[FolderItem]:
        """Iterate over what lies immediately in a folder, without reading what lies below that.

        Args:
            folder: its location; "" is the top.
            after: only what comes after this name: the last one of the page before.
            limit: at most so many.
        """
        return islice(self._children(folder_key(folder), after), limit)

    def measure(self, prefix: str = "") -> tuple[int, int]:
        """Return how many entries have locations that begin so, and their size together, reading a few nodes."""
        start = _prefix_key(prefix)
        return self._span(start, _end_of(start)).measure()

    def diff(self, other: Tree, *, observed: bool = False, prefix: str = "") -> Iterator[Difference]:
        """Iterate over what differs from here to another tree, in order; what is equal is not read.

        Args:
            other: which may lie in another store.
            observed: whether entries differ of which only what was observed does.
            prefix: only locations that begin so; nothing else is read.
        """
        start = _prefix_key(prefix)
        within = (start, _end_of(start))
        return differences(self._nodes, self._node, other._nodes, other._node, observed=observed, within=within)

    # Editing

    def edit(self, put: Mapping[str, Entry] | None = None, *, remove: Iterable[str] = ()) -> Tree:
        """Return the tree that has further or other entries and lacks some: a few nodes are written.

        Args:
            put: entries by location.
            remove: locations.

        Raises:
            NotFoundError: what is to be removed is not there.
            InvalidTypeError, InvalidArgumentError: a location or entry cannot be kept, is put and removed, or would be an
                entry and a folder.
        """
        edits: dict[bytes, Record | None] = {key_of(location): None for location in remove}
        for location, entry in (put or {}).items():
            key = key_of(location)
            if key in edits:
                msg = f"{location!r:.200} is to be put and to be removed; leave out one of the two"
                raise InvalidArgumentError(msg)
            edits[key] = record_of(key, location, entry)
        if not edits:
            return self
        ordered: list[Edit] = sorted(edits.items(), key=lambda edit: edit[0])
        with NodeWriter(self._nodes) as writer:
            root = Editor(self._nodes, Builder(writer.put), ordered).run(self._node)
        return Tree(self._nodes, lowest(self._nodes, root).digest.hex())

    # Inside

    @property
    def _node(self) -> Node:
        return self._nodes.root(self.root)

    def _span(self, start: bytes, stop: bytes) -> Span:
        return Span(self._nodes, self._node, start, stop)

    def _find(self, key: bytes) -> Record | None:
        node, after = self._node, b""
        while True:
            at = bisect_left(node.keys, key)
            if at == len(node.keys):
                return None
            if node.level == 0:
                return node.records[at] if node.keys[at] == key else None
            after = node.keys[at - 1] if at else after
            node = self._nodes.node(node.children[at], node.level - 1, after)

    def _children(self, folder: bytes, after: str) -> Iterator[FolderItem]:
        start: bytes | None = folder + key_of(after) + AFTER_FOLDER if after else folder
        while start is not None:
            found, start = self._span(start, _end_of(folder)), None
            for record in found:
                name, is_below, _ = record.key[len(folder) :].partition(SEPARATOR)
                location = location_of(folder + name)
                if is_below:
                    yield FolderItem(name.decode(), location, None)
                    start = folder + name + AFTER_FOLDER  # past all that lies in it
                    break
                yield FolderItem(name.decode(), location, entry_of(record))


def build(nodes: NodeStore, entries: Mapping[str, Entry] | Iterable[tuple[str, Entry]]) -> Child:
    """Put the nodes of a tree, and return its root; see :meth:`TreeStore.build`."""
    with NodeWriter(nodes) as writer:
        builder = Builder(writer.put)
        for key, location, entry in _keyed(entries):
            builder.add(record_of(key, location, entry))
        return builder.finish()


def describe(entries: Mapping[str, Entry] | Iterable[tuple[str, Entry]]) -> TreeInfo:
    """Return what the root of a tree of these entries would say, without storing it; see :meth:`TreeStore.build`."""
    return info_of(build(NodeStore(_Nowhere()), entries))


def info_of(root: Child) -> TreeInfo:
    """Return what a root says, in the form in which people get it."""
    return TreeInfo(root.digest.hex(), root.content.hex(), root.entries, root.size_bytes)


class _Nowhere:
    """Takes blobs and keeps none."""

    def put(self, stream: BinaryIO, /) -> BlobInfo:
        content = stream.read()
        return BlobInfo(hashlib.sha256(content).hexdigest(), len(content))

    def open(self, digest: str, /) -> BinaryIO:
        msg = f"there is no blob {digest} in a tree that is only described"
        raise NotFoundError(msg)


def _keyed(entries: Mapping[str, Entry] | Iterable[tuple[str, Entry]]) -> Iterator[tuple[bytes, str, Entry]]:
    if isinstance(entries, Mapping):
        for key, location in sorted((key_of(location), location) for location in entries):
            yield key, location, entries[location]
    else:
        for location, entry in entries:
            yield key_of(location), location, entry


def _prefix_key(prefix: str) -> bytes:
    return check_text(prefix, "a prefix").encode().replace(b"/", SEPARATOR)


def _end_of(prefix: bytes) -> bytes:
    """Return what comes after everything that begins so; empty where that is the end."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else b""
