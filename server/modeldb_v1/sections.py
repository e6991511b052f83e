"""What every kind has: name, description, tags, attributes, artifacts, code versions. Each call is one line of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from modeldb_core.commands import edits, removal
from modeldb_core.commands.operation import together
from modeldb_core.commands.values import recorded
from modeldb_core.errors import InvalidArgumentError
from modeldb_server.routes import Policy
from modeldb_v1.calls import declare
from modeldb_v1.kinds import all_found, found, name_of, required
from modeldb_v1.messages import artifact_entry, fill
from modeldb_v1.schema import CALLS
from modeldb_v1.values import fill_pairs, pairs_of
from modeldb_v1.writing import check_keys, put_new, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext
    from modeldb_v1.calls import Answer
    from modeldb_v1.kinds import V1Kind
    from modeldb_v1.schema import Fields

Show: TypeAlias = "Callable[[ServerContext, Fields, Entity], None]"
"""Writes an entity into its message."""
Edit: TypeAlias = "Callable[[ServerContext, Fields, Entity], Operation]"
"""Returns what a request does to an entity."""
MAX_TAG = 40


def reading(kind: V1Kind, answer: Callable[[ServerContext, Fields, Fields, Entity], object]) -> Answer:
    """Return the answer of a call that reads one entity, which its request names by ``id``."""

    def call(context: ServerContext, request: Fields, response: Fields) -> None:
        answer(context, request, response, found(context, kind.kind, required(request, "id")))

    return call


def editing(kind: V1Kind, edit: Edit, show: Show | None = fill) -> Answer:
    """Return the answer of a call that alters one entity, which its request names by ``id``; a response that has a place for it shows it.

    What is logged many times in a run is answered with nothing, as the original did: ``show`` is ``None``.
    """

    def call(context: ServerContext, request: Fields, response: Fields) -> None:
        entity = found(context, kind.kind, required(request, "id"))
        operation = edit(context, request, entity)
        if operation.entries:
            record(context, operation)
        if show is not None and kind.field in response.DESCRIPTOR.fields_by_name:
            show(context, getattr(response, kind.field), found(context, kind.kind, entity.entity_id))

    return call


def described(context: ServerContext, request: Fields) -> dict[str, Any]:
    """Return the fields that a request which creates something has of any kind: description, tags, attributes, artifacts."""
    fields: dict[str, Any] = {"description": request.description or None}
    if request.tags:
        fields["tags"] = checked_tags(request.tags)
    if request.attributes:
        fields["attributes"] = values_from(context, request.attributes, "attributes", "Attribute")
    if "artifacts" in request.DESCRIPTOR.fields_by_name and request.artifacts:
        check_keys([each.key for each in request.artifacts], "Artifact")
        fields["artifacts"] = {each.key: artifact_entry(each) for each in request.artifacts}
    return fields


def values_from(context: ServerContext, messages: Iterable[Any], section: str, words: str) -> dict[str, Any]:
    """Return values by key, as they are recorded in a map whose keys are called ``words``.

    Raises:
        InvalidArgumentError: a key is empty, or there are none or too many.
        AlreadyExistsError: one is given twice.
    """
    pairs = pairs_of(messages)
    check_keys([key for key, _ in pairs], words)
    return recorded(dict(pairs), section, context.artifacts.put)


def checked_tags(tags: Iterable[str]) -> list[str]:
    """Return tags, each once.

    Raises:
        InvalidArgumentError: there are none, or one is empty or too long.
    """
    listed = list(dict.fromkeys(tags))
    for tag in listed:
        if not tag or len(tag) > MAX_TAG:
            msg = f"the tag {tag[:60]!r} has {len(tag)} characters; expected 1 to {MAX_TAG}"
            raise InvalidArgumentError(msg)
    if not listed:
        msg = "Tags not found in request; give at least one"
        raise InvalidArgumentError(msg)
    return listed


# -- name and description ---------------------------------------------------------------------------------------------


def rename(context: ServerContext, request: Fields, entity: Entity) -> Operation:
    """Give an entity another name."""
    del context
    return edits.rename(entity, name_of(request))


def describe(context: ServerContext, request: Fields, entity: Entity) -> Operation:
    """Give an entity another description."""
    del context
    return edits.describe(entity.KIND, entity.entity_id, request.description)


# -- tags -------------------------------------------------------------------------------------------------------------


def declare_tags(kind: V1Kind, show: Show = fill) -> None:
    """Declare the calls of tags that a kind has."""

    def add(context: ServerContext, request: Fields, entity: Entity) -> Operation:
        del context
        return edits.change_tags(kind.kind, entity.entity_id, add=checked_tags(_tags_of(request)))

    def remove(context: ServerContext, request: Fields, entity: Entity) -> Operation:
        del context
        tags = list(entity.tags) if getattr(request, "delete_all", False) else checked_tags(_tags_of(request))
        return edits.change_tags(kind.kind, entity.entity_id, remove=tags) if tags else together(())

    for verb, edit in (("add", add), ("delete", remove)):
        for noun in ("Tags", "Tag"):
            _declare_known(f"{kind.service}.{verb}{kind.message}{noun}", Policy.WRITE, editing(kind, edit, show))
    _declare_known(f"{kind.service}.get{kind.message}Tags", Policy.READ, reading(kind, _show_tags))


def _tags_of(request: Fields) -> list[str]:
    return list(request.tags) if "tags" in request.DESCRIPTOR.fields_by_name else [request.tag]


def _show_tags(context: ServerContext, request: Fields, response: Fields, entity: Entity) -> None:
    del context, request
    response.tags.extend(entity.tags)


def _declare_known(name: str, policy: Policy, answer: Answer) -> None:
    """Declare a call that some of the kinds have."""
    if name in CALLS:
        declare(name, policy, answer)


# -- attributes, and other maps of values -----------------------------------------------------------------------------


def declare_attributes(kind: V1Kind, show: Show = fill) -> None:
    """Declare the calls of attributes that a kind has."""
    add = editing(kind, putting("attributes", "Attribute"), show)
    of = f"{kind.service}.{{}}{kind.message}Attributes"
    _declare_known(of.format("add"), Policy.WRITE, add)
    _declare_known(of.format("update"), Policy.WRITE, editing(kind, _set_attribute, show))
    _declare_known(of.format("delete"), Policy.WRITE, editing(kind, _delete_attributes, show))
    _declare_known(of.format("get"), Policy.READ, reading(kind, show_attributes))


def putting(section: str, words: str, field: str = "") -> Edit:
    """Return the edit that records values under new keys.

    Args:
        section: the map, and the field of a request with several.
        words: what one of them is called.
        field: of a request with one; empty: it has several.
    """

    def edit(context: ServerContext, request: Fields, entity: Entity) -> Operation:
        messages = [getattr(request, field)] if field else getattr(request, section)
        return put_new(entity, section, list(values_from(context, messages, section, words).items()), words)

    return edit


def showing(section: str) -> Callable[[ServerContext, Fields, Fields, Entity], None]:
    """Return what writes a map of an entity into the response's field of that name."""

    def show(context: ServerContext, request: Fields, response: Fields, entity: Entity) -> None:
        del request
        fill_pairs(getattr(response, section), entity.document.get(section, {}), context.artifacts)

    return show


def _set_attribute(context: ServerContext, request: Fields, entity: Entity) -> Operation:
    values = values_from(context, [request.attribute], "attributes", "Attribute")
    return edits.put_values(entity.KIND, entity.entity_id, "attributes", values)


def _delete_attributes(context: ServerContext, request: Fields, entity: Entity) -> Operation:
    del context
    keys = list(entity.document.get("attributes", {})) if request.delete_all else list(request.attribute_keys)
    if not request.delete_all and not all(keys or [""]):
        msg = "Attribute keys not found in request; name at least one, or set delete_all"
        raise InvalidArgumentError(msg)
    return removing(entity, "attributes", keys)


def removing(entity: Entity, section: str, keys: Iterable[str]) -> Operation:
    """Return what takes keys of a map away; of keys that are not there, nothing."""
    gone = [key for key in keys if key in entity.document.get(section, {})]
    return edits.update(entity.KIND, entity.entity_id, {"remove": {section: gone}}) if gone else together(())


def show_attributes(context: ServerContext, request: Fields, response: Fields, entity: Entity) -> None:
    """Return attributes: all, or those of some keys."""
    attributes = entity.document.get("attributes", {})
    fields = request.DESCRIPTOR.fields_by_name
    if "attribute_keys" in fields and request.attribute_keys and not request.get_all:
        attributes = {key: attributes[key] for key in request.attribute_keys if key in attributes}
    fill_pairs(response.attributes, attributes, context.artifacts)


# -- reading and deleting ---------------------------------------------------------------------------------------------


def declare_entities(kind: V1Kind, show: Show = fill) -> None:
    """Declare the calls that read one entity of a kind by its identifier, and that delete one or several."""

    def show_one(context: ServerContext, request: Fields, response: Fields, entity: Entity) -> None:
        del request
        show(context, getattr(response, kind.field), entity)

    def delete(context: ServerContext, request: Fields, response: Fields) -> None:
        ids = [required(request, "id")] if "id" in request.DESCRIPTOR.fields_by_name else list(request.ids)
        names = [(kind.kind, entity.entity_id) for entity in all_found(context, kind.kind, ids)]
        window_days = context.settings.restore_window_days
        context.execute(removal.delete(context.store, names, recursive=True, window_days=window_days))
        response.status = True

    declare(f"{kind.service}.get{kind.message}ById", Policy.READ, reading(kind, show_one))
    declare(f"{kind.service}.delete{kind.message}", Policy.WRITE, delete)
    declare(f"{kind.service}.delete{kind.message}s", Policy.WRITE, delete)
