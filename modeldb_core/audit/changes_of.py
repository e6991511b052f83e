"""The changes of one entity, read page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.audit.log import PAGE
from modeldb_core.log.changes import alters_entity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.log.changes import Change
    from modeldb_core.log.erasures import Name
    from modeldb_core.stores import MetadataStore


class ChangesOf:
    """The changes that alter an entity, in the order of their arrival."""

    def __init__(self, store: MetadataStore, name: Name) -> None:
        self._store, self._name = store, name
        self._cursor = 0

    def __iter__(self) -> Iterator[Change]:
        while True:
            page = self._store.read_changes(after=self._cursor, limit=PAGE, entity_id=self._name[1])
            for change in page.changes:
                if (change.kind, change.entity_id) == self._name and alters_entity(change):
                    yield change
            self._cursor = page.cursor
            if not page.changes:
                return

    def have_more(self) -> bool:
        """Return whether more has arrived since the last one was read."""
        return bool(self._store.read_changes(after=self._cursor, limit=1, entity_id=self._name[1]).changes)
