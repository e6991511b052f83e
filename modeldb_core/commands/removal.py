"""Deleting entities with all that goes with them, and bringing them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.commands.operation import Operation
from modeldb_core.commands.registry.promotion import moved_on
from modeldb_core.log.changes import DELETE, RESTORE
from modeldb_core.log.erasures import promise
from modeldb_core.log.stream import Entry
from modeldb_core.model.registry import ModelVersion
from modeldb_core.movement.deletion import to_delete, to_restore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modeldb_core.movement.deletion import Name
    from modeldb_core.stores import MetadataStore


def delete(store: MetadataStore, names: Iterable[Name], *, recursive: bool = False, window_days: float) -> Operation:
    """Delete entities, all or none, so that they can be restored; nothing is done to those that are deleted.

    Args:
        store: where what goes with them is looked up.
        names: kind and identifier of each.
        recursive: whether all that they contain goes with them.
        window_days: for how long they are safe from being erased.

    Raises:
        NotFoundError: there is no such entity.
        InvalidArgumentError: one contains something that is not to be deleted, and ``recursive`` is not set.
    """
    listed = list(dict.fromkeys(names))
    among = set(listed)
    found = [
        name
        for kind, entity_id in listed
        for name in to_delete(store, kind, entity_id, recursive=recursive, among=among)
    ]
    return _all(DELETE, found, promise(window_days))


def restore(store: MetadataStore, names: Iterable[Name]) -> Operation:
    """Bring entities back, all or none, with what was deleted with them and the containers they are in.

    A version of a model whose stage is gone, or has another version by now, comes back into the last stage.

    Raises:
        NotFoundError: there is no such entity; ErasedError: it is too late.
    """
    found = [name for kind, entity_id in names for name in to_restore(store, kind, entity_id)]
    back = _all(RESTORE, found, {})
    return Operation((*back.entries, *moved_on(store, [each for kind, each in found if kind == ModelVersion.KIND])))


def _all(action: str, names: list[Name], data: dict[str, Any]) -> Operation:
    return Operation(tuple(Entry(action, kind, entity_id, data) for kind, entity_id in dict.fromkeys(names)))
