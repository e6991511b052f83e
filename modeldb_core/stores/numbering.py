"""Numbers of versions, given where they are decided: by the store that holds the other versions.

A program that logs a version into its journal cannot know which numbers are taken, so it names none. Whoever has shipped
it gives it the next number of its container, in a change of its own, under the conditions that it has none yet and that
nobody else has this one. Where a store cannot decide, two may give one number; then
:mod:`modeldb_core.log.settling` lets the later one go on to the next.
"""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import ConditionsUnsupportedError, ConflictError, PreconditionError
from modeldb_core.log.changes import CREATE, UPDATE
from modeldb_core.log.conditions import Unique, ValueIs
from modeldb_core.log.stream import Entry
from modeldb_core.model.entities import new_id
from modeldb_core.model.schema import KINDS
from modeldb_core.queries import COLUMN, Compare, Field, IsNull, Or, Query, write_filter
from modeldb_core.stores.direct import DirectWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modeldb_core.log.changes import Change
    from modeldb_core.log.conditions import Condition
    from modeldb_core.model.entities import Entity
    from modeldb_core.model.fields import FieldDeclaration
    from modeldb_core.stores.contract import MetadataStore

logger = logging.getLogger("modeldb")

ATTEMPTS = 100
"""How often a number is tried: each failure means that somebody else got one."""
_AT_ONCE = 400  # numbered in a batch: two conditions each
_FEW = 100
"""Versions of one container that are looked at one by one."""
_LONGEST_PAUSE_S = 0.1
_spread = random.Random()  # a generator of our own: the training script's must not notice us


def number_field(kind: str) -> FieldDeclaration | None:
    """Return the field that holds the number of a version; ``None``: entities of the kind have none."""
    declaration = KINDS.get(kind)
    unique = () if declaration is None else declaration.unique
    return next((each for each in unique if each.type == "integer" and each.unique_within), None)


def next_number(store: MetadataStore, kind: str, scope: str) -> int:
    """Return the number after the highest one within a container; numbers of deleted versions are not given again."""
    field = _field_of(kind)
    found = _few_within(store, kind, field, scope)
    if found is None:
        found = store.find(
            Query(kind, order_by=f"{field.name} desc", within=scope, limit=1, include_deleted=True)
        ).entities
    return max((_number_of(entity, field) for entity in found), default=0) + 1


def latest(store: MetadataStore, kind: str, scope: str) -> Entity | None:
    """Return the version with the highest number within a container that is not deleted, ``None``: there is none."""
    field = _field_of(kind)
    few = _few_within(store, kind, field, scope)
    if few is not None:
        numbered = [each for each in few if _number_of(each, field) > 0 and each.deleted_at is None]
        return max(numbered, key=lambda each: _number_of(each, field), default=None)
    above = write_filter(Compare(Field(COLUMN, field.name), ">", 0), kind)
    found = store.find(Query(kind, above, f"{field.name} desc", within=scope, limit=1))
    return found.entities[0] if found.entities else None


def number_new(store: MetadataStore, changes: Iterable[Change], actor: str) -> int:
    """Give numbers to the versions that changes have made without one; return how many got one.

    Raises:
        StoreUnavailableError, StoreReadOnlyError, PermissionDeniedError: the store takes no change.
    """
    scopes: dict[tuple[str, str], None] = {}
    for change in changes:
        if change.action == CREATE and (field := number_field(change.kind)) is not None:
            data = change.data()
            scope = data.get(field.unique_within or "")
            if isinstance(scope, str) and scope and not data.get(field.name):
                scopes[change.kind, scope] = None
    return sum(number_within(store, kind, scope, actor) for kind, scope in scopes)


def number_shipped(store: MetadataStore, changes: Iterable[Change], actor: str) -> None:
    """Give numbers to versions that a journal has brought; what cannot be numbered now is numbered with the next ones."""
    try:
        number_new(store, changes, actor)
    except Exception as error:  # of a third party's store, among others: what was shipped is shipped
        logger.debug("versions in %s have no numbers yet: %r", store.url, error)


def number_within(store: MetadataStore, kind: str, scope: str, actor: str) -> int:
    """Give numbers to all versions within a container that have none, the oldest first; return how many got one.

    Raises:
        ConflictError: others gave numbers here all the while.
        StoreUnavailableError, StoreReadOnlyError, PermissionDeniedError: the store takes no change.
    """
    field, done = _field_of(kind), 0
    for _ in range(ATTEMPTS):
        found = _unnumbered(store, kind, field, scope)
        if not found:
            return done
        entries, expect = _giving(store, field, found, scope)
        writer = DirectWriter(store, actor)
        try:
            writer.apply_alone(new_id(), entries, expect=expect)
        except ConditionsUnsupportedError:
            writer.apply_alone(new_id(), entries)
        except PreconditionError:
            pause()
            continue
        done += len(found)
    msg = f"others numbered each {KINDS[kind].words} within {scope} first, {ATTEMPTS} times; try again"
    raise ConflictError(msg)


def pause() -> None:
    """Wait for a moment that differs between those who lost, so that somebody gets through."""
    time.sleep(_spread.uniform(0, _LONGEST_PAUSE_S))


def _unnumbered(store: MetadataStore, kind: str, field: FieldDeclaration, scope: str) -> Sequence[Entity]:
    """Return versions within a container that have no number, the oldest first."""
    few = _few_within(store, kind, field, scope)
    if few is not None:
        found = [each for each in few if _number_of(each, field) == 0 and each.deleted_at is None]
        return sorted(found, key=lambda each: (each.document.get("created_at", 0), each.entity_id))
    column = Field(COLUMN, field.name)
    filter = write_filter(Or((Compare(column, "=", 0), IsNull(column))), kind)  # noqa: A001 - the word of queries
    return store.find(Query(kind, filter, "created_at, entity_id", within=scope, limit=_AT_ONCE)).entities


def _few_within(store: MetadataStore, kind: str, field: FieldDeclaration, scope: str) -> Sequence[Entity] | None:
    assert field.unique_within is not None
    return store.find_few(kind, field.unique_within, scope, most=_FEW)


def _giving(
    store: MetadataStore, field: FieldDeclaration, versions: Iterable[Entity], scope: str
) -> tuple[list[Entry], list[Condition]]:
    entries: list[Entry] = []
    expect: list[Condition] = []
    kind = next(iter(versions)).KIND
    first, before = next_number(store, kind, scope), latest(store, kind, scope)
    parent_id = None if before is None else before.entity_id
    follows = "parent_id" in KINDS[kind].stored  # the version before
    for number, version in enumerate(versions, first):
        said: dict[str, Any] = {field.name: number}
        if follows and parent_id and not version.document.get("parent_id"):
            said["parent_id"] = parent_id
        entries.append(Entry(UPDATE, kind, version.entity_id, {"set": said}))
        expect += (
            ValueIs(kind, version.entity_id, field.name, version.document.get(field.name)),
            Unique(kind, scope, field.name, number),
        )
        parent_id = version.entity_id
    return entries, expect


def _field_of(kind: str) -> FieldDeclaration:
    field = number_field(kind)
    assert field is not None, f"{kind} has no numbers"
    return field


def _number_of(entity: Entity, field: FieldDeclaration) -> int:
    number = entity.document.get(field.name)
    return number if isinstance(number, int) else 0
