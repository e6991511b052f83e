"""Changes and streams: the one idea that everything else follows from.

A :class:`Change` says that something happened. A writer owns one *stream*: changes numbered from 1 without a gap, each
carrying the hash of the one before. ``docs/format.md`` gives the hashed bytes, so that a verifier can be written from
it.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import IntegrityError, InvalidArgumentError, ModelDBError
from modeldb_core.model.decisions import Mark, decide
from modeldb_core.model.entities import to_datetime
from modeldb_core.model.evolve import evolve
from modeldb_core.model.plain_data import is_plain_data
from modeldb_core.model.schema import KINDS
from modeldb_core.model.shapes import check_document
from modeldb_core.model.values import check_text, decode, encode, json_text, normalize

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from modeldb_core.model.entities import Document

GENESIS = bytes(32)
"""What the first change of a stream carries as the hash of the one before."""

SALT_BYTES = 16
DEFAULT_LEASE_S = 30.0
MAX_LEASE_S = 366 * 86_400.0
"""A writer that is silent for longer than a year is gone."""
MAX_TEXT = 1024  # characters, of an identifier, an actor, a kind or an action
_MAX_SEQ = 2**63 - 1
MAX_TIME_US = 253_402_300_799_999_999  # the end of the year 9999, which no calendar of Python passes

CREATE, UPDATE, DELETE, RESTORE, APPEND = "create", "update", "delete", "restore", "append"
OPEN, BEAT, CLOSE = "open", "beat", "close"  # of a stream
ERASE = "erase"  # of a payload: names the stream and number whose payload is gone
STREAM = "stream"
"""The kind of the entity that ``open``, ``beat`` and ``close`` speak of; its identifier is the stream's."""

_DOMAIN = b"modeldb-change-1\n"
_NUMBERS = struct.Struct(">QQ")
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened, as one link of a stream's chain.

    Attributes:
        stream_id: the writer's stream.
        seq: the number within it, from 1.
        recorded_at: microseconds since 1970-01-01 UTC, by the writer's clock.
        actor: who did it.
        action: create, update, delete, restore, append, open, beat, close or erase.
        kind: the kind of the entity it is about.
        entity_id: that entity.
        payload: JSON (see ``values``), or the plain form of points for ``append``; ``None`` once erased, or where it was
            withheld.
        salt: what makes the payload's digest unguessable; erased with the payload.
        payload_digest: SHA-256 of salt and payload.
        previous_hash: the hash of the change before, ``GENESIS`` for the first.
        hash: SHA-256 over all of this but salt and payload.
        withheld: whether the payload is missing here only because the one who handed the change on kept it back: it is
            still where the change came from. No hash covers this, and no store keeps such a change.
    """

    stream_id: str
    seq: int
    recorded_at: int
    actor: str
    action: str
    kind: str
    entity_id: str
    payload: bytes | None
    salt: bytes | None
    payload_digest: bytes
    previous_hash: bytes
    hash: bytes
    withheld: bool = False

    @property
    def time(self) -> datetime:
        """When it happened, as an aware UTC datetime."""
        time = to_datetime(self.recorded_at)
        assert time is not None
        return time

    def data(self) -> dict[str, Any]:
        """Return the JSON payload as Python values; empty once erased, and for points.

        Raises:
            InvalidArgumentError: the payload is not a map of values; it names the change.
        """
        if self.payload is None or self.action == APPEND:
            return {}
        try:
            data = decode(self.payload)
        except InvalidArgumentError as error:
            raise misfit(self, error) from error
        if not isinstance(data, dict):
            raise misfit(self, f"it is of type {type(data).__name__}; expected a map")
        return data

    def erased(self) -> Change:
        """Return the change without its payload and salt: the chain still verifies."""
        return replace(self, payload=None, salt=None, withheld=False)

    def without_payload(self) -> Change:
        """Return the change as it is handed to those who may not see what it says: marked as withheld, not as erased."""
        return replace(self, payload=None, salt=None, withheld=True)


@dataclass(frozen=True, slots=True)
class Head:
    """How much of a stream has arrived, and whether its writer still renews its lease."""

    seq: int
    hash: bytes
    recorded_at: int
    lease_s: float = DEFAULT_LEASE_S
    closed: bool = False

    @property
    def lease_until(self) -> int:
        """Until when the writer is believed to live, in microseconds since 1970-01-01 UTC."""
        return self.recorded_at + int(self.lease_s * 1_000_000)


EMPTY_HEAD = Head(0, GENESIS, 0)


def payload_digest(salt: bytes, payload: bytes) -> bytes:
    """Return the digest that a change's hash covers in place of its payload."""
    digest = hashlib.sha256(salt)
    digest.update(payload)
    return digest.digest()


def change_hash(
    stream_id: str,
    seq: int,
    recorded_at: int,
    actor: str,
    action: str,
    kind: str,
    entity_id: str,
    digest: bytes,
    previous_hash: bytes,
) -> bytes:
    """Return the hash of a change; texts are length-prefixed, so that none can run into another."""
    texts = _encoded(stream_id, actor, action, kind, entity_id)
    return hashlib.sha256(_DOMAIN + _NUMBERS.pack(seq, recorded_at) + texts + digest + previous_hash).digest()


@lru_cache(256)  # of a change that is sealed and then stored, and of the next one of its entity, they are the same
def _encoded(stream_id: str, actor: str, action: str, kind: str, entity_id: str) -> bytes:
    return _part(stream_id) + _part(actor) + _part(action) + _part(kind) + _part(entity_id)


@lru_cache(256)
def _part(text: str) -> bytes:
    data = text.encode()
    return _LENGTH.pack(len(data)) + data


def seal(
    stream_id: str,
    seq: int,
    previous_hash: bytes,
    *,
    recorded_at: int,
    actor: str,
    action: str,
    kind: str,
    entity_id: str,
    payload: bytes,
    salt: bytes,
) -> Change:
    """Return the change with its digest and hash worked out."""
    digest = payload_digest(salt, payload)
    value = change_hash(stream_id, seq, recorded_at, actor, action, kind, entity_id, digest, previous_hash)
    return Change(
        stream_id, seq, recorded_at, actor, action, kind, entity_id, payload, salt, digest, previous_hash, value
    )


def payload_of(data: dict[str, Any], where: str = "payload") -> bytes:
    """Return ``data`` as the payload of a change; raises what :func:`~modeldb_core.model.values.normalize` raises."""
    return json_text(data).encode() if is_plain_data(data) else encode(normalize(data, where))


def verify_change(change: Change, previous_hash: bytes, *, may_be_withheld: bool = False) -> None:
    """Check that a change is what its writer sealed and follows the one whose hash is given.

    Args:
        change: the change.
        previous_hash: of the change before it in its stream.
        may_be_withheld: whether its payload may have been kept back. A store that took such a change in would have seen
            its number, and would never ask for the payload again: to others that would look like an erasure.

    Raises:
        IntegrityError: it names the change and what does not match.
        InvalidArgumentError: it has a number, a time or a text that no change has, however well it is sealed; or its
            payload was withheld.
    """
    _check_head(change)
    if change.withheld and not may_be_withheld:
        msg = f"the payload of {_name(change)} was withheld; a store takes whole streams only: copy it from where nothing is withheld"
        raise InvalidArgumentError(msg)
    if change.previous_hash != previous_hash:
        msg = f"{_name(change)} does not follow the change before it: one of the two was altered, dropped or moved"
        raise IntegrityError(msg)
    if change.payload is not None and (
        change.salt is None or payload_digest(change.salt, change.payload) != change.payload_digest
    ):
        msg = f"the payload of {_name(change)} does not match its digest: it was altered"
        raise IntegrityError(msg)
    expected = change_hash(
        change.stream_id,
        change.seq,
        change.recorded_at,
        change.actor,
        change.action,
        change.kind,
        change.entity_id,
        change.payload_digest,
        change.previous_hash,
    )
    if expected != change.hash:
        msg = f"{_name(change)} does not match its hash: it was altered"
        raise IntegrityError(msg)


def _check_head(change: Change) -> None:
    for what, number, limit in (("number", change.seq, _MAX_SEQ), ("time", change.recorded_at, MAX_TIME_US)):
        if type(number) is not int or not 0 <= number <= limit:
            msg = f"{_name(change)} has the {what} {str(number)[:40]}; expected an integer from 0 to {limit}"
            raise InvalidArgumentError(msg)
    if _has_plain_names(change):
        return
    for name in ("stream_id", "actor", "action", "kind", "entity_id"):
        text = getattr(change, name)
        if not isinstance(text, str) or not text.isascii():
            check_text(text, f"the {name} of {_name(change)}")
        if not is_name(text) and (text or name != "actor"):
            msg = f"the {name} of {_name(change)} has {len(text):,} characters; expected 1 to {MAX_TEXT:,}, and none that is NUL"
            raise InvalidArgumentError(msg)


def _has_plain_names(change: Change) -> bool:
    """Return whether the names of a change are certainly such: a look at all of them at once, since most are."""
    if not (change.stream_id and change.action and change.kind and change.entity_id):
        return False
    try:
        names = "".join((change.stream_id, change.actor, change.action, change.kind, change.entity_id))
    except TypeError:
        return False
    return len(names) <= MAX_TEXT and names.isascii() and "\0" not in names


def is_name(text: object) -> bool:
    """Return whether something may name a stream or an entity in every store."""
    return isinstance(text, str) and 0 < len(text) <= MAX_TEXT and "\0" not in text


def _name(change: Change) -> str:
    """Return the words that name a change, whatever it holds."""
    texts = (change.stream_id, change.action, change.kind, change.entity_id)
    stream_id, action, kind, entity_id = (
        text if len(text) <= MAX_TEXT else f"{text[:80]}…" for text in map(str, texts)
    )
    name = f"change {str(change.seq)[:40]} of stream {stream_id} ({action} {kind} {entity_id})"
    return name.encode(errors="backslashreplace").decode()


def misfit(change: Change, error: object) -> ModelDBError:
    """Return the error of a change whose payload does not fit its action; what is damaged stays an IntegrityError."""
    if isinstance(error, IntegrityError):
        return IntegrityError(f"{_name(change)}: {error}")
    return InvalidArgumentError(f"the payload of {_name(change)} does not fit its action: {error}")


ALTERING = frozenset({CREATE, UPDATE, DELETE, RESTORE})
"""Actions that alter the document of an entity."""
ACTIONS = ALTERING | {APPEND, OPEN, BEAT, CLOSE, ERASE}
"""All actions that this code knows; others are those of newer clients."""


def alters_entity(change: Change) -> bool:
    """Return whether a change is about what an entity is: not about its stream, and not about an erasure.

    Nor is it where the action is one that this code does not know, or where points come for a kind that has none or is
    not known: such a change is kept, shipped and proved like any other, and says nothing here.
    """
    return alters(change.kind, change.action)


def is_understood(change: Change) -> bool:
    """Return whether this code knows the kind and the action of a change; else it keeps the change as it is."""
    return change.action in ACTIONS and (change.kind == STREAM or change.kind in KINDS)


def alters(kind: str, action: str) -> bool:
    """Return whether an action on an entity of a kind alters it; see :func:`alters_entity`."""
    if kind == STREAM:
        return False
    if action != APPEND:
        return action in ALTERING
    declaration = KINDS.get(kind)
    return declaration is not None and (declaration.has_points or declaration.is_own)


def document_after(document: Document | None, change: Change, own: set[str] | None = None) -> Document:
    """Return the document of an entity after a change that alters it and is not about points.

    Of a kind that this code does not know the document is kept as well; what its fields may hold, nobody can say.

    Args:
        own: names the maps of ``document`` that nobody else has, as of :func:`~modeldb_core.model.evolve.evolve`. Where
            this raises, the document is of no use any more.

    Raises:
        InvalidArgumentError: the payload does not fit the action; it names the change.
    """
    data = change.data()
    try:
        if own and change.action == UPDATE:  # what is written into a map of its own, nothing compares with before
            check_document(change.kind, {name: items for name, items in data.get("put", {}).items() if name in own})
        after = evolve(
            document, change.action, data, actor=change.actor, recorded_at=change.recorded_at, kind=change.kind, own=own
        )
        if (declaration := KINDS.get(change.kind)) is not None and declaration.decided:
            decide(document, after, Mark.of(change.hash, change.recorded_at), change.kind, change.action, data)
        check_document(change.kind, after, document)
    except (ModelDBError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise misfit(change, error) from error
    return after


def advance(head: Head, change: Change) -> Head:
    """Return the head of a stream after ``change``.

    Raises:
        InvalidArgumentError: the change is about the stream, and its payload does not say how long its lease is.
    """
    lease_s, closed = head.lease_s, change.action == CLOSE
    if change.kind == STREAM and change.action in (OPEN, BEAT, CLOSE):
        lease_s = change.data().get("lease_s", lease_s)
        if type(lease_s) not in (int, float) or not 0 <= lease_s <= MAX_LEASE_S:
            raise misfit(change, f"lease_s is {repr(lease_s)[:40]}; expected seconds from 0 to {MAX_LEASE_S:.0f}")
    return Head(change.seq, change.hash, change.recorded_at, float(lease_s), closed)


class OrderDigest:
    """Digests the order in which changes of different streams count, which is in no chain.

    Args:
        upto: by stream, up to which number its changes are looked at; what comes later alters nothing.
    """

    def __init__(self, upto: Mapping[str, int]) -> None:
        self._upto = upto
        self._digest = hashlib.sha256(b"modeldb-order-1\n")

    def take(self, stream_id: str, seq: int, change_hash: bytes) -> None:
        """Take the next change; its hash says which it is."""
        if seq <= self._upto.get(stream_id, 0):
            self._digest.update(change_hash)

    def digest(self) -> bytes:
        """Return the SHA-256 of what was taken."""
        return self._digest.digest()


def by_stream(changes: Iterable[Change]) -> dict[str, list[Change]]:
    """Return the changes of every stream, in the order given."""
    streams: dict[str, list[Change]] = {}
    for change in changes:
        streams.setdefault(change.stream_id, []).append(change)
    return streams
