"""Lineage in W3C PROV, written as PROV-JSON (https://www.w3.org/submissions/prov-json/).

What happens, such as a run, is an activity; everything else is an entity. A file of one run that another one used is an
entity of its own, named by its digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.log.json_documents import time_text
from modeldb_core.model.values import is_digest
from modeldb_core.provenance.text import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.provenance.graph import Edge, Graph, Name, Node

NAMESPACE = "urn:modeldb:"


def to_prov(graph: Graph) -> dict[str, Any]:
    """Return a graph as the data of a PROV-JSON document."""
    document: dict[str, Any] = {"prefix": {"modeldb": NAMESPACE}}
    for node in graph.nodes.values():
        for section, name, attributes in _of_node(node):
            document.setdefault(section, {}).setdefault(name, attributes)
    relations = [record for edge in graph.edges for record in _of_edge(edge, graph, document)]
    relations += [record for node in graph.nodes.values() for record in _of_owner(node)]
    for number, (section, attributes) in enumerate(relations, 1):
        document.setdefault(section, {})[f"_:r{number}"] = attributes
    return document


def _of_node(node: Node) -> Iterator[tuple[str, str, dict[str, Any]]]:
    described: dict[str, Any] = {"prov:label": f"{node.words} {node.title}", "prov:type": _type(node)}
    if node.state != "present":
        described["modeldb:state"] = node.state
    for fact in ("status", "stage", "digest"):
        if fact in node.facts:
            described[f"modeldb:{fact}"] = str(node.facts[fact])
    if node.version:
        described["modeldb:version"] = node.version
    if node.is_activity:
        for name, fact in (("prov:startTime", "started_at"), ("prov:endTime", "finished_at")):
            if time := node.time(fact):
                described[name] = time_text(time)
    yield "activity" if node.is_activity else "entity", _id(node.key), described
    if owner := node.facts.get("owner"):
        yield "agent", _agent(owner), {"prov:label": str(owner)}


def _of_owner(node: Node) -> Iterator[tuple[str, dict[str, Any]]]:
    if owner := node.facts.get("owner"):
        if node.is_activity:
            yield "wasAssociatedWith", {"prov:activity": _id(node.key), "prov:agent": _agent(owner)}
        else:
            yield "wasAttributedTo", {"prov:entity": _id(node.key), "prov:agent": _agent(owner)}


def _of_edge(edge: Edge, graph: Graph, document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    source, target = graph.nodes[edge.source], graph.nodes[edge.target]
    role = {"prov:role": edge.label} if edge.label else {}
    digest = edge.entry.get("digest")
    if edge.source.kind and source.is_activity and edge.field == "inputs" and is_digest(digest):
        file = f"modeldb:blob/{digest}"
        described = {"prov:label": str(edge.entry.get("path") or digest), "modeldb:digest": str(digest)}
        document.setdefault("entity", {}).setdefault(file, described)
        yield "wasGeneratedBy", {"prov:entity": file, "prov:activity": _id(edge.source)}
        if target.is_activity:
            yield "used", {"prov:activity": _id(edge.target), "prov:entity": file, **role}
        else:
            yield "wasDerivedFrom", {"prov:generatedEntity": _id(edge.target), "prov:usedEntity": file}
    elif source.is_activity and target.is_activity:
        yield "wasInformedBy", {"prov:informed": _id(edge.target), "prov:informant": _id(edge.source)}
    elif source.is_activity:
        yield "wasGeneratedBy", {"prov:entity": _id(edge.target), "prov:activity": _id(edge.source), **role}
    elif target.is_activity:
        yield "used", {"prov:activity": _id(edge.target), "prov:entity": _id(edge.source), **role}
    else:
        yield "wasDerivedFrom", {"prov:generatedEntity": _id(edge.target), "prov:usedEntity": _id(edge.source)}


def _type(node: Node) -> dict[str, str]:
    return {"$": f"modeldb:{quoted(node.kind or 'unknown')}", "type": "prov:QUALIFIED_NAME"}


def _id(name: Name) -> str:
    return f"modeldb:{quoted(name.kind or 'unknown')}/{quoted(name.entity_id)}"


def _agent(owner: object) -> str:
    return f"modeldb:user/{quoted(str(owner))}"
