"""What differs between two trees, read in proportion to that: equal nodes are passed over unread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from modeldb_core.trees.entries import Record, entry_of
from modeldb_core.trees.locations import location_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.trees.nodes import Child, Item, Node
    from modeldb_core.trees.nodestore import NodeReader


class Difference(NamedTuple):
    """What differs at a location.

    Attributes:
        location: where.
        before: the entry in the first tree; ``None`` where it was added.
        after: the entry in the second tree; ``None`` where it was removed.
    """

    location: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class _Side:
    """One of two trees, of which one goes through entries and, where that is enough, through whole nodes.

    Args:
        store: which holds it.
        root: of the tree.
        within: the first key to look at, and the first one behind those; an empty one is the end.
    """

    def __init__(self, store: NodeReader, root: Node, within: tuple[bytes, bytes]) -> None:
        self._store = store
        self._start, self._stop = within
        self._waiting: list[tuple[Item, int, bytes]] = []  # what is next stands last: item, level, key before it
        if root.items:
            self._expand(root, b"")

    @property
    def next(self) -> tuple[Item, int] | None:
        """What comes next: an entry with level -1, or a node with its own; ``None`` at the end."""
        return self._waiting[-1][:2] if self._waiting else None

    def skip(self) -> None:
        """Pass over what comes next."""
        self._waiting.pop()

    def read(self) -> None:
        """Read the node that comes next: what is in it comes next then."""
        item, level, after = self._waiting.pop()
        assert not isinstance(item, Record)
        self._expand(self._store.node(item, level, after), after)

    def _expand(self, node: Node, after: bytes) -> None:
        found = []
        for item, key in zip(node.items, node.keys, strict=True):
            first = key if isinstance(item, Record) else after
            if key >= self._start and not (self._stop and first >= self._stop):
                found.append((item, node.level - 1, after))
            after = key
        self._waiting += reversed(found)


def differences(
    store: NodeReader,
    before: Node,
    after_store: NodeReader,
    after: Node,
    *,
    observed: bool,
    within: tuple[bytes, bytes] = (b"", b""),
) -> Iterator[Difference]:
    """Iterate over what differs between two trees, in the order of locations.

    Args:
        store, before: the first tree.
        after_store, after: the second one.
        observed: whether entries differ whose content is the same, but not what was observed of them.
        within: only keys from the first one on, and before the second one, where that is not empty.
    """
    if _equal(before.summary, after.summary, observed=observed):
        return
    one, other = _Side(store, before, within), _Side(after_store, after, within)
    while (left := one.next) or (right := other.next):
        right = other.next
        if left is None or right is None:
            yield from _rest(one if right is None else other, is_added=left is None)
            return
        if left[1] == right[1] and _equal(left[0], right[0], observed=observed):
            one.skip()
            other.skip()
        elif left[1] >= 0 or right[1] >= 0:  # the higher one first; of two that differ both, one after the other
            (one if left[1] >= right[1] else other).read()
        elif left[0].key == right[0].key:
            yield _difference(left[0], right[0])
            one.skip()
            other.skip()
        elif left[0].key < right[0].key:
            yield _difference(left[0], None)
            one.skip()
        else:
            yield _difference(None, right[0])
            other.skip()


def _rest(side: _Side, *, is_added: bool) -> Iterator[Difference]:
    while found := side.next:
        if found[1] >= 0:
            side.read()
            continue
        yield _difference(None, found[0]) if is_added else _difference(found[0], None)
        side.skip()


def _equal(one: Item, other: Item, *, observed: bool) -> bool:
    if isinstance(one, Record) and isinstance(other, Record):
        return one[: 4 if observed else 3] == other[: 4 if observed else 3]
    return _digest(one, observed=observed) == _digest(other, observed=observed)  # type: ignore[arg-type]  # both nodes


def _digest(child: Child, *, observed: bool) -> bytes:
    return child.digest if observed else child.content


def _difference(one: Item | None, other: Item | None) -> Difference:
    found = one if one is not None else other
    assert found is not None
    return Difference(location_of(found.key), _entry(one), _entry(other))


def _entry(item: Item | None) -> dict[str, Any] | None:
    return entry_of(item) if isinstance(item, Record) else None
