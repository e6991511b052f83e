"""What was made from what, and edges by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response

from modeldb_core.commands.lineage import add_lineage, delete_lineage
from modeldb_core.errors import InvalidArgumentError
from modeldb_core.model.schema import shown_kinds
from modeldb_core.provenance.bom import make_bom
from modeldb_core.provenance.record import record_of
from modeldb_core.provenance.walk import walk
from modeldb_core.reproduction.values import resolving
from modeldb_server.handlers.edits import changed
from modeldb_server.handlers.entities import check_id
from modeldb_server.responses import json_response

if TYPE_CHECKING:
    from modeldb_core.provenance.graph import Direction
    from modeldb_server.context import ServerContext

DOT = "text/vnd.graphviz"


def read_lineage(
    context: ServerContext, *, entity: str, direction: Direction, depth: int, limit: int, form: str
) -> Response:
    """Return what an entity was made from and what was made from it."""
    graph = walk(context.store, [_name(entity)], direction, depth=depth, limit=limit)
    if form == "dot":
        answer = Response(graph.to_dot().encode(), content_type=f"{DOT}; charset=utf-8")
        answer.headers["Cache-Control"] = "no-store"
        return answer
    if form == "prov":
        return json_response(graph.to_prov())
    return json_response({"events": graph.to_openlineage()} if form == "openlineage" else graph.to_json())


def read_bom(context: ServerContext, *, kind: str, entity_id: str) -> Response:
    """Return the bill of materials of a run or of a version of a model."""
    check_id(kind, entity_id)
    resolve = resolving(context.artifacts.open)
    return json_response(make_bom(record_of(context.store, context.store.get(kind, entity_id), resolve), resolve))


def create_lineage(context: ServerContext, *, inputs: tuple[str, ...], outputs: tuple[str, ...], note: str) -> Response:
    """Say that outputs were made from inputs, and return how many changes that took."""
    names = [_name(each) for each in inputs], [_name(each) for each in outputs]
    return changed(context, add_lineage(context.store, *names, note=note))


def remove_lineage(context: ServerContext, *, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Response:
    """Take back what was said by hand, and return how many changes that took."""
    names = [_name(each) for each in inputs], [_name(each) for each in outputs]
    return changed(context, delete_lineage(context.store, *names))


def _name(text: str) -> tuple[str, str]:
    """Return the kind and the identifier in a text such as ``run:0197f3c2-...``.

    Raises:
        InvalidArgumentError: it is not written so, or the kind is unknown.
    """
    kind, _, entity_id = text.partition(":")
    if not entity_id or kind not in {each.kind for each in shown_kinds()}:
        msg = f"entity {text[:60]!r} is not a kind and an identifier; expected for example run:0197f3c2-0000-7000-8000-000000000001"
        raise InvalidArgumentError(msg)
    check_id(kind, entity_id)
    return kind, entity_id
