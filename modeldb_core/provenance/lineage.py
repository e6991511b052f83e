"""What asking for lineage returns: the graph, and what it can be written as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modeldb_core.log.json_documents import json_value
from modeldb_core.provenance.dot import to_dot
from modeldb_core.provenance.graph import Edge, Graph, Name
from modeldb_core.provenance.openlineage import to_openlineage
from modeldb_core.provenance.prov import to_prov

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Lineage(Graph):
    """What was made from what, around some entities; see :class:`~modeldb_core.provenance.graph.Graph`."""

    def inputs_of(self, name: Name) -> Iterator[Edge]:
        """Iterate over the edges that lead to what an entity was made from."""
        return (edge for edge in self.edges if edge.target == name)

    def outputs_of(self, name: Name) -> Iterator[Edge]:
        """Iterate over the edges that lead to what was made from an entity."""
        return (edge for edge in self.edges if edge.source == name)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data, as the HTTP API and ``--json`` show it."""
        return {
            "roots": [name._asdict() for name in self.roots],
            "direction": self.direction,
            "depth": self.depth,
            "limit": self.limit,
            "complete": self.is_complete,
            "notes": list(self.notes),
            "nodes": [
                {
                    **name._asdict(),
                    "state": node.state,
                    "title": node.title,
                    "name": node.name,
                    "container": node.container,
                    "version": node.version,
                    "facts": json_value(node.facts),
                }
                for name, node in self.nodes.items()
            ],
            "edges": [
                {
                    "input": edge.source._asdict(),
                    "output": edge.target._asdict(),
                    "field": edge.field,
                    "key": edge.key,
                    "label": edge.label,
                    "entry": json_value(edge.entry),
                }
                for edge in self.edges
            ],
        }

    def to_dot(self) -> str:
        """Return it as text for Graphviz."""
        return to_dot(self)

    def to_prov(self) -> dict[str, Any]:
        """Return it in W3C PROV, as PROV-JSON."""
        return to_prov(self)

    def to_openlineage(self) -> list[dict[str, Any]]:
        """Return what runs read and wrote, as events of OpenLineage: one for each run."""
        return to_openlineage(self)
