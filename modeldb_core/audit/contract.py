"""What an audit reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modeldb_core.log.changes import Head
    from modeldb_core.stores import ChangePage


class ChangeLog(Protocol):
    """What a log is read from: a store, or a bundle. As in the contract of stores."""

    @property
    def is_partial(self) -> bool:
        """Whether payloads are withheld from it."""

    def heads(self) -> Mapping[str, Head]:
        """Return what there is of every stream."""

    def read_changes(
        self, *, after: int = 0, limit: int = 1000, entity_id: str | None = None, stream_id: str | None = None
    ) -> ChangePage:
        """Return a page of the log."""
