"""What is linked with an entity, as a condition on entities; one question to the database for each link on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, or_, select

from modeldb_core.backends._sql.tables import entities, links
from modeldb_core.model.schema import ANY
from modeldb_core.queries import Linked, reached

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement

    from modeldb_core.backends._sql.database import Transaction


def linked_condition(transaction: Transaction, linked: Linked, kind: str) -> ColumnElement[bool]:
    """Return the condition that an entity of a kind is linked as asked."""
    by_field = [links.c.field == linked.field] if linked.field else []
    named = _named(transaction, linked, entities.c.entity_id)
    itself = and_(named, *([] if linked.kind == ANY else [entities.c.kind == linked.kind]))
    start = select(entities.c.entity_pk).where(itself)
    if linked.direction == "to":
        of_kind = [] if linked.kind == ANY else [links.c.target_kind.in_((linked.kind, ""))]
        first = select(links.c.entity_pk).where(_named(transaction, linked, links.c.target_id), *of_kind, *by_field)
        if linked.depth == 1:
            return and_(entities.c.entity_pk.in_(first), ~itself)
    else:
        meant = and_(links.c.entity_pk.in_(start), links.c.target_kind.in_((kind, "")), *by_field)
        if linked.depth == 1:
            return and_(entities.c.entity_id.in_(select(links.c.target_id).where(meant)), ~itself)
    connection, among = transaction.connection, transaction.database.among
    is_target = and_(
        entities.c.entity_id == links.c.target_id,
        or_(links.c.target_kind == entities.c.kind, links.c.target_kind == ""),
    )

    def step(front: set[int]) -> Iterable[int]:
        if linked.direction == "to":
            wanted = select(links.c.entity_pk).join(entities, is_target).where(among(entities.c.entity_pk, front))
        else:
            wanted = select(entities.c.entity_pk).join(links, is_target).where(among(links.c.entity_pk, front))
        return connection.execute(wanted.where(*by_field)).scalars()

    if linked.direction == "to":  # the entity itself need not be here
        begun = set(connection.execute(first).scalars())
        found = begun | reached(begun, step, linked.depth - 1)
    else:
        found = reached(connection.execute(start).scalars(), step, linked.depth)
    return and_(among(entities.c.entity_pk, found), ~itself)


def _named(transaction: Transaction, linked: Linked, column: ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition that a column holds one of the identifiers that a link names."""
    ids = linked.entity_ids
    return column == ids[0] if len(ids) == 1 else transaction.database.among(column, ids)
