"""What documents name: other entities, by the fields that the schema calls references, and files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeGuard

from modeldb_core.model.schema import ANY, KINDS, FieldDeclaration, most_specific
from modeldb_core.model.values import BlobReference

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_ID = 256  # characters; a longer one fits into no index


class Link(NamedTuple):
    """That an entity names another one.

    Attributes:
        field: the field that does so.
        kind: of the entity that is named; "" where the field may name one of any kind.
        entity_id: its identifier. Whether there is such an entity, nobody has looked.
    """

    field: str
    kind: str
    entity_id: str


def links_of(kind: str, document: Mapping[str, Any]) -> list[Link]:
    """Return what a document refers to, each once; nothing of a kind that this process does not know."""
    declaration = KINDS.get(kind)
    if declaration is None:
        return []
    return list(
        dict.fromkeys(link for each in declaration.references for link in _links(each, document.get(each.name)))
    )


def _links(declared: FieldDeclaration, value: object) -> Iterator[Link]:
    if declared.entries:
        for entry in value.values() if isinstance(value, Mapping) else ():
            for key, kind in declared.entries.items():
                named = entry if not key else entry.get(key) if isinstance(entry, Mapping) else None
                yield from _link(declared.name, kind, named)
    else:
        for named in value if isinstance(value, (list, tuple)) else (value,):
            yield from _link(declared.name, declared.refers_to, named)


class Flow(NamedTuple):
    """That an entity was made from another one, or another one of it.

    Attributes:
        field: the field that says so.
        key: the entry of a map that does; "" where the field is not a map.
        kind: of the other entity; "" where nobody has said.
        entity_id: its identifier.
        is_input: whether the other one is what this one was made from.
        entry: the entry of a map, with what else is known.
    """

    field: str
    key: str
    kind: str
    entity_id: str
    is_input: bool
    entry: Mapping[str, Any]


def flows_of(kind: str, document: Mapping[str, Any]) -> list[Flow]:
    """Return what a document says of lineage; nothing of a kind that this process does not know."""
    declaration = KINDS.get(kind)
    found: list[Flow] = []
    for each in declaration.flows if declaration is not None else ():
        value, is_input = document.get(each.name), each.lineage == "input"
        if each.entries:
            for key, entry in value.items() if isinstance(value, Mapping) else ():
                of_entry = {link.kind: link for link in _links(each, {key: entry})}
                more = entry if isinstance(entry, Mapping) else {}
                for named in most_specific(of_entry):
                    said = named or _kind_in(more)
                    found.append(Flow(each.name, key, said, of_entry[named].entity_id, is_input, more))
        else:
            found += [Flow(each.name, "", link.kind, link.entity_id, is_input, {}) for link in _links(each, value)]
    return found


def _kind_in(entry: Mapping[str, Any]) -> str:
    """Return the kind that an entry says beside the identifier of an entity of any kind."""
    kind = entry.get("kind")
    return kind if isinstance(kind, str) and kind in KINDS and not KINDS[kind].secret else ""


def is_identifier(value: object) -> TypeGuard[str]:
    """Return whether a value may be the identifier of an entity."""
    return isinstance(value, str) and 0 < len(value) <= _MAX_ID and "\0" not in value


def _link(field: str, kind: str, named: object) -> Iterator[Link]:
    if is_identifier(named):
        yield Link(field, "" if kind == ANY else kind, named)


def blobs_of(kind: str, document: Mapping[str, Any]) -> Iterator[str]:
    """Iterate over the digests of the blobs that a document cannot do without: its files, and values that were moved out."""
    declaration = KINDS.get(kind)
    for each in declaration.fields.values() if declaration is not None else ():
        value = document.get(each.name) if each.names_blobs else None
        if isinstance(value, Mapping):
            yield from _digest_of(value)
            for entry in value.values():
                yield from _digest_of(entry)
    waiting: list[Any] = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, BlobReference):
            yield value.digest
        elif isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple)):
            waiting.extend(value)


def trees_of(kind: str, document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Iterate over the content trees that a document names: field and root."""
    declaration = KINDS.get(kind)
    for each in declaration.fields.values() if declaration is not None else ():
        root = document.get(each.name) if each.names_trees else None
        if isinstance(root, str) and _DIGEST.fullmatch(root):
            yield each.name, root


def _digest_of(entry: object) -> Iterator[str]:
    digest = entry.get("digest") if isinstance(entry, Mapping) else None
    if isinstance(digest, str) and _DIGEST.fullmatch(digest):
        yield digest
