"""Where entities lie by the log: worked out from the changes of an entity and of what it is part of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.audit.changes_of import ChangesOf
from modeldb_core.log.changes import APPEND, document_after
from modeldb_core.model.homes import Home, home_of
from modeldb_core.model.schema import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modeldb_core.log.erasures import Name
    from modeldb_core.model.entities import Document, Entity
    from modeldb_core.stores import MetadataStore

_REMEMBERED = 10_000  # containers


class LogHomes:
    """Works out where entities lie, and remembers what their containers say."""

    def __init__(self, store: MetadataStore) -> None:
        self._store = store
        self._named: dict[Name, Mapping[str, Any] | None] = {}
        self._passed: list[Name] = []

    def of(self, kind: str, entity_id: str, document: Document) -> Home:
        """Return where an entity lies."""
        self._passed = [(kind, entity_id)]
        return home_of(kind, entity_id, document, self._named_by)

    def differences(self, found: Entity, document: Document) -> list[str]:
        """Return a sentence on each part of where an entity is said to lie that does not follow from the log."""
        expected = self.of(found.KIND, found.entity_id, document)
        found_wrong = [
            f"{name} is {getattr(found, name)!r}; the changes say {value!r}"
            for name, value in expected._asdict().items()
            if getattr(found, name) != value
        ]
        if found_wrong and any(map(self._is_behind, self._passed)):
            return []  # somebody who knows more works it out with the next write
        return found_wrong

    def forget(self) -> None:
        """Read again what containers say: they may have moved."""
        self._named.clear()

    def _is_behind(self, name: Name) -> bool:
        return getattr(self._store, "audit_is_behind", lambda *_: False)(*name) is True

    def _named_by(self, kind: str, entity_id: str) -> Mapping[str, Any] | None:
        name = (kind, entity_id)
        if name not in self._named:
            if len(self._named) >= _REMEMBERED:
                self._named.clear()
            self._named[name] = self._read(kind, entity_id)
        if self._named[name] is not None:
            self._passed.append(name)
        return self._named[name]

    def _read(self, kind: str, entity_id: str) -> Mapping[str, Any] | None:
        """Return what an entity names as its containers; ``None`` where no change made it."""
        document: Document | None = None
        for change in ChangesOf(self._store, (kind, entity_id)):
            document = (document or {}) if change.action == APPEND else document_after(document, change)
        return None if document is None else {each.name: document.get(each.name) for each in KINDS[kind].containers}
