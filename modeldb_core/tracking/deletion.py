"""Deleting projects, experiments and runs, and bringing them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.commands import removal
from modeldb_core.movement.deletion import deleted

if TYPE_CHECKING:
    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.entities import Entity
    from modeldb_core.tracking.session import Session


def delete(client: Session, kind: str, entity_id: str, *, recursive: bool = False) -> int:
    """Delete an entity and what goes with it; return how many entities that were.

    Raises: see :meth:`~modeldb_core.tracking.run.RunHandle.delete`.
    """
    return _delete(client, [(kind, entity_id)], recursive=recursive)


def restore(client: Session, kind: str, entity_id: str) -> int:
    """Bring an entity back, with what was deleted with it; return how many entities that were.

    Raises: see :meth:`~modeldb_core.tracking.run.RunHandle.restore`.
    """
    client.settle()
    return _log(client, removal.restore(client.store, [(kind, entity_id)]))


def delete_runs(client: Session, run_ids: list[str], *, recursive: bool = False) -> int:
    """Delete runs with what goes with them, all or none; return how many entities that were.

    Raises: see :meth:`~modeldb_core.tracking.run.RunHandle.delete`.
    """
    return _delete(client, [("run", run_id) for run_id in run_ids], recursive=recursive)


def restore_runs(client: Session, run_ids: list[str]) -> int:
    """Restore runs with what was deleted with them, all or none; return how many entities that were.

    Raises: see :meth:`~modeldb_core.tracking.run.RunHandle.restore`.
    """
    client.settle()
    return _log(client, removal.restore(client.store, [("run", run_id) for run_id in run_ids]))


def _delete(client: Session, names: list[tuple[str, str]], *, recursive: bool) -> int:
    client.settle()
    window_days = client.settings.restore_window_days
    return _log(client, removal.delete(client.store, names, recursive=recursive, window_days=window_days))


def _log(client: Session, operation: Operation) -> int:
    client.execute(operation)
    return len({(entry.kind, entry.entity_id) for entry in operation.entries})


class Trash:
    """What is deleted and can still be restored: :attr:`Client.trash`.

    Containers are deleted with all that they contain if ``recursive`` says so, and are refused otherwise as long as they
    contain something. `modeldb gc` erases for good what was deleted longer ago than ``restore_window_days``.
    """

    def __init__(self, client: Session) -> None:
        self._client = client

    def entities(self) -> tuple[Entity, ...]:
        """Return what is deleted, but for what went with the container it is in."""
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
