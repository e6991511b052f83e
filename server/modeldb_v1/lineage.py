"""What was made from what: edges by hand, and the neighbours of runs and of versions of data sets."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from modeldb_core.commands import lineage
from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.provenance.graph import Name
from modeldb_core.provenance.walk import walk
from modeldb_v1.calls import read, write
from modeldb_v1.kinds import looked_up
from modeldb_v1.schema import enum_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modeldb_core.provenance.lineage import Lineage
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields

_TYPES = enum_values("LineageEntryEnum.LineageEntryType")
_KINDS: Mapping[int, str] = MappingProxyType(
    {_TYPES["EXPERIMENT_RUN"]: "run", _TYPES["DATASET_VERSION"]: "dataset_version"}
)
_NUMBERS: Mapping[str, int] = MappingProxyType({kind: number for number, kind in _KINDS.items()})
_SUCCESSION = "parent_id"
"""The field that names the version before, and the run of which one is a part: no lineage in the words of the v1 API."""


@write("LineageService.addLineage")
def add_lineage(context: ServerContext, request: Fields, response: Fields) -> None:
    """Say that each output was made from all inputs."""
    inputs, outputs = _both(request)
    for name in (*inputs, *outputs):
        if looked_up(context, *name) is None:
            msg = f"External resource with a specified id does not exist: {name.entity_id[:80]}"
            raise InvalidArgumentError(msg)
    context.execute(lineage.add_lineage(context.store, inputs, outputs))
    response.status = True


@write("LineageService.deleteLineage")
def delete_lineage(context: ServerContext, request: Fields, response: Fields) -> None:
    """Take back what was said by hand; of what nobody said, nothing."""
    inputs, outputs = ([name for name in names if looked_up(context, *name) is not None] for names in _both(request))
    response.status = True
    if not inputs or not outputs:
        return
    try:
        operation = lineage.delete_lineage(context.store, inputs, outputs)
    except NotFoundError:
        return
    context.execute(operation)


@read("LineageService.findAllInputs", "LineageService.findAllOutputs", "LineageService.findAllInputsOutputs")
def find_all(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return for each item what it was made from, and what was made from it, as far as the response has a place for that."""
    names = _names(request.items, "items")
    there = [name for name in names if looked_up(context, *name) is not None]
    graph = walk(context.store, there, depth=1) if there else None
    for field in response.DESCRIPTOR.fields_by_name:
        for name in names:
            batch = getattr(response, field).add()
            for other in _neighbours(graph, name, field) if graph else ():
                batch.items.add(type=_NUMBERS[other.kind], external_id=other.entity_id)


def _neighbours(graph: Lineage, name: Name, field: str) -> Iterable[Name]:
    found = (
        (edge.source if field == "inputs" else edge.target)
        for edge in (graph.inputs_of(name) if field == "inputs" else graph.outputs_of(name))
        if edge.field != _SUCCESSION
    )
    return dict.fromkeys(other for other in found if other.kind in _NUMBERS)


def _both(request: Fields) -> tuple[list[Name], list[Name]]:
    return _names(request.input, "input"), _names(request.output, "output")


def _names(entries: Iterable[Fields], field: str) -> list[Name]:
    """Return what entries name.

    Raises:
        InvalidArgumentError: there are none, one says nothing, or one is there twice.
    """
    names = []
    for entry in entries:
        if entry.type not in _KINDS or not entry.external_id:
            msg = f"an entry of {field} says nothing: expected the type EXPERIMENT_RUN or DATASET_VERSION, and an external_id"
            raise InvalidArgumentError(msg)
        names.append(Name(_KINDS[entry.type], entry.external_id))
    if not names:
        msg = f"{field} not found in request; name at least one"
        raise InvalidArgumentError(msg)
    if len(set(names)) < len(names):
        msg = f"{field} has an entry twice; name each once"
        raise InvalidArgumentError(msg)
    return names
