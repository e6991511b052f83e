"""Leaving out of a bundle what the streams in it say of other things: their payloads, so that every chain still verifies.

A hash covers the digest of a payload and not the payload, which is why it can be erased. Withheld is not erased: the
payload is where it always was, and the bundle names each change whose payload it does not hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.errors import NotFoundError
from modeldb_core.log.changes import ERASE, STREAM
from modeldb_core.model.links import links_of
from modeldb_core.model.schema import KINDS

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from modeldb_core.log.changes import Change
    from modeldb_core.model.entities import Entity
    from modeldb_core.stores import MetadataStore

Name = tuple[str, str]
"""Kind and identifier of an entity."""
Ranges = tuple[tuple[int, int], ...]
"""Numbers of changes of a stream: the first and the last of each stretch."""


class Withholding:
    """Takes the payloads of all changes that are not about some entities.

    What is left of them is what the chain needs: who did what kind of thing to which identifier, and when.
    """

    def __init__(self, kept: Container[Name]) -> None:
        self._kept = kept
        self._withheld: dict[str, list[int]] = {}

    def __call__(self, change: Change) -> Change:
        """Return a change as it may be handed on."""
        is_kept = change.kind == STREAM or change.action == ERASE or (change.kind, change.entity_id) in self._kept
        if is_kept or change.payload is None:
            return change
        self._withheld.setdefault(change.stream_id, []).append(change.seq)
        return change.erased()

    @property
    def withheld(self) -> dict[str, Ranges]:
        """By stream, the changes whose payloads were taken."""
        return {stream_id: _ranges(numbers) for stream_id, numbers in self._withheld.items()}


def needed_with(store: MetadataStore, wanted: Iterable[Name]) -> set[Name]:
    """Return what is to be kept so that some entities can be understood: they, and what they name."""
    kept, waiting = set(wanted), list(wanted)
    while waiting:
        kind, entity_id = waiting.pop()
        if kind not in KINDS:
            continue
        try:
            entity = store.get(kind, entity_id)
        except NotFoundError:
            continue
        for name in _needed_by(entity):
            if name not in kept:
                kept.add(name)
                waiting.append(name)
    return kept


def is_within(ranges: Ranges, number: int) -> bool:
    """Return whether a number is in one of the stretches."""
    return any(first <= number <= last for first, last in ranges)


def _needed_by(entity: Entity) -> Iterable[Name]:
    """Iterate over what an entity names; not over others of its kind, which can be understood by themselves."""
    for link in links_of(entity.KIND, entity.document):
        if link.kind not in ("", entity.KIND):
            yield link.kind, link.entity_id


def _ranges(numbers: list[int]) -> Ranges:
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return tuple(found)
