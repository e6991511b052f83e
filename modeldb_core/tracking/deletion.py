"""Deleting projects, experiments and runs, and bringing them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.log.changes import DELETE, RESTORE
from modeldb_core.log.erasures import promise
from modeldb_core.model.entities import now_us

if TYPE_CHECKING:
    from modeldb_core.model.entities import Entity
    from modeldb_core.tracking.client import Client


def delete(client: Client, kind: str, entity_id: str, *, recursive: bool = False) -> int:
    """Delete an entity and what goes with it; return how many entities that were.

    Raises: see :meth:`~modeldb_core.tracking.run.RunHandle.delete`.
    """
    from modeldb_core.movement.deletion import to_delete

    client.settle()
    return _log(client, DELETE, to_delete(client.store, kind, entity_id, recursive=recursive))


def restore(client: Client, kind: str, entity_id: str) -> int:
    """Bring an entity back, with what was deleted with it; return how many entities that were.

    Raises: see :meth:`~modeldb_core.tracking.run.RunHandle.restore`.
    """
    from modeldb_core.movement.deletion import to_restore

    client.settle()
    return _log(client, RESTORE, to_restore(client.store, kind, entity_id))


def change_all(client: Client, action: str, run_ids: list[str], *, recursive: bool = False) -> int:
    """Delete or restore runs with what goes with them, all or none; return how many entities that were.

    Raises: see :meth:`~modeldb_core.tracking.run.RunHandle.delete` and ``restore``.
    """
    from modeldb_core.movement.deletion import to_delete, to_restore

    client.settle()
    names: dict[tuple[str, str], None] = {}
    for run_id in run_ids:
        found = (
            to_delete(client.store, "run", run_id, recursive=recursive)
            if action == DELETE
            else to_restore(client.store, "run", run_id)
        )
        names.update(dict.fromkeys(found))
    return _log(client, action, list(names))


def _log(client: Client, action: str, names: list[tuple[str, str]]) -> int:
    now = now_us()  # one time for all: what went together comes back together
    payload = promise(client.settings.restore_window_days) if action == DELETE else {}
    for kind, entity_id in names:
        client.log_change(action, kind, entity_id, payload, recorded_at=now)
    return len(names)


class Trash:
    """What is deleted and can still be restored: :attr:`Client.trash`.

    Containers are deleted with all that they contain if ``recursive`` says so, and are refused otherwise as long as they
    contain something. `modeldb gc` erases for good what was deleted longer ago than ``restore_window_days``.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def entities(self) -> tuple[Entity, ...]:
        """Return what is deleted, but for what went with the container it is in."""
        from modeldb_core.movement.deletion import deleted

        self._client.settle()
        return tuple(deleted(self._client.store))

    def delete_project(self, project: str, *, recursive: bool = False) -> int:
        """Delete a project by its name; return how many entities went.

        Raises:
            NotFoundError: there is none.
            InvalidArgumentError: it contains something, and ``recursive`` is not set.
        """
        return delete(self._client, "project", self._client.container_id(project), recursive=recursive)

    def restore_project(self, project: str) -> int:
        """Bring a project back, with what was deleted with it; return how many entities came.

        Raises:
            NotFoundError: there is none; ErasedError: it is too late.
        """
        return restore(self._client, "project", self._client.container_id(project))

    def delete_experiment(self, project: str, experiment: str, *, recursive: bool = False) -> int:
        """Delete an experiment by its name; otherwise like :meth:`delete_project`."""
        return delete(self._client, "experiment", self._client.container_id(project, experiment), recursive=recursive)

    def restore_experiment(self, project: str, experiment: str) -> int:
        """Bring an experiment back, and its project; otherwise like :meth:`restore_project`."""
        return restore(self._client, "experiment", self._client.container_id(project, experiment))
