"""Who keeps a unique value that two entities claim, and the change that gives the other one another value.

Streams that come together may bring two projects "churn", or two versions 3 of a model: each was accepted where it was
made, so nothing is refused. The rule is the same in every store and replica, whatever arrives first:

- The value stays with the entity that took it earlier by the clock of its writer, and of equal times with the one of the
  lower identifier.
- The other one's name gets a suffix that follows from its identifier: "churn (1f3a52b0)".
- The other one's number becomes the next: 4 instead of 3. Where somebody has that too, the rule is applied again. After
  :data:`MAX_STEPS` numbers it has none (0), and whoever numbers what has no number gives it one.
- That is a change of its own, in a stream of its own, right after the change that made it necessary. All of it follows
  from the change by which the loser took the value, so every store makes the same one, byte for byte, and what one store
  ships to another is known there.

Where numbers end up does not depend on the order of arrival either: each entity tries the numbers from its own upwards,
and the earlier one keeps each, so there is one outcome (as of stable matching).
"""

from __future__ import annotations

import hashlib
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from modeldb_core.log.changes import (
    APPEND,
    CLOSE,
    STREAM,
    UPDATE,
    Change,
    alters_entity,
    document_after,
)
from modeldb_core.log.stream import Entry, StreamWriter
from modeldb_core.model.claims import Claim, claims_of, may_claim
from modeldb_core.model.entities import derived_id
from modeldb_core.model.schema import KINDS
from modeldb_core.model.values import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from modeldb_core.model.entities import Document

_MAX_NUMBER = 2**53 - 1  # beyond it, JavaScript would show another one
_ATTEMPTS = 3  # that are looked for: that more are needed, nobody has a reason for
MAX_STEPS = 64
"""How many numbers a version tries when others have them: that bounds what a batch of many with one number costs."""
SETTLER = "modeldb"
"""The actor of the changes that are made here."""

Name: TypeAlias = tuple[str, str]
"""Kind and identifier of an entity."""


class Stored(Protocol):
    """What a store holds before changes are applied."""

    def document(self, kind: str, entity_id: str) -> Document | None:
        """Return the document of an entity."""

    def holders(self, claims: Iterable[Claim]) -> Mapping[Claim, str]:
        """Return the identifiers of the entities that have unique values; what nobody has is left out."""

    def history(self, kind: str, entity_id: str) -> Iterable[Change]:
        """Return the changes of an entity, in the order of the log."""

    def has_stream(self, stream_id: str) -> bool:
        """Return whether anything of a stream has arrived."""


def settle(changes: Sequence[Change], stored: Stored) -> list[Change]:
    """Return new changes with those after them that they make necessary; as a rule there are none.

    Raises:
        InvalidArgumentError: the payload of a change does not fit its action; it names the change.
    """
    if not any(_may_claim(change) for change in changes):
        return list(changes)
    return _Settling(stored).settle(changes)


class _Settling:
    """Goes through changes with what is claimed at each of them."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._documents: dict[Name, Document | None] = {}
        self._holders: dict[Claim, str | None] = {}
        self._taken: dict[tuple[Claim, str], Change] = {}
        self._brought: dict[tuple[str, int], Change] = {}
        self._passed: set[str] = set()

    def settle(self, changes: Sequence[Change]) -> list[Change]:
        claimed = {claim for change in changes for claim in self._take(change)[1]}
        self._documents.clear()
        self._look_up(claimed)
        self._brought = {(change.stream_id, change.seq): change for change in changes}
        settled: dict[int, Change] = {}
        waiting = deque(changes)
        while waiting:
            change = waiting.popleft()
            if id(change) in settled:
                continue  # the same was to be made here before its turn had come
            settled[id(change)] = change
            self._passed.add(change.stream_id)
            freed, taken = self._take(change)
            for claim in freed:
                if self._holders.get(claim, change.entity_id) == change.entity_id:
                    self._holders[claim] = None
            for claim in sorted(taken):
                waiting.extendleft(reversed(self._claim(claim, change)))
        return list(settled.values())

    def _take(self, change: Change) -> tuple[set[Claim], set[Claim]]:
        """Let a change alter its entity; return the claims that this gives up, and those that it makes."""
        if not _may_claim(change):
            return set(), set()
        name = (change.kind, change.entity_id)
        before = self._documents[name] if name in self._documents else self._stored.document(*name)
        after = self._documents[name] = document_after(before, change)
        had, has = claims_of(change.kind, before), claims_of(change.kind, after)
        return had - has, has - had

    def _look_up(self, claims: set[Claim]) -> None:
        unknown = claims - self._holders.keys()
        if unknown:
            found = self._stored.holders(unknown)
            self._holders.update({claim: found.get(claim) for claim in unknown})

    def _claim(self, claim: Claim, change: Change) -> list[Change]:
        """Give a claim to the entity of a change, or take it from it; return the changes that say so."""
        self._look_up({claim})
        self._taken[claim, change.entity_id] = change
        holder = self._holders[claim]
        if holder is None or holder == change.entity_id:
            self._holders[claim] = change.entity_id
            return []
        earlier = self._taken.get((claim, holder)) or _taking(claim, self._stored.history(change.kind, holder))
        keeper, loser = sorted((earlier, change), key=lambda one: (one.recorded_at, one.entity_id))
        self._holders[claim] = keeper.entity_id
        return self._settlement(claim, loser)

    def _settlement(self, claim: Claim, taking: Change) -> list[Change]:
        attempt = 0
        while (stream_id := _stream_of(claim, taking, attempt)) in self._passed or self._stored.has_stream(stream_id):
            attempt += 1  # it came before the change that it settles
        made = settlement(claim, taking, stream_id)
        # Another store has settled it, and what it made comes in the same batch, later.
        brought = [self._brought.get((change.stream_id, change.seq), change) for change in made]
        return [one if one.hash == other.hash else other for one, other in zip(brought, made, strict=True)]


def settlement(claim: Claim, taking: Change, stream_id: str) -> list[Change]:
    """Return the stream that takes a value away from the entity that took it with ``taking``."""
    step = _step_of(taking, claim.field) + 1
    value = {claim.field: _other_value(decode(claim.value), taking.entity_id, step)}
    stream = StreamWriter(stream_id, SETTLER, salt=taking.salt or b"")
    said = {"set": value, "reason": "taken", **({"step": step} if step > 1 else {})}
    entries = (
        Entry(UPDATE, taking.kind, taking.entity_id, said),
        Entry(CLOSE, STREAM, stream_id, {}),
    )
    return [stream.write(entry, taking.recorded_at) for entry in entries]


def settles(stream_id: str, taking: Change) -> bool:
    """Return whether a stream takes away what an entity took by a change; no other writer makes a stream of that name."""
    declaration = KINDS.get(taking.kind)
    names = () if declaration is None else declaration.unique
    hashed, entity_id = taking.hash.hex(), taking.entity_id
    return any(stream_id == _stream_id(entity_id, hashed, each.name, n) for each in names for n in range(_ATTEMPTS))


def _stream_of(claim: Claim, taking: Change, attempt: int) -> str:
    return _stream_id(taking.entity_id, taking.hash.hex(), claim.field, attempt)


def _stream_id(entity_id: str, hashed: str, field: str, attempt: int) -> str:
    return derived_id("settlement", entity_id, f"{hashed}\0{field}\0{attempt}")


def _step_of(taking: Change, field: str) -> int:
    """Return how many times in a row the entity was given another value up to this change; 0: it chose it itself."""
    data = taking.data()
    if taking.actor != SETTLER or taking.action != UPDATE or data.get("reason") != "taken" or field not in data["set"]:
        return 0
    step = data.get("step", 1)
    return step if type(step) is int and 0 < step <= MAX_STEPS else MAX_STEPS


def _other_value(value: Any, entity_id: str, step: int) -> str | int:  # noqa: ANN401 - a text or a number
    if not isinstance(value, str):
        return value + 1 if step <= MAX_STEPS and 0 < value < _MAX_NUMBER else 0
    digest = hashlib.sha256(entity_id.encode()).hexdigest()
    short = f"{value} ({digest[:8]})"
    return f"{value} ({digest})" if value.endswith(f"({digest[:8]})") else short


def _taking(claim: Claim, history: Iterable[Change]) -> Change:
    """Return the change by which an entity took a value that it still has."""
    document: Document | None = None
    taking: Change | None = None
    for change in history:
        if alters_entity(change) and change.action != APPEND:
            had = claim in claims_of(change.kind, document)
            document = document_after(document, change)
            if not had and claim in claims_of(change.kind, document):
                taking = change
    assert taking is not None, f"nobody took {claim}"
    return taking


def _may_claim(change: Change) -> bool:
    return may_claim(change.kind) and alters_entity(change) and change.action != APPEND
