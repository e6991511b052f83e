"""Lineage as text for Graphviz.

Names come from whoever logged them. Within quotes the language knows two characters that mean something: the quote, and in
labels the backslash. Both are escaped, and what a terminal could obey is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.runtime.harmless import clean

if TYPE_CHECKING:
    from modeldb_core.provenance.graph import Graph, Name, Node

_DASHED = frozenset({"deleted", "erased", "unknown"})


def to_dot(graph: Graph) -> str:
    """Return a graph as text for Graphviz: what happened as boxes, what was made rounded, inputs to the left."""
    lines = ["digraph lineage {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    lines += [_node(node, is_root=name in graph.roots) for name, node in graph.nodes.items()]
    for edge in graph.edges:
        label = f" [label={_quoted(edge.label)}]" if edge.label else ""
        lines.append(f"  {_id(edge.source)} -> {_id(edge.target)}{label};")
    return "\n".join([*lines, "}", ""])


def _node(node: Node, *, is_root: bool) -> str:
    state = "" if node.state == "present" else f" ({node.state})"
    label = f"{_escaped(node.words)}{state}\\n{_escaped(node.title)}"
    styles = [] if node.is_activity else ["rounded"]
    styles += ["dashed"] if node.state in _DASHED else []
    styles += ["bold"] if is_root else []
    style = f', style="{",".join(styles)}"' if styles else ""
    return f'  {_id(node.key)} [label="{label}"{style}];'


def _id(name: Name) -> str:
    return _quoted(f"{name.kind}:{name.entity_id}")


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    return clean(text).replace("\\", "\\\\").replace('"', '\\"')
