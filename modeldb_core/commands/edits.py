"""What may be said of any entity: its name, a description, tags, further facts, comments."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from modeldb_core.commands.names import check_name, check_tag, check_tags
from modeldb_core.commands.operation import Operation
from modeldb_core.errors import ConflictError, InvalidArgumentError, InvalidTypeError, NotFoundError
from modeldb_core.log.changes import CREATE, UPDATE
from modeldb_core.log.conditions import Unique
from modeldb_core.log.stream import Entry
from modeldb_core.model.entities import new_id
from modeldb_core.model.schema import KINDS
from modeldb_core.model.values import check_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modeldb_core.model.entities import Entity
    from modeldb_core.model.values import Value
    from modeldb_core.stores import MetadataStore


def living(store: MetadataStore, kind: str, entity_id: str) -> Entity:
    """Return an entity about which something is to be said.

    Raises:
        NotFoundError: there is none.
        ConflictError: it is deleted.
    """
    try:
        entity = store.get(kind, entity_id)
    except NotFoundError as error:
        msg = f"there is no {KINDS[kind].words} {entity_id}"
        raise NotFoundError(msg) from error
    check_living(entity)
    return entity


def check_living(entity: Entity) -> None:
    """See that something may be said about an entity.

    Raises:
        ConflictError: it is deleted.
    """
    if entity.deleted_at is not None:
        msg = f"the {KINDS[entity.KIND].words} {entity.name!r} ({entity.entity_id}) is deleted; restore it first"
        raise ConflictError(msg)


def update(kind: str, entity_id: str, data: dict[str, Any], *, ends_run: bool = False) -> Operation:
    """Return the operation that updates an entity; :func:`~modeldb_core.model.evolve.evolve` says what ``data`` does.

    Raises:
        InvalidArgumentError: entities of the kind have no such field.
    """
    for part in data.values():
        for name in part:
            check_field(kind, name)
    return Operation((Entry(UPDATE, kind, entity_id, data),), entity_id=entity_id, ends_run=ends_run)


def check_field(kind: str, name: str) -> None:
    """See that entities of a kind have a field: nothing would show what is recorded in another one.

    Raises:
        InvalidArgumentError: they have none of that name.
    """
    declaration = KINDS.get(kind)
    if declaration is None or name in declaration.fields:  # of a kind that only others know, they know the fields
        return
    known = [each for each, field in declaration.fields.items() if field.type == "map"]
    close = get_close_matches(name, declaration.fields, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    msg = (
        f"a {declaration.words} has no field {name!r}{hint or '.'} Its sections are {', '.join(known)}; values without one of their own"
        f" belong to its attributes"
    )
    raise InvalidArgumentError(msg)


def rename(entity: Entity, name: str) -> Operation:
    """Give an entity another name; where names of its kind are unique, nobody else beside it may have it.

    Raises:
        InvalidArgumentError: the name is empty or too long.
    """
    text = check_name(name, entity.KIND)
    field = KINDS[entity.KIND].fields["name"].unique_within
    scope = str(entity.document.get(field) or "") if field else ""  # WHOLE_STORE is not a field
    expect = () if field is None else (Unique(entity.KIND, scope, "name", text, entity.entity_id),)
    return Operation((Entry(UPDATE, entity.KIND, entity.entity_id, {"set": {"name": text}}),), expect, entity.entity_id)


def describe(kind: str, entity_id: str, description: str) -> Operation:
    """Describe an entity in words; an empty description takes it away."""
    return update(kind, entity_id, {"set": {"description": check_text(description, "description")}})


def change_tags(kind: str, entity_id: str, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Operation:
    """Add some labels and take others away.

    Raises:
        InvalidArgumentError: a label is to be added and taken away, is empty or too long.
    """
    added, removed = check_tags(add), check_tags(remove)
    if both := set(added) & set(removed):
        msg = f"the tag {sorted(both)[0]!r} is to be added and removed; choose one"
        raise InvalidArgumentError(msg)
    if not added and not removed:
        msg = "no tag is named; name at least one"
        raise InvalidArgumentError(msg)
    data = {"add": {"tags": added}} if added else {}
    return update(kind, entity_id, {**data, "remove": {"tags": removed}} if removed else data)


def set_tags(kind: str, entity_id: str, tags: Iterable[str]) -> Operation:
    """Put these labels in the place of those it has.

    Raises:
        InvalidTypeError: something is not a text. Labels have no values: for those there are attributes.
    """
    listed: list[str] = []
    for tag in tags:
        if hasattr(tag, "items"):
            msg = "tags are labels without values; use set_attributes({...}) for names with values"
            raise InvalidTypeError(msg)
        listed.append(check_tag(tag))
    return update(kind, entity_id, {"set": {"tags": list(dict.fromkeys(listed))}})


def put_values(
    kind: str, entity_id: str, section: str, values: Mapping[str, Value], notes: Iterable[str] = ()
) -> Operation:
    """Record values under their names in a map of the entity, such as its attributes.

    Args:
        kind: of the entity.
        entity_id: which entity.
        section: the name of the map.
        values: as :func:`~modeldb_core.commands.values.recorded` returns them.
        notes: what is to be said of them.
    """
    listed = list(notes)
    return update(kind, entity_id, {"put": {section: dict(values)}, **({"add": {"notes": listed}} if listed else {})})


def comment(parent_id: str, message: str, *, comment_id: str = "") -> Operation:
    """Say something about an entity. Its author is who makes the change.

    Raises:
        InvalidArgumentError: the message says nothing.
    """
    text: object = message
    if not isinstance(text, str) or not text.strip():
        msg = f"comment {message!r} is empty or not a text"
        raise InvalidArgumentError(msg)
    entity_id = comment_id or new_id()
    fields = {"parent_id": parent_id, "message": check_text(text, "comment")}
    return Operation((Entry(CREATE, "comment", entity_id, fields),), entity_id=entity_id)
