"""Declaring entities that people name, as writers do who may be offline: what every program that logs needs."""

from __future__ import annotations

from typing import Any

from modeldb_core.commands.names import check_name
from modeldb_core.commands.operation import Operation
from modeldb_core.log.changes import CREATE
from modeldb_core.log.stream import Entry


def declare(kind: str, entity_id: str, name: str, **fields: Any) -> Operation:  # noqa: ANN401 - values
    """Make a container unless there is one: writers who declare one name, offline too, make one container.

    One that was deleted comes back.

    Args:
        kind: of the container.
        entity_id: as :meth:`~modeldb_core.stores.MetadataStore.identify` returns it for the name.
        name: what people call it.
        fields: what else is known of it, among it what it is part of.
    """
    said = {"name": check_name(name, kind), **fields}
    return Operation((Entry(CREATE, kind, entity_id, said),), entity_id=entity_id)


def declare_again(kind: str, entity_id: str) -> Operation:
    """Say that there is an entity that was made before: if anybody has deleted it since, it comes back."""
    return Operation((Entry(CREATE, kind, entity_id, {}),), entity_id=entity_id)
