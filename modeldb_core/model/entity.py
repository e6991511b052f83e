"""What every entity has, and what it is named and dated by: identifiers and times as they are stored."""

from __future__ import annotations

import os
import re
import time
import unicodedata
import uuid
from collections.abc import Mapping  # noqa: TC003 - anyone who describes the entities reads these types at run time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

from modeldb_core.model.fields import ANY, home, integer, mapping, moment, text, texts

Document: TypeAlias = dict[str, Any]
EMPTY: Mapping[str, Any] = MappingProxyType({})


def _empty() -> Mapping[str, Any]:
    return EMPTY


DEFAULT_WORKSPACE = "default"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMESPACE = uuid.UUID("6d6f6465-6c64-5b00-8000-000000000001")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_id() -> str:
    """Return a new random identifier that sorts by the time of its making (UUIDv7, RFC 9562).

    To a quarter of a microsecond, by method 3 of section 6.2: two runs of a loop are listed in the order they began in.
    """
    millisecond, rest_ns = divmod(time.time_ns(), 1_000_000)
    fraction = (rest_ns << 12) // 1_000_000
    random = int.from_bytes(os.urandom(8)) >> 2
    return str(uuid.UUID(int=millisecond << 80 | 0x7 << 76 | fraction << 64 | 0x2 << 62 | random))


def is_id(text: object) -> bool:
    """Return whether something has the form of an identifier that :func:`new_id` returns: a UUID in lower case."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def derived_id(kind: str, parent_id: str, name: str) -> str:
    """Return the identifier of a container that people name, equal wherever it is computed (UUIDv5 of its name).

    Two offline writers who both create the project "churn" so end up with one project. Names are equal after Unicode
    normalization (NFC).
    """
    return str(uuid.uuid5(_NAMESPACE, f"{kind}\0{parent_id}\0{unicodedata.normalize('NFC', name)}"))


def now_us() -> int:
    """Return the time as stored: microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


def to_datetime(time_us: int | None) -> datetime | None:
    """Return a stored time as an aware UTC datetime; ``None`` for none, and for what no calendar has."""
    if time_us is None:
        return None
    try:
        return _EPOCH + timedelta(0, 0, time_us)
    except OverflowError:
        return None


def from_datetime(time: datetime) -> int:
    """Return an aware time as stored: microseconds since 1970-01-01 UTC."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def in_local_zone(time: datetime) -> datetime:
    """Return a time in the zone of this machine, or in UTC where that zone cannot be used; a naive time is in it already.

    ``TZ`` may say anything: glibc takes ``:garbage99`` for a zone 99 hours off, of which Python makes no time.
    """
    try:
        return time.astimezone()
    except (ValueError, OverflowError):
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """What every entity has. Times are aware UTC datetimes; ``owner`` is the actor who created it.

    ``workspace_id`` and ``project_id`` say where it lies, through what it is part of (a comment on a run lies in the
    run's project): the store works them out, and they are empty where it does not know.
    """

    KIND: ClassVar[str] = "entity"

    entity_id: str
    name: str = text("what people call it", searchable=True)
    description: str = text("what people say of it", searchable=True)
    owner: str = text("the actor who created it", title="Author", searchable=True)
    tags: tuple[str, ...] = texts("labels")
    attributes: Mapping[str, Any] = mapping("further facts", searchable=True, listed=True)
    created_at: datetime | None = moment("when it was created", searchable=True)
    updated_at: datetime | None = moment("when it was last changed", searchable=True)
    deleted_at: datetime | None = moment("when it was deleted", searchable=True)
    revision: int = integer("how many changes have altered it; points alter nothing", default=0)
    workspace_id: str = home("workspace", "the workspace that it lies in")
    project_id: str = home("project", "the project that it lies in")
    document: Mapping[str, Any] = field(default_factory=_empty, repr=False, compare=False)
    """The whole document as stored, with fields that this version has no name for."""


def clashes(kind: str) -> Any:  # noqa: ANN401 - as dataclasses.field
    """Declare the field ``clashes``: decisions of stores that were merged, which do not count because later ones do.

    Each entry has the ``field``, the ``key`` of the map that it is about, and the ``value``, the identifier of an entity of ``kind``;
    an empty kind: it is a text.
    """
    entries = {"value": kind} if kind else {}
    return mapping(
        "what other stores decided, of which a later decision counts",
        entries=entries,
        holds=kind == "commit",
        decided=True,
    )


def clash_count() -> Any:  # noqa: ANN401 - as dataclasses.field
    """Declare the field ``clash_count``, by which entities with clashes are found."""
    return integer("how many decisions of other stores do not count", default=0, searchable=True, decided=True)


def made_from() -> Any:  # noqa: ANN401 - as dataclasses.field
    """Declare the field ``inputs``, in which people and programs say what an entity was made from.

    Each entry has the ``kind`` and the ``entity_id`` of the other entity; of a file that was used its ``path`` and
    ``digest`` too.
    """
    return mapping(
        "artifacts and models it used, and what people say it was made from",
        entries={"entity_id": ANY},
        lineage="input",
        names_blobs=True,
    )
