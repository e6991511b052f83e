"""Versions of data sets through the API: adding, by number, and what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.commands import edits
from modeldb_core.commands.datasets import PATH, About, Content, find_version, next_version
from modeldb_core.commands.operation import Operation, decide
from modeldb_core.commands.values import recorded
from modeldb_core.errors import InvalidArgumentError
from modeldb_core.log.json_documents import entity_document
from modeldb_core.model.entities import Dataset, DatasetVersion
from modeldb_core.model.values import is_digest
from modeldb_core.reproduction.values import resolving
from modeldb_core.tracking.data.comparing import compare
from modeldb_core.tracking.data.parts import Part, folder_digest
from modeldb_core.trees import TreeStore, order_of
from modeldb_server.handlers.entities import check_id
from modeldb_server.responses import json_response

if TYPE_CHECKING:
    from flask import Response

    from modeldb_server.context import ServerContext

MAX_DIFFERENCES = 100_000
"""Files that a diff lists; of more it is refused."""


def add_version(
    context: ServerContext,
    *,
    entity_id: str,
    dataset_type: str,
    digest: str | None,
    source: str | None,
    size_bytes: int | None,
    record_count: int | None,
    parts: tuple[dict[str, Any], ...] | None,
    info: dict[str, Any] | None,
    description: str | None,
    tags: tuple[str, ...],
    attributes: dict[str, Any] | None,
    visibility: str | None,
    parent_id: str | None,
) -> Response:
    """Add a version and return it."""
    dataset = _dataset(context, entity_id)
    files = _parts(parts or (), dataset_type)
    put = context.artifacts.put
    content = Content(
        dataset_type=dataset_type,
        digest=digest or (folder_digest(files) if files else ""),
        source=source or "",
        size_bytes=sum(part.size_bytes for part in files) if files and size_bytes is None else size_bytes,
        record_count=record_count,
        part_count=len(files) or None,
        info=recorded(info or {}, "info", put),
        fields={"tree": _tree(context, files)} if files else {},
    )
    about = About(
        description=description or "",
        tags=tags,
        attributes=recorded(attributes or {}, "attributes", put),
        visibility=visibility or "",
        parent_id=parent_id or "",
    )
    new_id = context.new_id("dataset_version")
    made: list[bool] = []

    def look() -> Operation:
        found = next_version(
            context.store,
            dataset.name,
            content,
            about,
            workspace_id=dataset.workspace_id,
            dataset_id=entity_id,
            actor=context.actor,
            version_id=new_id,
        )
        made[:] = [bool(found.entries)]
        return found

    operation = decide(context.execute, look)
    document = entity_document(context.store.get("dataset_version", operation.entity_id))
    return json_response(document, 201 if made[0] else 200)


def read_version(context: ServerContext, *, entity_id: str, version: str) -> Response:
    """Return a version by its number."""
    return json_response(entity_document(_version(context, _dataset(context, entity_id), version)))


def compare_versions(context: ServerContext, *, entity_id: str, before: str, after: str) -> Response:
    """Return what differs between two versions."""
    dataset = _dataset(context, entity_id)
    one, other = (_version(context, dataset, version) for version in (before, after))
    trees = TreeStore(context.artifacts)
    resolve = resolving(lambda digest: context.artifacts.open(digest))
    found = compare(one, other, trees, (resolve(dict(one.info)), resolve(dict(other.info))), most=MAX_DIFFERENCES)
    return json_response(found.as_json())


def _dataset(context: ServerContext, entity_id: str) -> Dataset:
    check_id("dataset", entity_id)
    found = edits.living(context.store, "dataset", entity_id)
    assert isinstance(found, Dataset)
    return found


def _version(context: ServerContext, dataset: Dataset, version: str) -> DatasetVersion:
    return find_version(context.store, dataset.entity_id, version, dataset.name)


def _parts(given: tuple[dict[str, Any], ...], dataset_type: str) -> list[Part]:
    if given and dataset_type != PATH:
        msg = f"parts are given for a version of type {dataset_type}; only one of type {PATH} consists of files"
        raise InvalidArgumentError(msg)
    parts = []
    for each in given:
        if not is_digest(each["sha256"]):
            msg = f"sha256 of {each['path']!r:.200} is {each['sha256']!r:.80}; expected 64 hexadecimal digits in lower case"
            raise InvalidArgumentError(msg)
        observed = {"modified_at": each["modified_at"]} if each.get("modified_at") is not None else {}
        parts.append(Part(each["path"], each["size_bytes"], each["sha256"], observed))
    return sorted(parts, key=lambda part: order_of(part.location))


def _tree(context: ServerContext, parts: list[Part]) -> str:
    entries = ((part.location, part.entry(is_kept=False)) for part in parts)
    return TreeStore(context.artifacts).build(entries).root
