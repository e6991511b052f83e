"""What programs ask of lineage: what was made from what, and edges by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from modeldb_core.commands import lineage as commands
from modeldb_core.commands.operation import execute
from modeldb_core.model.entities import Entity
from modeldb_core.model.values import check_key
from modeldb_core.provenance.bom import make_bom
from modeldb_core.provenance.record import record_of
from modeldb_core.provenance.walk import DEPTH, LIMIT, walk
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.stores.references import find_entity
from modeldb_core.tracking.connections import default_client
from modeldb_core.tracking.reader import RunReader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modeldb_core.commands.operation import Operation
    from modeldb_core.provenance.graph import Direction
    from modeldb_core.provenance.lineage import Lineage
    from modeldb_core.stores import MetadataStore
    from modeldb_core.tracking.client import Client

Reference: TypeAlias = "Entity | RunReader | str"
"""An entity, the handle of a run, or what people call one: an identifier or a part of one, a name, ``churn/train@v3``,
``run:`` and any of these."""


def lineage(
    entity: Reference,
    direction: Direction = "both",
    *,
    depth: int = DEPTH,
    limit: int = LIMIT,
    client: Client | None = None,
) -> Lineage:
    """Return what an entity was made from, and what was made from it.

    Args:
        entity: a run, a version of a data set or of a model, a commit, or anything that contains such, for example a
            project: an entity, the handle of a run, an identifier or a part of one, a name, or ``churn/train@v3``.
        direction: ``"upstream"``: what it was made from; ``"downstream"``: what was made from it; or ``"both"``.
        depth: through how many links at most, 1 to 100.
        limit: how many entities at most, 1 to 10,000; the nearest come first.
        client: whose store is asked; default: the client that was connected last.

    Returns:
        A graph with ``nodes`` and ``edges``; it can be written with ``to_dot()``, ``to_prov()`` and ``to_openlineage()``.

    Raises:
        NotFoundError: there is no such entity.
        InvalidArgumentError: several are meant; or direction, depth or limit is out of range.
    """
    client = client or default_client()
    client.settle()
    return walk(client.store, [_name(client.store, entity)], direction, depth=depth, limit=limit)


def bom(entity: Reference, *, client: Client | None = None) -> dict[str, Any]:
    """Return the bill of materials of a run or of a version of a model: a CycloneDX ML-BOM 1.6, as JSON data.

    Args:
        entity: which one, as of :func:`lineage`.
        client: whose store is asked; default: the client that was connected last.

    Raises:
        NotFoundError: there is no such entity.
        InvalidArgumentError: it is neither a run nor a version of a model, or several are meant.
    """
    client = client or default_client()
    client.settle()
    found = client.store.get(*_name(client.store, entity))
    return make_bom(record_of(client.store, found, client.resolve), client.resolve)


def add_lineage(
    inputs: Iterable[Reference] | Reference,
    outputs: Iterable[Reference] | Reference,
    *,
    note: str = "",
    client: Client | None = None,
) -> None:
    """Say by hand that each of ``outputs`` was made from all of ``inputs``; durable when this returns.

    Args:
        inputs: what was used: entities as of :func:`lineage`, one or several.
        outputs: what was made of them: runs, versions of data sets or of models, commits.
        note: how, in words.
        client: whose store is changed; default: the client that was connected last.

    Raises:
        CycleError: something would be made from itself; the message shows how.
        PreconditionError: somebody changed what the inputs were made from at the same time; try again.
        ConditionsUnsupportedError: the store cannot decide who comes first.
        NotFoundError, InvalidArgumentError, ConflictError: an entity is not there, takes no part, or is deleted.
    """
    client = client or default_client()
    client.settle()
    store = client.store
    _execute(client, commands.add_lineage(store, _names(store, inputs), _names(store, outputs), note=note))


def delete_lineage(
    inputs: Iterable[Reference] | Reference, outputs: Iterable[Reference] | Reference, *, client: Client | None = None
) -> None:
    """Take back what :func:`add_lineage` said; what was logged stays.

    Raises:
        NotFoundError: nobody has said so.
    """
    client = client or default_client()
    client.settle()
    store = client.store
    _execute(client, commands.delete_lineage(store, _names(store, inputs), _names(store, outputs)))


def _execute(client: Client, operation: Operation) -> None:
    with DirectWriter(client.store, client.actor) as writer:
        execute(writer, operation)


def _names(store: MetadataStore, given: Iterable[Reference] | Reference) -> list[tuple[str, str]]:
    several = [given] if isinstance(given, (Entity, RunReader, str)) else given
    return [_name(store, each) for each in several]


def _name(store: MetadataStore, entity: Reference) -> tuple[str, str]:
    if isinstance(entity, RunReader):
        return "run", entity.run_id
    found = entity if isinstance(entity, Entity) else find_entity(store, check_key(entity, "entity"))
    return found.KIND, found.entity_id
