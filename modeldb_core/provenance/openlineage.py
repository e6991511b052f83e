"""Lineage as events of OpenLineage (https://openlineage.io), one for each run: what it read and what it wrote.

OpenLineage knows runs of jobs, and data sets. A job is an experiment; versions of data sets and of models, and files that one
run made and another one used, are data sets. What people say that one data set was made from another, without a run, has no
place there and is left out.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from modeldb_core.log.json_documents import time_text
from modeldb_core.model.entities import FAILED, FINISHED, RUNNING, is_id
from modeldb_core.model.values import is_digest
from modeldb_core.runtime import __version__

if TYPE_CHECKING:
    from modeldb_core.provenance.graph import Edge, Graph, Node

NAMESPACE = "modeldb"
PRODUCER = f"urn:modeldb-core:{__version__}"
_SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS = "https://openlineage.io/spec/facets"
_EVENTS = {FINISHED: "COMPLETE", FAILED: "FAIL", RUNNING: "RUNNING"}


def to_openlineage(graph: Graph) -> list[dict[str, Any]]:
    """Return the events of the runs in a graph that are here; a run without a time of its own has none."""
    return [
        event
        for node in graph.nodes.values()
        if node.is_activity and node.facts.get("created_at") and (event := _event(node, graph))
    ]


def _event(node: Node, graph: Graph) -> dict[str, Any]:
    at = node.time("finished_at") or node.time("started_at") or node.time("created_at")
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    facets: dict[str, Any] = {}
    for edge in graph.edges:
        source, target = graph.nodes[edge.source], graph.nodes[edge.target]
        file = _file(edge) if source.is_activity else None
        if edge.target == node.key:
            if file is not None:
                inputs[file["name"]] = file
            elif source.is_activity:
                facets["parent"] = _facet("1-2-0/ParentRunFacet", run={"runId": _run_id(source)}, job=_job(source))
            else:
                inputs[str(edge.source)] = _dataset(source)
        elif edge.source == node.key:
            if file is not None:
                outputs[file["name"]] = file
            elif not target.is_activity:
                outputs[str(edge.target)] = _dataset(target)
    return {
        "eventType": _EVENTS.get(str(node.facts.get("status")), "ABORT"),
        "eventTime": time_text(at),
        "producer": PRODUCER,
        "schemaURL": _SPEC,
        "run": {"runId": _run_id(node), "facets": facets},
        "job": _job(node),
        "inputs": list(inputs.values()),
        "outputs": list(outputs.values()),
    }


def _job(node: Node) -> dict[str, Any]:
    parts = [str(part) for part in (node.facts.get("project"), node.container) if part]
    return {"namespace": NAMESPACE, "name": "/".join(parts) or node.words}


def _dataset(node: Node) -> dict[str, Any]:
    version = str(node.version or node.facts.get("digest") or node.entity_id)
    facet = _facet("1-0-1/DatasetVersionDatasetFacet", datasetVersion=version)
    return {
        "namespace": NAMESPACE,
        "name": f"{node.kind or 'entity'}/{node.container or node.name or node.entity_id}",
        "facets": {"version": facet},
    }


def _file(edge: Edge) -> dict[str, Any] | None:
    """Return a file that one run made and another one used; ``None`` where an edge is of something else."""
    digest = edge.entry.get("digest")
    if edge.field != "inputs" or not is_digest(digest):
        return None
    facet = _facet("1-0-1/DatasetVersionDatasetFacet", datasetVersion=str(digest))
    name = f"artifact/{edge.source.entity_id}/{edge.entry.get('path', '')}"
    return {"namespace": NAMESPACE, "name": name, "facets": {"version": facet}}


def _facet(schema: str, **values: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    name = schema.partition("/")[2]
    url = f"{_FACETS}/{schema}.json#/$defs/{name}"
    return {"_producer": PRODUCER, "_schemaURL": url, **values}


def _run_id(node: Node) -> str:
    return node.entity_id if is_id(node.entity_id) else str(uuid.uuid5(uuid.NAMESPACE_URL, node.entity_id))
