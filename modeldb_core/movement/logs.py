"""Logs of changes: what they are copied from and into, and reading them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from modeldb_core.audit.contract import ChangeLog
from modeldb_core.stores import MetadataStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modeldb_core.log.changes import Change, Head

_PAGE = 500


class Log(ChangeLog, Protocol):
    """What changes are copied from: a store, or a bundle."""

    url: str


class ChangeTarget(Log, Protocol):
    """What changes are copied into: a store, or a bundle that is being written."""

    def apply(self, changes: Sequence[Change]) -> None:
        """Take changes, all or none of them."""


def changes_of(log: ChangeLog, *, entity_id: str | None = None, stream_id: str | None = None) -> Iterator[Change]:
    """Iterate over the changes of a log: all, those of an entity, or those of a stream."""
    cursor = 0
    while True:
        page = log.read_changes(after=cursor, limit=_PAGE, entity_id=entity_id, stream_id=stream_id)
        yield from page.changes
        if not page.changes:
            return
        cursor = page.cursor


def heads_of(log: ChangeLog) -> Iterator[tuple[str, Head]]:
    """Iterate over the streams of a log and what there is of each, in the order of their identifiers."""
    if not isinstance(log, MetadataStore):
        yield from sorted(log.heads().items())
        return
    last = ""
    while page := log.heads_after(last):
        yield from page.items()
        last = max(page)
