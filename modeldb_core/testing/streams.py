"""A writer that seals changes: for tests, examples and tools that speak to a store directly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.log import stream
from modeldb_core.log.changes import (
    APPEND,
    BEAT,
    CLOSE,
    CREATE,
    DEFAULT_LEASE_S,
    DELETE,
    ERASE,
    GENESIS,
    OPEN,
    RESTORE,
    STREAM,
    UPDATE,
    Change,
)
from modeldb_core.log.erasures import Target
from modeldb_core.log.points import PointGroup, encode_points
from modeldb_core.log.stream import Entry
from modeldb_core.model.entities import DEFAULT_WORKSPACE, derived_id, new_id, now_us

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modeldb_core.stores import MetadataStore


class StreamWriter:
    """Makes the changes of one stream, each sealed and linked to the one before.

    Every method returns the change that it made and keeps it in ``changes``; nothing is sent anywhere.

    Args:
        stream_id: the stream; a new one by default.
        actor: who acts.
        at: the time of the first change, microseconds since 1970-01-01 UTC; now by default. Each further change comes
            a microsecond later; assign to ``at`` to jump.

    Attributes:
        changes: all changes so far.
        at: the time of the next change.
    """

    def __init__(self, stream_id: str | None = None, *, actor: str = "tester", at: int | None = None) -> None:
        self.stream_id = new_id() if stream_id is None else stream_id
        self.actor = actor
        self.at = now_us() if at is None else at
        self.changes: list[Change] = []

    def write(self, action: str, kind: str, entity_id: str, payload: bytes | dict[str, Any]) -> Change:
        """Make any change; a payload in a map is encoded."""
        last = self.changes[-1].hash if self.changes else GENESIS
        writer = stream.StreamWriter(self.stream_id, self.actor, len(self.changes), last)
        change = writer.write(Entry(action, kind, entity_id, payload), self.at)
        self.changes.append(change)
        self.at += 1
        return change

    def take(self, after: int = 0) -> list[Change]:
        """Return the changes with numbers above ``after``."""
        return self.changes[after:]

    # The stream itself

    def open(self, lease_s: float = DEFAULT_LEASE_S) -> Change:
        """Say that the stream begins; without news for ``lease_s`` seconds its running runs are lost."""
        return self.write(OPEN, STREAM, self.stream_id, {"lease_s": lease_s})

    def beat(self, **data: Any) -> Change:  # noqa: ANN401 - payload
        """Renew the lease."""
        return self.write(BEAT, STREAM, self.stream_id, data)

    def close(self) -> Change:
        """Say that the stream has ended."""
        return self.write(CLOSE, STREAM, self.stream_id, {})

    # Entities

    def create(self, kind: str, entity_id: str | None = None, **fields: Any) -> Change:  # noqa: ANN401 - values
        """Create an entity with ``fields``."""
        return self.write(CREATE, kind, entity_id or new_id(), fields)

    def create_run(self, **fields: Any) -> Change:  # noqa: ANN401 - values
        """Create a run of this stream, running since the change's time unless ``fields`` say otherwise."""
        defaults = {"status": "running", "started_at": self.at, "stream_id": self.stream_id}
        return self.create("run", **{**defaults, **fields})

    def create_containers(self, project: str, experiment: str, workspace: str = DEFAULT_WORKSPACE) -> dict[str, str]:
        """Create a project and an experiment by name; returns ``project_id`` and ``experiment_id`` for a run."""
        workspace_id = derived_id("workspace", "", workspace)
        project_id = derived_id("project", workspace_id, project)
        experiment_id = derived_id("experiment", project_id, experiment)
        self.create("workspace", workspace_id, name=workspace)
        self.create("project", project_id, name=project, workspace_id=workspace_id)
        self.create("experiment", experiment_id, name=experiment, project_id=project_id)
        return {"project_id": project_id, "experiment_id": experiment_id}

    def update(
        self,
        kind: str,
        entity_id: str,
        *,
        set: Mapping[str, Any] | None = None,  # noqa: A002 - the payload's word
        put: Mapping[str, Any] | None = None,
        add: Mapping[str, Any] | None = None,
        remove: Mapping[str, Any] | None = None,
    ) -> Change:
        """Update an entity; :func:`~modeldb_core.model.evolve.evolve` says what the parts do."""
        parts = {"set": set, "put": put, "add": add, "remove": remove}
        return self.write(UPDATE, kind, entity_id, {name: part for name, part in parts.items() if part is not None})

    def delete(self, kind: str, entity_id: str, *, window_s: float | None = None) -> Change:
        """Delete an entity, which can be restored for ``window_s`` seconds, 30 days by default."""
        return self.write(DELETE, kind, entity_id, {} if window_s is None else {"window_s": window_s})

    def restore(self, kind: str, entity_id: str) -> Change:
        """Bring a deleted entity back."""
        return self.write(RESTORE, kind, entity_id, {})

    def erase(self, change: Change) -> Change:
        """Have the payload of a change of any stream dropped; of another actor's only if its entity is deleted."""
        return self.write(ERASE, change.kind, change.entity_id, Target.of(change).payload())

    # Points

    def append(
        self,
        run_id: str,
        values: Mapping[str, Sequence[float]],
        *,
        steps: Sequence[int] | None = None,
        times: Sequence[int] | None = None,
    ) -> Change:
        """Append points that were logged together.

        Args:
            run_id: the run.
            values: the values of each key, all of one length.
            steps: their steps; 0, 1, 2... by default.
            times: their times, microseconds since 1970-01-01 UTC; by default each a microsecond after the one before,
                from ``at`` on, which advances.
        """
        count = len(next(iter(values.values()), ()))
        if times is None:
            times = range(self.at, self.at + count)
            self.at += count
        return self.append_groups(
            run_id,
            PointGroup(
                tuple(values),
                np.array(range(count) if steps is None else steps, np.int64),
                np.array(times, np.int64),
                np.array(list(values.values()), np.float64).reshape(len(values), count),
            ),
        )

    def append_groups(self, run_id: str, *groups: PointGroup) -> Change:
        """Append groups of points as one change."""
        return self.write(APPEND, "run", run_id, encode_points(groups))


def read_stream(store: MetadataStore, stream_id: str) -> list[Change]:
    """Return all changes of a stream that a store holds, read in small pages."""
    changes: list[Change] = []
    cursor = 0
    while (page := store.read_changes(after=cursor, limit=3, stream_id=stream_id)).changes:
        changes += page.changes
        cursor = page.cursor
    return changes


def end_of(store: MetadataStore, after: int = 0) -> int:
    """Return the cursor behind everything that a store holds; ``after`` is one from before."""
    cursor = after
    while (page := store.read_changes(after=cursor)).changes:
        cursor = page.cursor
    return cursor
