"""Declares the project and the experiment of a run together with it: a run is seen although its project was deleted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from modeldb_core.commands.declaring import declare_again
from modeldb_core.errors import NotFoundError
from modeldb_core.log.changes import payload_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modeldb_core.commands.operation import Operation
    from modeldb_core.journal.shipping import OpenStream
    from modeldb_core.stores import MetadataStore
    from modeldb_core.tracking.session import Session

_DECLARED_LIFE_S = 10.0
_SHORT_BYTES = 1024
"""A declaration that is no longer is never shortened: nobody else knows the name of what is erased meanwhile."""


def execute_within(session: Session, containers: Iterable[Operation], operation: Operation) -> OpenStream | None:
    """Carry an operation out as :meth:`Session.execute` does, and have its containers declared in the same batch.

    So the store has the containers as soon as it has their contents, even if somebody deleted them before.
    """
    containers = tuple(containers)
    for each in containers:
        _declare(session, each)
    stream = session.execute(operation)
    for each in containers:
        _declare(session, each)  # another thread may have begun a batch in between
    return stream


def _declare(session: Session, operation: Operation) -> None:
    """Create a container unless that waits in the journal; what is long in few words, where this stream did so just before."""
    stream, now, entity_id = session.writer.ensure_stream(), time.monotonic(), operation.entity_id
    entry = operation.entries[0]
    created_at, position = stream.declared.get(entity_id, (-_DECLARED_LIFE_S, -1))
    at = stream.journal.end
    if entry.data and now - created_at >= _DECLARED_LIFE_S:
        created_at = now
    elif stream.is_waiting(position):
        return
    elif len(payload_of(entry.values, entry.kind)) > _SHORT_BYTES:
        operation = declare_again(entry.kind, entity_id)
    session.execute(operation)
    # Only now: what interrupts this must not believe that it is in the journal.
    stream.declared[entity_id] = created_at, at


def declare_all_again(session: Session, project_id: str, experiment_id: str) -> Iterator[Operation]:
    """Iterate over what brings a project and an experiment back, as far as they are known, if anybody has deleted them."""
    for kind, entity_id in (("project", project_id), ("experiment", experiment_id)):
        if entity_id:
            yield session.declarations.get(entity_id) or declare_again(kind, entity_id)


def container_ids(store: MetadataStore, run_id: str) -> tuple[str, str]:
    """Return the identifiers of the project and the experiment of a run; of one that is on its way to the store, none."""
    try:
        document = store.get("run", run_id).document
    except NotFoundError:
        return "", ""
    return str(document.get("project_id") or ""), str(document.get("experiment_id") or "")
