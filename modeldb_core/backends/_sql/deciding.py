"""What conditions and the settling of unique values ask of the tables, inside the transaction that applies changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.backends._sql import sa, tables
from modeldb_core.backends._sql.database import MANY, Database
from modeldb_core.backends._sql.documents import load_document
from modeldb_core.backends._sql.items import complete
from modeldb_core.log.conditions import Condition, Instant, asked_for, check_conditions
from modeldb_core.model.entities import entity_from_document
from modeldb_core.stores import naming
from modeldb_core.stores.naming import Path, derive, derived_claims

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Select

    from modeldb_core.backends._sql.database import Transaction
    from modeldb_core.log.changes import Change
    from modeldb_core.model.claims import Claim
    from modeldb_core.model.entities import Document, Entity

_SOME = 1000


def check(transaction: Transaction, expect: Sequence[Condition]) -> None:
    """See whether conditions hold.

    Raises:
        PreconditionError: one of them does not.
    """
    names, claims = asked_for(expect)
    check_conditions(expect, Instant(find_documents(transaction, names), find_holders(transaction, claims)))


def find_documents(transaction: Transaction, names: set[tuple[str, str]]) -> dict[tuple[str, str], Document]:
    """Return the documents of entities by kind and identifier; what has none is left out."""
    if not names:
        return {}
    rows = transaction.rows(_documents, {MANY: transaction.database.many({entity_id for _, entity_id in names})})
    found = {
        (kind, entity_id): (pk, load_document(text), apart)
        for kind, entity_id, pk, text, apart in rows
        if (kind, entity_id) in names
    }
    complete(transaction, found.values())
    return {name: document for name, (_, document, _) in found.items()}


def find_holders(transaction: Transaction, claims: Iterable[Claim]) -> dict[Claim, str]:
    """Return the identifiers of the entities that have unique values; what nobody has is left out."""
    by_digest = {claim.digest: claim for claim in claims}
    if not by_digest:
        return {}
    rows = transaction.rows(_holders, {MANY: transaction.database.many(by_digest)})
    return {by_digest[digest]: entity_id for digest, entity_id in rows}


def find_few(transaction: Transaction, kind: str, field: str, target_id: str, most: int) -> tuple[Entity, ...] | None:
    """Return the entities of a kind that name another in a field; ``None`` where they are more than ``most``."""
    parameters = {"kind": kind, "field": field, "target": target_id, "most": most + 1}
    rows = transaction.rows(_naming, parameters)
    if len(rows) > most:
        return None
    read = {pk: load_document(text) for _, pk, text, *_ in rows}
    complete(transaction, ((pk, read[pk], apart) for _, pk, _, apart, *_ in rows))
    return tuple(
        entity_from_document(kind, entity_id, read[pk], workspace_id=workspace_id or "", project_id=project_id or "")
        for entity_id, pk, _, _, workspace_id, project_id in rows
    )


def identify(transaction: Transaction, path: Path) -> tuple[str, ...]:
    """Return the identifiers under which containers are declared; as a rule that is one question."""
    claims = derived_claims(path)
    known: dict[Claim, str | None] = {**dict.fromkeys(claims), **find_holders(transaction, claims)}
    if tuple(known.values()) == derive(path):
        return derive(path)  # nothing was renamed, or made under another identifier

    def holder(claim: Claim) -> str | None:
        return known[claim] if claim in known else find_holders(transaction, [claim]).get(claim)

    return naming.identify(path, holder, StoredClaims(transaction, {}).document)


class StoredClaims:
    """What :func:`~modeldb_core.log.settling.settle` asks; ``known`` are documents that were loaded already."""

    def __init__(self, transaction: Transaction, known: Mapping[tuple[str, str], Document | None]) -> None:
        self._transaction = transaction
        self._known = known

    def document(self, kind: str, entity_id: str) -> Document | None:
        """Return the document of an entity."""
        name = (kind, entity_id)
        return self._known[name] if name in self._known else find_documents(self._transaction, {name}).get(name)

    def holders(self, claims: Iterable[Claim]) -> Mapping[Claim, str]:
        """Return the identifiers of the entities that have unique values; what nobody has is left out."""
        return find_holders(self._transaction, claims)

    def history(self, kind: str, entity_id: str) -> Iterable[Change]:
        """Iterate over the changes of an entity, in the order of the log."""
        from modeldb_core.backends._sql.log import read_changes

        after = 0
        while True:
            page = read_changes(self._transaction, after=after, limit=_SOME, entity_id=entity_id)
            yield from (change for change in page.changes if change.kind == kind)
            if len(page.changes) < _SOME:
                return
            after = page.cursor

    def has_stream(self, stream_id: str) -> bool:
        """Return whether anything of a stream has arrived."""
        query = sa.select(tables.streams.c.stream_pk).where(
            tables.streams.c.stream_id == stream_id, tables.streams.c.seq > 0
        )
        return self._transaction.connection.execute(query).first() is not None


def _documents(database: Database) -> Select[Any]:
    stored = tables.documents.c
    wanted = sa.select(
        tables.entities.c.kind, tables.entities.c.entity_id, stored.entity_pk, stored.document, stored.apart
    )
    joined = wanted.join(tables.documents, stored.entity_pk == tables.entities.c.entity_pk)
    return joined.where(database.among(tables.entities.c.entity_id))


def _naming(_database: Database) -> Select[Any]:
    entities, links, stored = tables.entities.c, tables.links.c, tables.documents.c
    place = (entities.workspace_id, entities.project_id)
    wanted = sa.select(entities.entity_id, entities.entity_pk, stored.document, stored.apart, *place)
    joined = wanted.join(tables.links, links.entity_pk == entities.entity_pk)
    joined = joined.join(tables.documents, stored.entity_pk == entities.entity_pk)
    named = joined.where(links.target_id == sa.bindparam("target"), links.field == sa.bindparam("field"))
    return named.where(entities.kind == sa.bindparam("kind"), entities.present == 1).limit(sa.bindparam("most"))


def _holders(database: Database) -> Select[Any]:
    wanted = sa.select(tables.unique_values.c.digest, tables.entities.c.entity_id)
    joined = wanted.join(tables.entities, tables.entities.c.entity_pk == tables.unique_values.c.entity_pk)
    return joined.where(database.among(tables.unique_values.c.digest))
