"""Which streams to take out so that some projects or runs come whole.

A stream cannot be cut: its chain would break. So whole streams are taken, all that say something of what was asked for,
and with them comes whatever else they say. What is erased in them must come with the changes that erased it, and that deleted it before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modeldb_core.errors import NotFoundError
from modeldb_core.log.changes import DELETE
from modeldb_core.log.erasures import Target, target_of
from modeldb_core.model.entities import Project, Run
from modeldb_core.model.schema import KINDS, parts_of
from modeldb_core.movement.deletion import pages, parts
from modeldb_core.movement.logs import changes_of
from modeldb_core.queries import Query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modeldb_core.stores import MetadataStore

_NAMED = 20
"""Of the runs that come along: so many are named."""


@dataclass(slots=True)
class Selection:
    """Streams that hold all that was ever said of some entities.

    Attributes:
        asked: the identifiers of the projects and runs that were asked for.
        streams: the identifiers of the streams.
        wanted: kind and identifier of what was asked for, of what it contains, and of the remarks on that.
        runs: how many of the runs in them were asked for.
        other_runs: how many come along because they are in the same streams.
        other_names: their names, some of them.
        other_projects: the names of the projects of those.
    """

    asked: list[str] = field(default_factory=list)
    streams: set[str] = field(default_factory=set)
    wanted: set[tuple[str, str]] = field(default_factory=set)
    runs: int = 0
    other_runs: int = 0
    other_names: list[str] = field(default_factory=list)
    other_projects: set[str] = field(default_factory=set)


def select(store: MetadataStore, *, projects: Sequence[str] = (), runs: Sequence[str] = ()) -> Selection:
    """Return the streams that touch projects and runs, which are named by their identifiers.

    Memory holds the identifiers of what they contain.
    """
    selection = Selection([*projects, *runs])
    wanted: set[tuple[str, str]] = set()
    for project_id in projects:
        wanted.add((Project.KIND, project_id))
        found = parts(store, Project.KIND, project_id, all_of_them=True)
        wanted.update((entity.KIND, entity.entity_id) for entity in found)
    for run_id in runs:
        wanted.add((Run.KIND, run_id))
        for kind in (kind for kind, _ in parts_of(Run.KIND) if KINDS[kind].remark):
            query = Query(kind, "", "entity_id", (), within=run_id, include_deleted=True)
            wanted.update((kind, entity.entity_id) for entity in pages(store, query))
    for kind, entity_id in sorted(wanted):
        changes = changes_of(store, entity_id=entity_id)
        selection.streams.update(change.stream_id for change in changes if change.kind == kind)
    selection.wanted = wanted
    _look_around(store, selection, wanted)
    return selection


def _look_around(store: MetadataStore, selection: Selection, wanted: set[tuple[str, str]]) -> None:
    """Find what else is in the streams, and follow erasures until every erased payload has the change that erased it."""
    run_ids: set[str] = set()
    waiting, seen = list(selection.streams), set(selection.streams)
    while waiting:
        bare: dict[str, set[Target]] = {}  # payloads that are gone, by their entity
        for change in changes_of(store, stream_id=waiting.pop()):
            if change.kind == Run.KIND:
                run_ids.add(change.entity_id)
            if change.payload is None:
                bare.setdefault(change.entity_id, set()).add(Target.of(change))
        for entity_id, targets in bare.items():
            for change in changes_of(store, entity_id=entity_id):
                is_needed = change.action == DELETE or target_of(change) in targets
                if is_needed and change.stream_id not in seen:
                    seen.add(change.stream_id)
                    waiting.append(change.stream_id)
    selection.streams = seen
    asked = {entity_id for kind, entity_id in wanted if kind == Run.KIND}
    selection.runs = len(run_ids & asked)
    selection.other_runs = len(run_ids - asked)
    for run_id in sorted(run_ids - asked):
        try:
            run = store.get(Run.KIND, run_id)
            if len(selection.other_names) < _NAMED:
                selection.other_names.append(f"{run.name} ({run_id})")
            project_id = str(run.document.get("project_id", ""))
            selection.other_projects.add(store.get(Project.KIND, project_id).name or project_id)
        except NotFoundError:
            continue
