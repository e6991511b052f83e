"""The order in which changes of different streams count: it is in no chain, so checkpoints hold a digest of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from modeldb_core.log.changes import OrderDigest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modeldb_core.audit.contract import ChangeLog

_PAGE = 1000


@runtime_checkable
class OrderedLog(Protocol):
    """What a store offers beyond its contract that knows the order without reading its whole log.

    A store must offer it where ``read_changes`` returns changes in another order than the one in which they count.
    """

    is_read_in_order: bool
    """Whether ``read_changes`` returns changes in the order in which they count, later ones behind all others."""

    def digest_of_order(self, upto: Mapping[str, int]) -> bytes:
        """Return the :class:`~modeldb_core.log.changes.OrderDigest` of the changes up to these numbers of streams."""


def digest_of_order(store: ChangeLog, upto: Mapping[str, int]) -> bytes:
    """Return the digest of the order of the changes of a store up to these numbers of streams."""
    if isinstance(store, OrderedLog):
        return store.digest_of_order(upto)
    digest, after = OrderDigest(upto), 0
    while (page := store.read_changes(after=after, limit=_PAGE)).changes:
        for change in page.changes:
            digest.take(change.stream_id, change.seq, change.hash)
        after = page.cursor
    return digest.digest()
