"""What people say of lineage by hand: that something was made from something else, where no logging has seen it.

Such an edge is an entry of the field ``inputs`` of what was made. Nothing may so come to be made from itself. That is
decided where it is written: the operation carries conditions that nobody has said anything else meanwhile of what the
inputs were made from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.commands.edits import living, update
from modeldb_core.commands.operation import Operation, together
from modeldb_core.errors import CycleError, InvalidArgumentError, NotFoundError
from modeldb_core.log.conditions import ValueIs
from modeldb_core.model.links import flows_of
from modeldb_core.model.schema import KINDS, lineage_kinds
from modeldb_core.model.values import check_text
from modeldb_core.provenance.graph import Name
from modeldb_core.provenance.walk import MAX_LIMIT, Walker, walk
from modeldb_core.queries import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from modeldb_core.log.conditions import Condition
    from modeldb_core.model.entities import Entity
    from modeldb_core.provenance.lineage import Lineage
    from modeldb_core.stores import MetadataStore

INPUTS = "inputs"
MAX_EDGES = 1000
"""Of one call."""


def add_lineage(
    store: MetadataStore, inputs: Iterable[tuple[str, str]], outputs: Iterable[tuple[str, str]], *, note: str = ""
) -> Operation:
    """Say that each of ``outputs`` was made from all of ``inputs``.

    Args:
        store: where they are looked up.
        inputs: kinds and identifiers.
        outputs: likewise.
        note: how, in words.

    Raises:
        CycleError: an output would be made from itself; the message shows how.
        InvalidArgumentError: there are none or too many, or a kind takes no part.
        NotFoundError: one is not there; ConflictError: it is deleted.
    """
    sources, targets = _checked(store, inputs, "inputs"), _checked(store, outputs, "outputs")
    if len(sources) * len(targets) > MAX_EDGES:
        msg = f"{len(sources):,} inputs of {len(targets):,} outputs are too many at once; expected at most {MAX_EDGES:,} edges"
        raise InvalidArgumentError(msg)
    for target in targets:
        if INPUTS not in KINDS[target.kind].stored:
            able = ", ".join(kind for kind, each in KINDS.items() if INPUTS in each.stored)
            msg = f"a {KINDS[target.kind].words} does not take inputs by hand; expected one of {able}"
            raise InvalidArgumentError(msg)
    walker = Walker(store, MAX_LIMIT)
    begun = walker.begin(sources)
    walker.follow(begun, MAX_DEPTH, upstream=True)
    _refuse_cycles(store, walker.graph(begun, "upstream", MAX_DEPTH), sources, targets)
    said = {"note": check_text(note, "note")} if note else {}
    entries = {
        _key(name): {"kind": name.kind, "entity_id": name.entity_id, "by_hand": True, **said} for name in sources
    }
    changes = [update(*target, {"put": {INPUTS: entries}}) for target in targets]
    done = together(changes)
    return Operation(done.entries, tuple(_guards(walker)), targets[0].entity_id)


def delete_lineage(
    store: MetadataStore, inputs: Iterable[tuple[str, str]], outputs: Iterable[tuple[str, str]]
) -> Operation:
    """Take back that outputs were made from inputs, as far as people said so; what was logged stays.

    Raises:
        NotFoundError: nobody has said so of any of them; the message names what was logged instead.
        InvalidArgumentError: there are none.
    """
    sources, targets = _checked(store, inputs, "inputs"), _checked(store, outputs, "outputs")
    changes = []
    for target in targets:
        said = _said(store.get(*target))
        found = [key for source in sources if said.get(key := _key(source), {}).get("by_hand")]
        if found:
            changes.append(update(*target, {"remove": {INPUTS: found}}))
    if not changes:
        msg = (
            f"nobody has said that {_listed(targets)} came of {_listed(sources)}; only edges that were made by hand can be"
            f" deleted, what was logged is part of the record"
        )
        raise NotFoundError(msg)
    return together(changes)


def check_new(store: MetadataStore, kind: str, entity_id: str, document: Mapping[str, Any]) -> None:
    """See that an entity whose identifier was chosen is not made from what names it already.

    Raises:
        CycleError: it would be made from itself.
    """
    named = {Name(flow.kind or "", flow.entity_id) for flow in flows_of(kind, document) if flow.is_input}
    walker = Walker(store, MAX_LIMIT)
    begun = walker.begin(name for name in named if _is_there(store, name))
    walker.follow(begun, MAX_DEPTH, upstream=True)
    if entity_id in {name.entity_id for name in (*named, *walker.entities)}:
        msg = f"{KINDS[kind].words} {entity_id} would be made from itself: what it is made from names it; nothing was applied"
        raise CycleError(msg)


def _is_there(store: MetadataStore, name: Name) -> bool:
    try:
        return bool(store.get(*name))
    except (NotFoundError, InvalidArgumentError):
        return False


def _checked(store: MetadataStore, names: Iterable[tuple[str, str]], what: str) -> list[Name]:
    listed = [Name(*name) for name in dict.fromkeys(map(tuple, names))]
    if not listed:
        msg = f"{what} are empty; name at least one entity"
        raise InvalidArgumentError(msg)
    kinds = lineage_kinds()
    for name in listed:
        if name.kind not in kinds:
            msg = f"{name.kind!r:.80} takes no part in lineage; expected an entity of a kind among {', '.join(kinds)}"
            raise InvalidArgumentError(msg)
        living(store, *name)
    return listed


def _refuse_cycles(store: MetadataStore, above: Lineage, sources: Sequence[Name], targets: Sequence[Name]) -> None:
    """See that no output is among what the inputs were made from.

    Raises:
        CycleError: one is.
        InvalidArgumentError: there is too much on both sides to see that.
    """
    for target in targets:
        if target in above.nodes:
            way = " -> ".join(above.nodes[name].title for name in _way(above, target, sources))
            msg = f"{KINDS[target.kind].words} {target.entity_id} would be made from itself: {way}; nothing was applied"
            raise CycleError(msg)
    if above.is_complete:
        return
    below = walk(store, targets, "downstream", depth=MAX_DEPTH, limit=MAX_LIMIT)
    for source in sources:
        if source in below.nodes:
            msg = f"{KINDS[source.kind].words} {source.entity_id} was made from an output; nothing was applied"
            raise CycleError(msg)
    if not below.is_complete:
        msg = (
            f"the inputs have more than {MAX_LIMIT:,} entities or {MAX_DEPTH} links upstream, and the outputs downstream: "
            "nobody can say soon that this makes no cycle; nothing was applied"
        )
        raise InvalidArgumentError(msg)


def _way(above: Lineage, start: Name, ends: Sequence[Name]) -> list[Name]:
    """Return how one entity leads to one of others, downstream, by the fewest links; then itself again."""
    made: dict[Name, list[Name]] = {}
    for edge in above.edges:
        made.setdefault(edge.source, []).append(edge.target)
    before, front = {start: start}, [start]
    while front and before.keys().isdisjoint(ends if start not in ends else [start]):
        reached = {target: name for name in front for target in made.get(name, ()) if target not in before}
        before.update(reached)
        front = list(reached)
    way = [next((end for end in ends if end in before), start)]
    while way[-1] != start:
        way.append(before[way[-1]])
    return [*reversed(way), start]


def _guards(walker: Walker) -> Iterator[Condition]:
    """Iterate over the conditions that nobody says meanwhile that one of the inputs was made from an output."""
    for name, entity in walker.entities.items():  # at most MAX_LIMIT, which is fewer than a batch may carry
        if entity is not None and INPUTS in KINDS[name.kind].stored:
            yield ValueIs(*name, INPUTS, entity.document.get(INPUTS))


def _said(entity: Entity) -> Mapping[str, Any]:
    said = entity.document.get(INPUTS)
    entries = said.items() if isinstance(said, dict) else ()
    return {key: entry for key, entry in entries if isinstance(entry, dict)}


def _key(name: Name) -> str:
    return f"{name.kind}:{name.entity_id}"


def _listed(names: Sequence[Name]) -> str:
    return ", ".join(map(_key, names[:5])) + (", ..." if len(names) > 5 else "")
