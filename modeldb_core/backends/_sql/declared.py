"""By which declarations of the kinds the rows were made that entities are found by; and making those of others again.

The table ``declarations`` says it for each kind. A store that is opened for writing by code with a newer declaration takes
the kind over: all its entities are ``outdated`` then, and their rows are made again. Code whose declaration is older, or
that does not know a kind, goes on writing and notes what it writes as outdated. So nobody's rows are ever taken for wrong,
and nothing is made again twice. The ``stamp`` beside the version of the tables changes with the declarations: each
transaction that writes looks at both at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modeldb_core.backends._sql import sa, tables
from modeldb_core.backends._sql.database import MANY, Database
from modeldb_core.log.changes import ALTERING, STREAM
from modeldb_core.model.entities import new_id
from modeldb_core.model.schema import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.sql.dml import Insert

    from modeldb_core.backends._sql.database import Transaction


@dataclass(frozen=True, slots=True)
class Declared:
    """What a database says of the declarations by which its rows are made.

    Attributes:
        stamp: another one whenever they change.
        kinds: version and fingerprint of the declaration of each kind.
    """

    stamp: str
    kinds: Mapping[str, tuple[int, str]]

    def is_current(self, kind: str) -> bool:
        """Return whether the rows of a kind are made as this process makes them."""
        known = KINDS.get(kind)
        return known is not None and self.kinds.get(kind, ("", ""))[1] == known.fingerprint

    @property
    def to_take_over(self) -> list[str]:
        """The kinds of which this process has another declaration, and none that is older."""
        return [
            kind
            for kind, known in KINDS.items()
            if not self.is_current(kind) and self.kinds.get(kind, (0, ""))[0] <= known.version
        ]


def read_declared(transaction: Transaction) -> Declared:
    """Return what the database says."""
    stamps = transaction.rows(_select_stamp)
    kinds = {kind: (version, fingerprint) for kind, version, fingerprint in transaction.rows(_select_declarations)}
    return Declared(stamps[0][0] if stamps else "", kinds)


def new_stamp() -> str:
    """Return a stamp that no database has yet."""
    return new_id().replace("-", "")


def write_declared(transaction: Transaction) -> None:
    """Note this process's declarations in a database that has none yet; its stamp is set elsewhere."""
    transaction.write(_insert_declaration, [_row_of(kind) for kind in KINDS])


def take_over(transaction: Transaction) -> None:
    """Have this process's declarations hold from now on, where they are not older: what is there becomes outdated."""
    connection = transaction.connection
    declared = read_declared(transaction)
    taken = declared.to_take_over
    for kind in taken:
        # Rows of a kind that nobody knew are noted already, each when it was written.
        if kind in declared.kinds:
            wanted = sa.select(tables.entities.c.entity_pk, sa.literal("")).where(
                tables.entities.c.kind == kind, tables.entities.c.present != 0
            )
            statement = transaction.database.insert(tables.outdated).from_select(["entity_pk", "action"], wanted)
            connection.execute(statement.on_conflict_do_nothing())
        connection.execute(sa.delete(tables.declarations).where(tables.declarations.c.kind == kind))
        connection.execute(sa.insert(tables.declarations), _row_of(kind))
    if taken:
        connection.execute(sa.update(tables.compatibility).values(stamp=new_stamp()))


def note_outdated(transaction: Transaction, rows: Iterable[tuple[int, str]]) -> None:
    """Note entities that this process's code cannot bring up to date, each with the action it does not know, or ""."""
    transaction.write(
        _insert_outdated, [{"entity_pk": pk, "action": action} for pk, action in dict.fromkeys(rows)], each_writes=None
    )


def may_miss(transaction: Transaction, kind: str) -> bool:
    """Return whether a search for entities of a kind may miss some, whose rows the next program that may write makes again."""
    declared = read_declared(transaction)
    if kind in declared.to_take_over and kind in declared.kinds:
        return True
    if kind in declared.kinds and not declared.is_current(kind):
        return False  # it is this process that knows less
    return has_outdated(transaction, [kind])


def is_outdated(transaction: Transaction, entity_pk: int) -> bool:
    """Return whether the rows of an entity, or its document, are to be made again by code that knows how."""
    query = sa.select(tables.outdated.c.action).where(tables.outdated.c.entity_pk == entity_pk, can_be_interpreted())
    return transaction.connection.execute(query.limit(1)).first() is not None


def is_behind(transaction: Transaction, kind: str, entity_id: str) -> bool:
    """Return whether the rows of an entity are not made as this process makes them."""
    if not read_declared(transaction).is_current(kind):
        return True
    query = sa.select(tables.entities.c.entity_pk).where(
        tables.entities.c.entity_id == entity_id, tables.entities.c.kind == kind
    )
    entity_pk = transaction.connection.execute(query).scalar()
    return entity_pk is not None and is_outdated(transaction, entity_pk)


def carries(transaction: Transaction) -> bool:
    """Return whether there are entities of kinds, or changes with actions, that this process does not know."""
    of_kinds = sa.select(tables.entities.c.entity_pk).where(tables.entities.c.kind.not_in([*KINDS, STREAM])).limit(1)
    actions = sa.select(tables.outdated.c.entity_pk).where(~can_be_interpreted()).limit(1)
    return any(transaction.connection.execute(query).first() is not None for query in (of_kinds, actions))


def waits(transaction: Transaction, kind: str, entity_id: str) -> bool:
    """Return whether the document of an entity is to be worked out again by code that knows all of its changes."""
    query = sa.select(tables.outdated.c.action).join(
        tables.entities, tables.entities.c.entity_pk == tables.outdated.c.entity_pk
    )
    query = query.where(
        tables.entities.c.entity_id == entity_id, tables.entities.c.kind == kind, tables.outdated.c.action != ""
    )
    return transaction.connection.execute(query.where(can_be_interpreted()).limit(1)).first() is not None


def count_outdated(transaction: Transaction) -> int:
    """Return how many entities there are whose rows are not made as this process makes them."""
    declared = read_declared(transaction)
    kinds = [kind for kind in KINDS if declared.is_current(kind)]
    noted = sa.select(tables.outdated.c.entity_pk).where(can_be_interpreted())
    wanted = sa.and_(
        tables.entities.c.present == 1,
        sa.or_(tables.entities.c.kind.not_in(kinds), tables.entities.c.entity_pk.in_(noted)),
    )
    return transaction.connection.execute(sa.select(sa.func.count()).where(wanted)).scalar_one()


def has_outdated(transaction: Transaction, kinds: Sequence[str]) -> bool:
    """Return whether there are outdated entities of some kinds."""
    many = transaction.database.many
    return bool(transaction.rows(_one_outdated, {MANY: many(kinds), "actions": many(_interpreted())}))


def count_to_make_again(transaction: Transaction) -> int:
    """Return of how many entities this process would make the rows again, if its declarations were to hold."""
    declared = read_declared(transaction)
    taken = declared.to_take_over
    kinds = [kind for kind in KINDS if declared.is_current(kind)]
    noted = sa.select(tables.outdated.c.entity_pk).where(can_be_interpreted())
    is_noted = sa.and_(tables.entities.c.kind.in_([*kinds, *taken]), tables.entities.c.entity_pk.in_(noted))
    is_older = tables.entities.c.kind.in_([kind for kind in taken if kind in declared.kinds])
    wanted = sa.and_(tables.entities.c.present != 0, sa.or_(is_older, is_noted))
    return transaction.connection.execute(
        sa.select(sa.func.count()).select_from(tables.entities).where(wanted)
    ).scalar_one()


def outdated_of(kinds: Sequence[str]) -> Select[Any]:
    """Return the question for the outdated entities of some kinds: number, kind, identifier, and where they lie."""
    return _outdated_where(can_be_interpreted(), tables.entities.c.kind.in_(kinds))


def _outdated_where(*conditions: ColumnElement[bool]) -> Select[Any]:
    from modeldb_core.backends._sql.joins import FixedJoin

    # From what is outdated, as a rule nothing, to its entities: never through all entities of a kind.
    joined = FixedJoin(tables.outdated, tables.entities, tables.entities.c.entity_pk == tables.outdated.c.entity_pk)
    place = (
        tables.entities.c.kind,
        tables.entities.c.entity_id,
        tables.entities.c.workspace_id,
        tables.entities.c.project_id,
    )
    query = sa.select(tables.outdated.c.entity_pk, *place).select_from(joined)
    return query.where(*conditions).distinct().order_by(tables.outdated.c.entity_pk)


def can_be_interpreted() -> ColumnElement[bool]:
    """Return the condition that this process's code knows what made an entity outdated."""
    return tables.outdated.c.action.in_(_interpreted())


def _interpreted() -> list[str]:
    return ["", *sorted(ALTERING)]


def _row_of(kind: str) -> dict[str, Any]:
    return {"kind": kind, "version": KINDS[kind].version, "fingerprint": KINDS[kind].fingerprint}


def _select_stamp(_database: Database) -> Select[Any]:
    return sa.select(tables.compatibility.c.stamp)


def _select_declarations(_database: Database) -> Select[Any]:
    return sa.select(tables.declarations.c.kind, tables.declarations.c.version, tables.declarations.c.fingerprint)


def _one_outdated(database: Database) -> Select[Any]:
    is_known = database.among(tables.outdated.c.action, parameter="actions")
    return _outdated_where(is_known, database.among(tables.entities.c.kind)).limit(1)


def _insert_declaration(_database: Database) -> Insert:
    return sa.insert(tables.declarations)


def _insert_outdated(database: Database) -> Insert:
    return database.upsert(tables.outdated, update=())
