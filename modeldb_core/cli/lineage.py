"""``modeldb lineage``: what was made from what, as a tree, as data, and for other programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from modeldb_core.cli.completion import complete_entity
from modeldb_core.cli.output import echo
from modeldb_core.cli.session import Session, examples, with_session
from modeldb_core.cli.tables import print_json, short_id
from modeldb_core.cli.terminal import Tree, print_line, styled
from modeldb_core.cli.text import clean, json_escaped
from modeldb_core.commands.lineage import add_lineage, delete_lineage
from modeldb_core.provenance.walk import DEPTH, LIMIT, MAX_LIMIT, walk
from modeldb_core.queries import MAX_DEPTH
from modeldb_core.stores.references import find_entity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.provenance.graph import Direction, Edge, Name
    from modeldb_core.provenance.lineage import Lineage

FORMATS = ("tree", "json", "dot", "prov", "openlineage")


@click.command(
    epilog=examples(
        "modeldb lineage churn@v3 --upstream",
        "modeldb lineage churn/train@v2 --downstream --depth 3",
        "modeldb lineage churn@v3 --format dot | dot -Tsvg > lineage.svg",
        "modeldb lineage dataset_version:3f9a1c2e --add-input run:77b0d4aa --note 'cleaned by hand'",
    )
)
@click.argument("reference", metavar="ENTITY", shell_complete=complete_entity)
@click.option("--upstream", is_flag=True, help="Only what it was made from.")
@click.option("--downstream", is_flag=True, help="Only what was made from it.")
@click.option("--depth", type=click.IntRange(1, MAX_DEPTH), default=DEPTH, show_default=True, help="Links at most.")
@click.option("--limit", type=click.IntRange(1, MAX_LIMIT), default=LIMIT, show_default=True, help="Entities at most.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="tree", show_default=True, help="How to print it."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; the same as --format json.")
@click.option(
    "--add-input",
    "added",
    metavar="ENTITY",
    multiple=True,
    shell_complete=complete_entity,
    help="Say by hand that it was made from this.",
)
@click.option(
    "--remove-input",
    "removed",
    metavar="ENTITY",
    multiple=True,
    shell_complete=complete_entity,
    help="Take back that it was said by hand.",
)
@click.option("--note", default="", help="With --add-input: how, in words.")
@with_session
def lineage(
    session: Session,
    *,
    reference: str,
    upstream: bool,
    downstream: bool,
    depth: int,
    limit: int,
    form: str,
    as_json: bool,
    added: tuple[str, ...],
    removed: tuple[str, ...],
    note: str,
) -> None:
    """Show what made an entity, and what it went into.

    ENTITY is a run, a version of a data set or of a model, a commit, or what contains them: an identifier or a part of one, a
    name, NAME@v3, or any of these after its kind, such as run:3f9a1c2e.
    """
    found = find_entity(session.store, reference)
    name = (found.KIND, found.entity_id)
    if removed:
        session.execute(delete_lineage(session.store, _names(session, removed), [name]))
    if added:
        session.execute(add_lineage(session.store, _names(session, added), [name], note=note))
    elif note:
        msg = "--note says how an input was used; give --add-input with it"
        raise click.UsageError(msg)
    direction: Direction = "both" if upstream == downstream else "upstream" if upstream else "downstream"
    graph = walk(session.store, [name], direction, depth=depth, limit=limit)
    _print(graph, "json" if as_json else form)
    for text in graph.notes if form != "json" and not as_json else ():
        echo(f"Not all is shown: {text}.", err=True)


def _names(session: Session, references: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(found.KIND, found.entity_id) for found in (find_entity(session.store, each) for each in references)]


def _print(graph: Lineage, form: str) -> None:
    if form == "json":
        print_json(graph.to_json())
    elif form == "dot":
        echo(graph.to_dot(), nl=False)
    elif form == "prov":
        print_json(graph.to_prov())
    elif form == "openlineage":  # one event a line, as its tools read and write it
        for event in graph.to_openlineage():
            echo(json_escaped(json.dumps(event, ensure_ascii=False)))
    else:
        for tree in _trees(graph):
            for line in tree.lines():
                print_line(line)


def _trees(graph: Lineage) -> Iterator[Tree]:
    """Iterate over the trees of what was walked from: upstream and downstream apart."""
    inputs: dict[Name, list[Edge]] = {}
    outputs: dict[Name, list[Edge]] = {}
    for edge in graph.edges:
        inputs.setdefault(edge.target, []).append(edge)
        outputs.setdefault(edge.source, []).append(edge)
    for root in graph.roots:
        tree = Tree(_label(graph, root, ""))
        for title, edges, way in (("made from", inputs, "upstream"), ("went into", outputs, "downstream")):
            if graph.direction in ("both", way) and root in edges:
                branch = tree.add(styled(title, dim=True))
                _grow(branch, graph, root, edges, {root}, upstream=way == "upstream")
        yield tree


def _grow(
    branch: Tree, graph: Lineage, name: Name, edges: dict[Name, list[Edge]], shown: set[Name], *, upstream: bool
) -> None:
    """Add what is linked with an entity; what stands in the tree already is not opened again."""
    labels: dict[Name, list[str]] = {}
    for edge in edges.get(name, ()):
        labels.setdefault(edge.source if upstream else edge.target, []).append(edge.label)
    for other, said in labels.items():
        label = ", ".join(dict.fromkeys(filter(None, said[:3]))) + (
            f", and {len(said) - 3} more" if len(said) > 3 else ""
        )
        text = _label(graph, other, label)
        if other in shown:
            branch.add(text + styled("  (see above)" if other in edges else "", dim=True))
            continue
        shown.add(other)
        _grow(branch.add(text), graph, other, edges, shown, upstream=upstream)


def _label(graph: Lineage, name: Name, said: str) -> str:
    node = graph.nodes[name]
    text = styled(f"{node.words} ", dim=True) + styled(clean(node.title), bold=True)
    if node.title != node.entity_id:
        text += styled(f" {clean(short_id(node.entity_id))}", dim=True)
    for fact in ("status", "stage"):
        if value := node.facts.get(fact):
            text += f" {clean(str(value))}"
    if node.state != "present":
        text += styled(f" {node.state}", fg="red")
    return text + styled(f"  ({clean(said)})", dim=True) if said else text
