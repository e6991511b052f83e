"""Which erasures take effect: the one rule, by which every store decides alike.

An ``erase`` change empties another one of the same entity only if that is there with exactly the hash that is named, and
if either the entity is deleted, since its restore window at least, or both changes are of one actor. What it cannot do
is recorded and has no effect.

The order of the log decides. An erasure is looked at when the last of the three is there: it itself, its target, and the
deletion. So it may come before what it names, as in a copy; and nothing that comes later undoes it. Only what stays of a
change that was erased counts, so that a replay of the log comes to the same end.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from modeldb_core.errors import InvalidArgumentError
from modeldb_core.log.changes import CREATE, DELETE, ERASE, RESTORE, STREAM, Change, is_name, misfit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RESTORE_WINDOW_S = 30 * 24 * 3600.0
"""For so long what was deleted can be brought back, where its ``delete`` change does not say for how long."""

_LONGEST_S = 1e12

MARKS = (CREATE, DELETE, RESTORE, ERASE)
"""The actions that decide, beside those of the targets."""

Place = tuple[str, int]
"""Stream and number of a change."""
Name = tuple[str, str]
"""Kind and identifier of an entity."""


class Target(NamedTuple):
    """The change that an ``erase`` change names."""

    stream_id: str
    seq: int
    hash: str

    @classmethod
    def of(cls, change: Change) -> Target:
        """Return the name of a change."""
        return cls(change.stream_id, change.seq, change.hash.hex())

    @property
    def place(self) -> Place:
        """Its stream and number."""
        return self.stream_id, self.seq

    def payload(self) -> dict[str, str | int]:
        """Return the payload of the change that erases it."""
        return self._asdict()


def target_of(change: Change) -> Target | None:
    """Return what an ``erase`` change names; ``None`` of any other change.

    Raises:
        InvalidArgumentError: it names nothing.
    """
    if change.action != ERASE or change.payload is None:
        return None
    data = change.data()
    stream_id, seq, value = data.get("stream_id"), data.get("seq"), data.get("hash")
    is_number = isinstance(seq, int) and not isinstance(seq, bool) and 1 <= seq < 2**63
    is_hash = isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef")
    if not isinstance(stream_id, str) or not is_name(stream_id) or not is_number or not is_hash:
        raise misfit(change, "expected stream_id, seq and hash (64 hexadecimal digits) of a change of that entity")
    return Target(stream_id, seq, value)  # type: ignore[arg-type]  # a number


def check_targets(changes: Iterable[Change]) -> None:
    """Check that every ``erase`` change names something; raises what :func:`target_of` raises."""
    for change in changes:
        target_of(change)


def promise(restore_window_days: float) -> dict[str, float]:
    """Return the payload of a ``delete`` change that lets what it deletes be restored for so many days."""
    return {"window_s": restore_window_days * 86_400}


def window_of(change: Change) -> float:
    """Return for how many seconds what a ``delete`` change deletes can be restored."""
    try:
        window = change.data().get("window_s")
    except InvalidArgumentError:  # of a kind that stores do not look into
        window = None
    is_number = isinstance(window, (int, float)) and not isinstance(window, bool)
    return float(min(window, _LONGEST_S)) if is_number and window >= 0 else RESTORE_WINDOW_S  # type: ignore[type-var, operator, arg-type]


def can_be_erased(change: Change) -> bool:
    """Return whether the payload of a change may ever go.

    What is said of streams, of deletions and of erasures stays: heads, further copies, and this rule are made of it.
    """
    return change.kind != STREAM and change.action not in (DELETE, RESTORE, ERASE)


class EntityErasures:
    """Follows the changes of one entity in the order of the log.

    Attributes:
        erased: what was erased by now; whether the entity was deleted, or else its own author took something back.
        idle: ``erase`` changes that have had no effect by now.
    """

    def __init__(self) -> None:
        self.erased: dict[Target, bool] = {}
        self.idle = 0
        self._there: dict[Target, str] = {}  # with its actor
        self._naming: Mapping[Target, list[tuple[str, int]]] = defaultdict(list)  # by the target: actors and times
        self._safe_until: float | None = None  # of a deleted entity

    def take(self, change: Change) -> None:
        """Take the next change of the entity."""
        if change.action in (CREATE, RESTORE):
            self._safe_until = None
        target = Target.of(change) if can_be_erased(change) else None
        if target is not None:
            self._there[target] = change.actor
        elif change.action == DELETE:
            self._safe_until = change.recorded_at + window_of(change) * 1e6
            for each in list(self._naming):
                self._settle(each)
        elif (target := target_of(change)) is not None:
            self._naming[target].append((change.actor, change.recorded_at))
            self.idle += target not in self.erased
        if target is not None and target in self._naming:
            self._settle(target)

    @property
    def there(self) -> Iterable[Target]:
        """The changes that were taken and can be erased."""
        return self._there

    def names(self, target: Target) -> bool:
        """Return whether a change names ``target``, with effect or without."""
        return target in self._naming

    def actors(self, target: Target) -> set[str]:
        """Return who named ``target``."""
        return {actor for actor, _ in self._naming[target]}

    def was_deleted(self, target: Target) -> bool:
        """Return whether ``target`` was erased after its entity had been deleted."""
        return self.erased.get(target, False)

    def _settle(self, target: Target) -> None:
        author = self._there.get(target)
        if author is None or target in self.erased:
            return
        for actor, recorded_at in self._naming[target]:
            was_deleted = self._safe_until is not None and recorded_at >= self._safe_until
            if was_deleted or actor == author:
                self.erased[target] = was_deleted
                self.idle -= len(self._naming[target])
                return


def follow(changes: Iterable[Change]) -> dict[Name, EntityErasures]:
    """Return what became of the erasures of each entity, from its changes in the order of the log."""
    found: defaultdict[Name, EntityErasures] = defaultdict(EntityErasures)
    for change in changes:
        found[change.kind, change.entity_id].take(change)
    return found


def erased_in(changes: Iterable[Change]) -> set[Place]:
    """Return the places of what is erased, from changes in the order of the log."""
    return {target.place for entity in follow(changes).values() for target in entity.erased}
