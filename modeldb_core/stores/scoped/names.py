"""Unique values that something unseen may have: names of workspaces, of projects beside one's own, and what plugins declare so.

Where two entities claim such a value, the store takes it from one of them, by the clock of who wrote. So a principal that
may not see the other one must not claim what that has, whatever time they give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.errors import NotFoundError, PreconditionError
from modeldb_core.log.changes import CREATE, RESTORE, UPDATE
from modeldb_core.log.conditions import Unique
from modeldb_core.model.claims import claims_of
from modeldb_core.model.schema import KINDS, WHOLE_STORE
from modeldb_core.model.values import decode
from modeldb_core.queries import Query, condition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modeldb_core.log.changes import Change
    from modeldb_core.model.claims import Claim
    from modeldb_core.model.schema import FieldDeclaration
    from modeldb_core.stores.contract import MetadataStore
    from modeldb_core.stores.scoped.sight import Sight


class SharedNames:
    """Judges what is claimed among more than what is seen.

    Args:
        store: the whole store.
        sight: what is seen of it.
    """

    def __init__(self, store: MetadataStore, sight: Sight) -> None:
        self._store, self._sight = store, sight

    def claimed_by(self, change: Change, said: Mapping[str, Any]) -> Iterator[Unique]:
        """Iterate over the unique values that a change claims in a container that is not seen, as conditions."""
        declaration = KINDS.get(change.kind)
        unique = () if declaration is None else declaration.unique
        if change.action not in (CREATE, UPDATE, RESTORE) or not unique:
            return
        given = (said.get("set") or {}) if change.action == UPDATE else said
        suspected = {each.name for each in unique if self._may_be_shared(change, each, given)}
        for claim in self._claims(change, given) if suspected else ():
            within = declaration.fields[claim.field].unique_within if declaration is not None else ""
            if claim.field in suspected and not (within and self._is_seen(change.kind, within, claim.scope)):
                yield Unique(change.kind, claim.scope, claim.field, decode(claim.value), change.entity_id)

    def check(self, one: Unique) -> None:
        """See that nothing that is not seen has a value.

        Raises:
            PreconditionError: something has.
        """
        if not KINDS[one.kind].fields[one.field].searchable:
            return  # the store decides, if it can
        same = condition(f"{one.field} = ?", one.value)  # of a field that is declared
        query = Query(one.kind, same, fields=(), limit=2, within=one.scope or None)
        for entity in self._store.find(query).entities:
            if entity.entity_id != one.entity_id:
                raise self.taken(one, entity.entity_id)

    def taken(self, one: Unique, holder: str) -> PreconditionError:
        """Return the error of a value that something has; of what is not seen it says no more than that."""
        if not self._sight.held_of([(one.kind, holder)]):
            msg = f"nothing was applied: {one.field} {one.value!r:.80} of a {one.kind} is taken already"
            return PreconditionError(msg, one, None)
        msg = f"nothing was applied: there is a {one.kind} with {one.field} {one.value!r:.80} already: {holder}"
        return PreconditionError(msg, one, holder)

    def _may_be_shared(self, change: Change, each: FieldDeclaration, given: Mapping[str, Any]) -> bool:
        """Return whether a change may claim a value in a container that is not seen, as far as it says itself."""
        within = each.unique_within or ""
        if change.action == UPDATE and not {each.name, within} & set(given):
            return False
        return within == WHOLE_STORE or not self._is_seen(change.kind, within, given.get(within))

    def _is_seen(self, kind: str, within: str, container: object) -> bool:
        if not isinstance(container, str) or not container:
            return False
        return bool(self._sight.held_of([(KINDS[kind].fields[within].refers_to, container)]))

    def _claims(self, change: Change, given: Mapping[str, Any]) -> set[Claim]:
        """Return the values that an entity takes by a change, and has not already."""
        try:
            before = dict(self._store.get(change.kind, change.entity_id).document)
        except NotFoundError:
            before = {}
        after = {**before, **given}
        if change.action != UPDATE:  # what it says already stays, and it is deleted no longer
            after = {**given, **before, "deleted_at": None}
        return claims_of(change.kind, after) - claims_of(change.kind, before)
