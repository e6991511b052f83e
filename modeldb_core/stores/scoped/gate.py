"""What may be written in a scope: judged before the store is asked, so that its answer tells nothing of others.

A change must be about something that lies in the scope, or make something that will. What is outside and what is not there
are refused with the same words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from modeldb_core.errors import NotFoundError, PermissionDeniedError, PreconditionError, StreamDeniedError
from modeldb_core.log.changes import CREATE, STREAM, UPDATE
from modeldb_core.log.conditions import Instant, Unique, check_form
from modeldb_core.model.schema import ANY, KINDS
from modeldb_core.queries import Query, condition
from modeldb_core.stores.scoped.names import SharedNames
from modeldb_core.stores.scoped.sight import Sight

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from modeldb_core.log.changes import Change
    from modeldb_core.log.conditions import Condition
    from modeldb_core.log.erasures import Name
    from modeldb_core.model.schema import FieldDeclaration
    from modeldb_core.stores.contract import MetadataStore
    from modeldb_core.stores.scoped.log import NarrowedLog
    from modeldb_core.stores.scoped.scope import Scope

_NOTHING = Instant({}, {})
_ALTERED = ("set", "put", "add", "remove")


@dataclass(slots=True)
class _Batch:
    """What is known while a batch is judged: what lies in the scope, and what does once it is applied."""

    held: set[Name]
    made: set[Name] = field(default_factory=set)

    def holds(self, name: Name) -> bool:
        return name in self.held or name in self.made


class Gate:
    """Judges what a principal writes.

    Args:
        store: the whole store.
        sight: what is seen of it.
        log: the log as it is seen.
        scope: what may be seen, changed and governed.
    """

    def __init__(self, store: MetadataStore, sight: Sight, log: NarrowedLog, scope: Scope) -> None:
        self._store, self._sight, self._log = store, sight, log
        self._written = sight if scope.to_write == scope else Sight(store, scope.to_write)
        self._governed = self._written if scope.to_govern == scope.to_write else Sight(store, scope.to_govern)
        self._names = SharedNames(store, sight)

    def check(self, changes: Sequence[Change], expect: Sequence[Condition]) -> tuple[Condition, ...]:
        """Return the conditions that the store is to decide on: those on what is seen.

        Raises:
            PermissionDeniedError: a change is about something outside of the scope, or would put something there.
            StreamDeniedError: a stream speaks of others alone.
            PreconditionError: a condition on something outside does not hold of something that is not there.
        """
        check_form(expect)
        for stream_id in dict.fromkeys(change.stream_id for change in changes):
            if self._log.is_of_others(stream_id):
                msg = f"stream {stream_id} is none that you may add to; nothing was applied: begin another one"
                raise StreamDeniedError(msg)
        altering = [change for change in changes if change.kind != STREAM]
        data = [_said(change) for change in altering]
        names = {(change.kind, change.entity_id) for change in altering}
        names |= {
            name for each, said in zip(altering, data, strict=True) for _, name in _containers(each, said) if name
        }
        batch = _Batch(self._written.held_of(names))
        for change, said in zip(altering, data, strict=True):
            self._check(change, said, batch)
        claimed = [
            one for change, said in zip(altering, data, strict=True) for one in self._names.claimed_by(change, said)
        ]
        for one in claimed:
            self._names.check(one)
        left = [each for each in expect if not self._is_settled(each, claimed)]
        if claimed and self._store.decides:  # nobody may come between
            left += [one for one in claimed if one not in left]
        return tuple(left)

    # Changes

    def _check(self, change: Change, said: Mapping[str, Any], batch: _Batch) -> None:
        name = (change.kind, change.entity_id)
        given = list(_containers(change, said))
        if batch.holds(name):
            for declared, container in given:
                if not self._may_hold(name, declared, container, batch) and not self._says_nothing(change, declared):
                    _refuse(change)
            if name not in batch.made and not self._may_govern(change, said):
                _refuse(change)
        elif change.action == CREATE and given and not self._is_used(change.entity_id):
            inside = [one for declared, one in given if one is not None and self._lies(declared, one, batch)]
            if not inside or not all(self._may_hold(name, declared, one, batch) for declared, one in given):
                _refuse(change)
            batch.made.add(name)
        elif not self._repeats(change, said):
            _refuse(change)

    def _may_govern(self, change: Change, said: Mapping[str, Any]) -> bool:
        """Return whether a change leaves alone what those alone alter who govern the place, or is one of theirs."""
        if self._governed is self._written:
            return True
        fields = {each.name for each in KINDS[change.kind].fields.values() if each.governed}
        if change.action == CREATE:
            leaves = not fields & said.keys() or all(self._document(change).get(each) for each in fields & said.keys())
        else:
            parts = [part for part in said.values() if isinstance(part, (dict, list))]
            leaves = change.kind != "workspace" and not any(each in part for part in parts for each in fields)
        return leaves or bool(self._governed.held_of([(change.kind, change.entity_id)]))

    def _may_hold(self, name: Name, declared: FieldDeclaration, container: Name | None, batch: _Batch) -> bool:
        """Return whether something in the scope may be put into a container."""
        if container is None:  # it would be taken out of one: only what is a part of its like stays where it is
            return declared.refers_to == name[0]
        if self._lies(declared, container, batch):
            return True
        if declared.refers_to == name[0]:  # another run, which may arrive later
            return not self._exists(container)
        return container[0] == "workspace" and name[0] != "workspace" and self._is_above(name, container[1])

    def _lies(self, declared: FieldDeclaration, container: Name, batch: _Batch) -> bool:
        """Return whether a container lies in the scope; that of a comment is named without its kind."""
        return batch.holds(container) or (declared.refers_to == ANY and self._holds_any(container[1], batch))

    def _holds_any(self, entity_id: str, batch: _Batch) -> bool:
        """Return whether something of any kind that has an identifier lies in the scope, and nothing else has it."""
        names = [(kind, entity_id) for kind in KINDS]
        return any(name in batch.made for name in names) or bool(self._written.held_of(names))

    def _is_above(self, name: Name, workspace_id: str) -> bool:
        """Return whether something lies in a project of the scope, and that in a workspace."""
        return name[0] == "project" and workspace_id in self._written.above()

    def _says_nothing(self, change: Change, declared: FieldDeclaration) -> bool:
        """Return whether a change creates again what is there and has a container already, which then stays."""
        return change.action == CREATE and bool(self._document(change).get(declared.name))

    def _repeats(self, change: Change, said: Mapping[str, Any]) -> bool:
        """Return whether a change declares the workspace of a project of the scope, as every run that begins does."""
        if (change.kind, change.action) != ("workspace", CREATE) or change.entity_id not in self._sight.above():
            return False
        document = self._document(change)
        return document.get("deleted_at") is None and all(document.get(name) == said[name] for name in said)

    def _document(self, change: Change) -> Mapping[str, Any]:
        try:
            return self._store.get(change.kind, change.entity_id).document
        except NotFoundError:
            return {}

    def _exists(self, name: Name) -> bool:
        """Return whether there is something, wherever it lies; what was erased was there."""
        if name[0] not in KINDS:
            return False
        try:
            self._store.get(*name)
        except NotFoundError as error:
            return type(error) is not NotFoundError
        return True

    def _is_used(self, entity_id: str) -> bool:
        """Return whether anything was ever said of something with an identifier, of whatever kind.

        A comment names what it is about without its kind: what had the identifier of somebody's run would draw its comments.
        """
        return bool(self._store.read_changes(entity_id=entity_id, limit=1).changes)

    # Conditions

    def _is_settled(self, one: Condition, claimed: Sequence[Unique]) -> bool:
        """Return whether a condition holds as far as the principal can tell, and is none that the store is to see.

        Raises:
            PreconditionError: it is on something outside, and does not hold of what is not there.
        """
        if isinstance(one, Unique):
            if any(one.claim == each.claim for each in claimed) or self._is_seen(one):
                return False
            self._check_unique(one)
            return True
        name = (one.kind, one.entity_id)  # type: ignore[attr-defined]  # every other one is of an entity
        if self._sight.held_of([name]) or not self._exists(name):
            return False
        one.check(_NOTHING)
        return True

    def _is_seen(self, one: Unique) -> bool:
        """Return whether a value is to be unique among what is seen."""
        fields = KINDS[one.kind].fields
        within = fields[one.field].unique_within or ""
        return within in fields and bool(self._sight.held_of([(fields[within].refers_to, one.scope)]))

    def _check_unique(self, one: Unique) -> None:
        if not KINDS[one.kind].fields[one.field].searchable:
            return
        same = condition(f"{one.field} = ?", one.value)  # of a field that is declared
        query = Query(one.kind, same, fields=(), limit=2)
        for entity in self._store.find(self._sight.narrowed(query)).entities:
            one.check(Instant({}, {one.claim: entity.entity_id}))

    def without_strangers(self, error: PreconditionError) -> PreconditionError:
        """Return an error that does not name what is not seen."""
        one = error.condition
        return self._names.taken(one, str(error.found)) if isinstance(one, Unique) else error


def _said(change: Change) -> Mapping[str, Any]:
    return change.data() if change.action in (CREATE, UPDATE) else {}


def _containers(change: Change, said: Mapping[str, Any]) -> Iterator[tuple[FieldDeclaration, Name | None]]:
    """Iterate over the containers that a change names, each with its field; ``None`` where it takes one away."""
    declaration = KINDS.get(change.kind)
    for each in declaration.containers if declaration is not None else ():
        places = [said] if change.action == CREATE else [said.get(part) or {} for part in _ALTERED]
        for number, place in enumerate(places):
            if isinstance(place, dict) and each.name in place:
                value = place[each.name]
                is_one = number == 0 and isinstance(value, str) and value
                yield each, (each.refers_to, value) if is_one else None


def _refuse(change: Change) -> NoReturn:
    words = KINDS[change.kind].words if change.kind in KINDS else change.kind
    msg = (
        f"{change.action} of {words} {change.entity_id[:200]!r}: it does not lie, or would not, in what you may change; "
        "nothing was applied"
    )
    raise PermissionDeniedError(msg)
