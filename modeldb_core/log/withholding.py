"""Keeping back what changes say of other things, so that every chain still verifies.

A hash covers the digest of a payload and not the payload, which is why it can be erased, and why it can be left out of
what somebody is shown. Withheld is not erased: the payload is where it always was, and the change that is shown says so
(:attr:`~modeldb_core.log.changes.Change.withheld`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.log.changes import ERASE, STREAM

if TYPE_CHECKING:
    from collections.abc import Container

    from modeldb_core.log.changes import Change
    from modeldb_core.log.erasures import Name


class Withholding:
    """Takes the payloads of all changes that are not about some entities.

    What is left of them is what the chain needs: who did what kind of thing to which identifier, and when.
    """

    def __init__(self, kept: Container[Name]) -> None:
        self._kept = kept

    def __call__(self, change: Change) -> Change:
        """Return a change as it may be handed on."""
        is_kept = change.kind == STREAM or change.action == ERASE or (change.kind, change.entity_id) in self._kept
        return change if is_kept or change.payload is None else change.without_payload()
