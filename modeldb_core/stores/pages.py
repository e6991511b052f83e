"""What a store answers with: pages of entities and of the log, and keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from modeldb_core.log.changes import Change
    from modeldb_core.model.entities import Entity


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the entities that a query matches.

    Attributes:
        entities: at most ``query.limit`` of them, in the order asked for.
        cursor: what to pass to get the next page; ``None`` on the last one.
        total: how many match in all, where ``query.count`` asked for it.
    """

    entities: tuple[Entity, ...]
    cursor: str | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Some of the changes of a store, in the order of their arrival.

    ``cursor`` is the position after the last one: pass it as ``after`` to go on, also later, to follow the store.
    """

    changes: tuple[Change, ...]
    cursor: int


class Touch(NamedTuple):
    """What a change is about, without what it says; ``withheld`` where that is kept from the one who asks."""

    stream_id: str
    kind: str
    entity_id: str
    action: str
    withheld: bool = False


def touch_of(change: Change) -> Touch:
    """Return what a change is about."""
    return Touch(change.stream_id, change.kind, change.entity_id, change.action, change.withheld)


@dataclass(frozen=True, slots=True)
class TouchPage:
    """What some changes of a store are about, in the order of their arrival; ``cursor`` is as in :class:`ChangePage`."""

    touches: tuple[Touch, ...]
    cursor: int


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key that entities carry: for offering columns, and for completing a filter.

    Attributes:
        section: metrics, hyperparameters, attributes, tags, datasets, code.
        key: the name within it; the tag itself for tags.
        count: how many of the entities carry it.
        value_types: those seen among "number", "text", "bool" and "json"; for ``metrics`` also "series".
        sample: among how many entities, the newest that match, a store has looked where it does not count all of them:
            older ones may carry more. 0: among all.
    """

    section: str
    key: str
    count: int
    value_types: tuple[str, ...] = ()
    sample: int = 0
