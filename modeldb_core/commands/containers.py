"""Making entities that people name: projects, experiments, data sets, and whatever a plugin declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.commands.edits import living
from modeldb_core.commands.lineage import check_new
from modeldb_core.commands.names import check_name, check_tags
from modeldb_core.commands.operation import Operation
from modeldb_core.errors import InvalidArgumentError
from modeldb_core.log.changes import CREATE
from modeldb_core.log.conditions import for_creating
from modeldb_core.log.stream import Entry
from modeldb_core.model.entities import is_id, new_id
from modeldb_core.model.schema import ANY, KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modeldb_core.stores import MetadataStore


def create(
    store: MetadataStore, kind: str, fields: Mapping[str, Any], *, entity_id: str = "", declared_id: str = ""
) -> Operation:
    """Make an entity that does not exist yet, with a new identifier.

    Args:
        store: where what it is part of is looked up.
        kind: of the entity.
        fields: of it; where its name must be unique there, nobody else may have it.
        entity_id: one of :func:`~modeldb_core.model.entities.new_id`, where the caller needs it beforehand.
        declared_id: of a container that is declared together with it, and need not be there yet.

    Raises:
        InvalidArgumentError: a field cannot be that; NotFoundError: there is nothing of which it is to be a part.
        ConflictError: that is deleted. CycleError: it would be made from itself.
    """
    declaration = KINDS[kind]
    document = {name: value for name, value in fields.items() if value is not None}
    if "name" in document and (document["name"] or declaration.fields["name"].unique_within is not None):
        document["name"] = check_name(document["name"], kind)
    if document.get("tags"):
        document["tags"] = check_tags(document["tags"])
    for name, value in document.items():
        declared = declaration.stored.get(name)
        if declared is None or not declared.fits(value):
            expected = f"expected {declared.expected}" if declared else f"a {declaration.words} has no such field"
            msg = f"{name} is {repr(value)[:60]}; {expected}"
            raise InvalidArgumentError(msg)
    for container in declaration.containers:
        parent_id = document.get(container.name)
        if container.refers_to != ANY and parent_id and parent_id != declared_id:
            living(store, container.refers_to, parent_id)
    checked = check_new_id(entity_id) if entity_id else new_id()
    if entity_id and declaration.flows:
        check_new(store, kind, checked, document)
    return Operation((Entry(CREATE, kind, checked, document),), for_creating(kind, checked, document), checked)


def check_new_id(entity_id: str) -> str:
    """Return an identifier that a caller has chosen, if it may be one.

    Raises:
        InvalidArgumentError: it is not a UUID in lower case.
    """
    if not is_id(entity_id):
        msg = f"the identifier {entity_id[:60]!r} is not a UUID in lower case; leave it out, and one is made"
        raise InvalidArgumentError(msg)
    return entity_id
