"""Content trees that entities name: what is in them, and the files that their entries name.

The entity is looked up first: who does not see it sees nothing of its tree, and a root is never taken from a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.log.json_documents import json_value
from modeldb_core.model.links import trees_of
from modeldb_core.model.schema import KINDS
from modeldb_core.trees import OBSERVED, Entry, TreeStore, trees_in
from modeldb_server.blobs import find_file
from modeldb_server.handlers.artifacts import send_file
from modeldb_server.handlers.entities import check_id
from modeldb_server.responses import json_response

if TYPE_CHECKING:
    from flask import Response

    from modeldb_core.model.entities import Entity
    from modeldb_core.trees import Tree
    from modeldb_server.context import ServerContext


def list_tree(
    context: ServerContext,
    *,
    kind: str,
    entity_id: str,
    field: str,
    inside: tuple[str, ...],
    folder: str | None,
    prefix: str,
    after: str,
    limit: int,
) -> Response:
    """Return a page of the entries of a tree, or of what lies immediately in a folder of it."""
    if folder is not None and prefix:
        msg = "folder and prefix are both given; leave out one of them"
        raise InvalidArgumentError(msg)
    tree = _tree(context, _entity(context, kind, entity_id), field, inside)
    if folder is None:
        found = [(location, entry) for location, entry in tree.items(prefix, after=after, limit=limit + 1)]
        items = [_described(location, entry) for location, entry in found]
        names = [location for location, _ in found]
    else:
        children = list(tree.children(folder, after=after, limit=limit + 1))
        items = [_described(item.location, item.entry) for item in children]
        names = [item.name for item in children]
    cursor = names[limit - 1] if len(names) > limit else None
    info = tree.info
    return json_response(
        {
            "items": items[:limit],
            "cursor": cursor,
            "root": info.root,
            "content": info.content,
            "count": info.count,
            "size_bytes": info.size_bytes,
        }
    )


def read_tree_file(
    context: ServerContext,
    *,
    kind: str,
    entity_id: str,
    field: str,
    inside: tuple[str, ...],
    path: str,
    download: bool,
) -> Response:
    """Return the bytes of the file that an entry names, or the part of them that the request asks for."""
    entity = _entity(context, kind, entity_id)
    entry = _tree(context, entity, field, inside).get(path)
    return send_file(context, find_file(path, _naming(entry), context.artifacts, entity), download=download)


def _naming(entry: Entry) -> Entry:
    """Return what names the file: the entry, or what was observed of it."""
    observed = entry.get(OBSERVED)
    return observed if "digest" not in entry and isinstance(observed, dict) else entry


def _entity(context: ServerContext, kind: str, entity_id: str) -> Entity:
    check_id(kind, entity_id)
    return context.store.get(kind, entity_id)


def _tree(context: ServerContext, entity: Entity, field: str, inside: tuple[str, ...]) -> Tree:
    named = dict(trees_of(entity.KIND, entity.document))
    root = named.get(field or KINDS[entity.KIND].trees[0])
    if root is None:
        msg = f"the {KINDS[entity.KIND].words} has no tree of content"
        raise NotFoundError(msg)
    trees = TreeStore(context.artifacts)
    tree = trees.open(root)
    for location in inside:
        entry = tree.get(location)
        if (below := next(trees_in(entry), None)) is None:
            msg = f"the entry at {location[:200]!r} names no tree"
            raise NotFoundError(msg)
        tree = trees.open(below)
    return tree


def _described(location: str, entry: Entry | None) -> dict[str, Any]:
    return {"location": location, "entry": None if entry is None else json_value(dict(entry))}
