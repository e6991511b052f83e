"""What erasures that are on their way would take from records that the target of a copy has already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from modeldb_core.errors import ModelDBError, PermissionDeniedError
from modeldb_core.log.changes import CREATE, DELETE, ERASE
from modeldb_core.log.erasures import MARKS, EntityErasures, Target
from modeldb_core.movement.logs import changes_of

if TYPE_CHECKING:
    from modeldb_core.log.changes import Change
    from modeldb_core.log.erasures import Name
    from modeldb_core.movement.logs import ChangeTarget

MayErase: TypeAlias = Callable[[int, Sequence[str]], bool]
"""Asked whether so many payloads, of entities of which some are named, may be erased."""

NAMED = 20
"""Of the entities that would lose something: so many are named."""


class Losses:
    """Counts the payloads that a target had before a copy, and that changes on their way erase.

    Attributes:
        count: how many, by now.
        names: of which entities, some of them.
    """

    def __init__(self, target: ChangeTarget, *, dry_run: bool) -> None:
        self.count = 0
        self.names: list[str] = []
        self._target, self._dry_run = target, dry_run
        self._seen: dict[Name, list[Change]] = defaultdict(list)  # of a dry run: what the target does not get
        self._counted: set[Target] = set()

    def look(self, batch: Sequence[Change], is_old: Callable[[Change], bool]) -> int:
        """Return how many more are lost by a batch; ``is_old`` says of a change whether the target had it before."""
        before = self.count
        names = dict.fromkeys((change.kind, change.entity_id) for change in batch if change.action in (DELETE, ERASE))
        for kind, entity_id in names:
            coming = [
                each for each in batch if (each.kind, each.entity_id) == (kind, entity_id) and each.action in MARKS
            ]
            self._look_at(kind, entity_id, coming, is_old)
        if self._dry_run:
            for change in batch:
                if change.action in MARKS and change.action != CREATE:
                    self._seen[change.kind, change.entity_id].append(change)
        return self.count - before

    def ask(self, may_erase: MayErase | None, source_url: str) -> None:
        """Ask whether that may be; by default it may.

        Raises:
            PermissionDeniedError: it may not.
        """
        if may_erase is None or may_erase(self.count, self.names):
            return
        msg = (
            f"{source_url} erases {self.count:,} or more payloads of what {self._target.url} has "
            f"({', '.join(self.names)}); that was not allowed, so it was taken in only as far as that"
        )
        raise PermissionDeniedError(msg)

    def _look_at(self, kind: str, entity_id: str, coming: Sequence[Change], is_old: Callable[[Change], bool]) -> None:
        history, whole = EntityErasures(), set[Target]()
        for change in changes_of(self._target, entity_id=entity_id):
            if change.kind == kind:
                history.take(change)
                if change.payload is not None and is_old(change):
                    whole.add(Target.of(change))
        if not whole:
            return
        for change in (*self._seen.get((kind, entity_id), ()), *coming):
            history.take(change)
        lost = (history.erased.keys() & whole) - self._counted
        self._counted |= lost
        self.count += len(lost)
        if lost and len(self.names) < NAMED:
            self.names.append(self._name_of(kind, entity_id))

    def _name_of(self, kind: str, entity_id: str) -> str:
        get = getattr(self._target, "get", None)
        try:
            name = get(kind, entity_id).name if get is not None else ""
        except ModelDBError:
            name = ""
        return f"{kind.replace('_', ' ')} {name} ({entity_id})" if name else f"{kind.replace('_', ' ')} {entity_id}"
