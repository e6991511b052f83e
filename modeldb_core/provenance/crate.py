"""RO-Crate metadata: what is in a bundle, for those who unpack it without ModelDB (https://w3id.org/ro/crate/1.1).

Runs are actions; the files among the blobs have their names back. A bundle that is unpacked with tar is a crate.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import InvalidArgumentError
from modeldb_core.log.json_documents import time_text
from modeldb_core.model.links import flows_of
from modeldb_core.model.schema import KINDS, lineage_kinds
from modeldb_core.model.values import is_digest
from modeldb_core.provenance.text import quoted
from modeldb_core.queries import Query, condition, portions
from modeldb_core.runtime import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from modeldb_core.model.entities import Entity
    from modeldb_core.stores import MetadataStore

CONTEXT = ["https://w3id.org/ro/crate/1.1/context", {"sha256": "https://schema.org/sha256"}]
MAX_ENTITIES = 10_000
"""Of one crate, which people and their tools read as a whole."""
_PAGE = 1000
_STATUS = {"finished": "CompletedActionStatus", "running": "ActiveActionStatus"}


def entities_of(store: MetadataStore, names: Iterable[tuple[str, str]] | None) -> list[Entity]:
    """Return the entities that a crate describes: all of a store that lineage leads through, or those of some names.

    Raises:
        InvalidArgumentError: they are more than 10,000.
    """
    wanted: dict[str, dict[str, None]] = {}
    for kind, entity_id in sorted(names or ()):
        wanted.setdefault(kind, {})[entity_id] = None
    found: list[Entity] = []
    for kind in lineage_kinds():
        filters = (
            [""] if names is None else [condition("entity_id in ?", some) for some in portions(wanted.get(kind, ()))]
        )
        for text in filters:
            cursor: str | None = None
            while True:
                page = store.find(Query(kind, text, "created_at, entity_id", limit=_PAGE, cursor=cursor))
                found += page.entities
                if len(found) > MAX_ENTITIES:
                    msg = f"a crate describes at most {MAX_ENTITIES:,} runs and versions, and there are more; export by --project or --run"
                    raise InvalidArgumentError(msg)
                cursor = page.cursor
                if cursor is None:
                    break
    return found


def make_crate(entities: Iterable[Entity], has_blob: Callable[[str], bool], name: str) -> bytes:
    """Return the metadata of a crate, as it stands in ``ro-crate-metadata.json``.

    Args:
        entities: what is described.
        has_blob: says whether the crate holds the blob of a digest; what it does not hold is named all the same.
        name: of the crate.
    """
    crate = _Crate(has_blob)
    listed = list(entities)
    for entity in listed:
        crate.add(entity)
    return crate.encode(name, max((at for each in listed if (at := each.updated_at or each.created_at)), default=None))


class _Crate:
    """The graph of a crate while it is made."""

    def __init__(self, has_blob: Callable[[str], bool]) -> None:
        self._has_blob = has_blob
        self._graph: dict[str, dict[str, Any]] = {}
        self._files: dict[str, None] = {}
        self._actions: dict[str, None] = {}

    def add(self, entity: Entity) -> None:
        declaration = KINDS[entity.KIND]
        made = [self._file(path, entry) for path, entry in _files(entity)]
        given = [
            self._file(str(flow.entry.get("path") or ""), flow.entry)
            if flow.field == "inputs" and is_digest(flow.entry.get("digest"))
            else self._named(flow.kind, flow.entity_id, str(flow.entry.get("name") or ""))
            for flow in flows_of(entity.KIND, entity.document)
            if flow.is_input
        ]
        item: dict[str, Any] = {"@id": _id(entity.KIND, entity.entity_id), "name": entity.name or entity.entity_id}
        item |= {"identifier": entity.entity_id, "additionalType": declaration.words}
        if entity.description:
            item["description"] = entity.description
        if declaration.is_activity:
            item |= {"@type": "CreateAction", "object": _once(given), "result": _once(made), "instrument": self._tool()}
            item["actionStatus"] = (
                f"http://schema.org/{_STATUS.get(str(getattr(entity, 'status', '')), 'FailedActionStatus')}"
            )
            for key, field in (("startTime", "started_at"), ("endTime", "finished_at")):
                if text := time_text(getattr(entity, field)):
                    item[key] = text
            if entity.owner:
                item["agent"] = self._person(entity.owner)
            self._actions[item["@id"]] = None
        else:
            item |= {"@type": "CreativeWork", "isBasedOn": _once(given), "hasPart": _once(made)}
            if version := entity.document.get("version"):
                item["version"] = str(version)
            if entity.owner:
                item["author"] = self._person(entity.owner)
        self._graph[item["@id"]] = item

    def encode(self, name: str, newest: datetime | None) -> bytes:
        about = {"@id": "ro-crate-metadata.json", "@type": "CreativeWork", "about": {"@id": "./"}}
        about["conformsTo"] = {"@id": "https://w3id.org/ro/crate/1.1"}
        root: dict[str, Any] = {
            "@id": "./",
            "@type": "Dataset",
            "name": name,
            "description": "Records and files of ModelDB: a bundle, which `modeldb import` takes in and `modeldb audit verify` verifies.",
            "datePublished": time_text(newest) or "1970-01-01T00:00:00Z",
            "license": {"@id": "#license"},
            "hasPart": _refs(self._files),
            "mentions": _refs(self._actions),
        }
        unknown = "The record does not say under which license this may be used."
        terms = {"@id": "#license", "@type": "CreativeWork", "name": "not recorded", "description": unknown}
        graph = [about, root, terms, *self._graph.values()]
        return (json.dumps({"@context": CONTEXT, "@graph": graph}, indent=1) + "\n").encode()

    def _file(self, path: str, entry: Mapping[str, Any]) -> dict[str, str]:
        digest = str(entry["digest"])
        is_here = self._has_blob(digest)
        file_id = f"blobs/{digest}" if is_here else f"#blob-{digest}"
        if file_id not in self._graph:
            item: dict[str, Any] = {"@id": file_id, "@type": "File" if is_here else "CreativeWork", "sha256": digest}
            item["name"] = path or digest
            if type(size := entry.get("size_bytes")) is int:
                item["contentSize"] = str(size)
            if isinstance(media_type := entry.get("media_type"), str):
                item["encodingFormat"] = media_type
            self._graph[file_id] = item
            if is_here:
                self._files[file_id] = None
        elif path and path != self._graph[file_id]["name"]:  # one content under several names
            others = self._graph[file_id].setdefault("alternateName", [])
            if path not in others:
                others.append(path)
        return {"@id": file_id}

    def _named(self, kind: str, entity_id: str, name: str) -> dict[str, str]:
        item_id = _id(kind, entity_id)
        self._graph.setdefault(item_id, {"@id": item_id, "@type": "CreativeWork", "name": name or entity_id})
        return {"@id": item_id}

    def _person(self, owner: str) -> dict[str, str]:
        item_id = f"#user-{quoted(owner)}"
        self._graph.setdefault(item_id, {"@id": item_id, "@type": "Person", "name": owner})
        return {"@id": item_id}

    def _tool(self) -> dict[str, str]:
        tool = {"@type": "SoftwareApplication", "name": "modeldb-core", "softwareVersion": __version__}
        self._graph.setdefault("#modeldb", {"@id": "#modeldb", **tool})
        return {"@id": "#modeldb"}


def _files(entity: Entity) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for field in KINDS[entity.KIND].fields.values():
        value = entity.document.get(field.name) if field.names_blobs and not field.lineage else None
        for path, entry in value.items() if isinstance(value, dict) else ():
            if isinstance(entry, dict) and is_digest(entry.get("digest")):
                yield str(path), entry


def _once(refs: list[dict[str, str]]) -> list[dict[str, str]]:
    return _refs(dict.fromkeys(ref["@id"] for ref in refs))


def _refs(ids: Iterable[str]) -> list[dict[str, str]]:
    return [{"@id": each} for each in ids]


def _id(kind: str, entity_id: str) -> str:
    return f"#{kind or 'entity'}-{quoted(entity_id)}"
