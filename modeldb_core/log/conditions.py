"""Conditions: what must hold at the instant at which changes are applied, or nothing of them is.

They make the one door for writing safe for what must be decided once: moving an alias, numbering a version, taking a
name. A store looks at them inside the transaction that applies the changes. What is in the log was accepted, so replay,
copies and audits know nothing of conditions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from modeldb_core.errors import InvalidArgumentError, PreconditionError
from modeldb_core.log.changes import is_name
from modeldb_core.model.claims import Claim, claim_of, claims_of
from modeldb_core.model.schema import check_kind
from modeldb_core.model.values import check_text, encode, from_json, normalize, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modeldb_core.model.entities import Document

MAX_CONDITIONS = 10_100
"""How many a batch may carry."""


@dataclass(frozen=True, slots=True)
class Instant:
    """What is stored, of what conditions ask for, at the instant at which changes are applied.

    Attributes:
        documents: of entities, by kind and identifier; what has none is left out.
        holders: the identifiers of the entities that have unique values; what nobody has is left out.
    """

    documents: Mapping[tuple[str, str], Document]
    holders: Mapping[Claim, str]


@dataclass(frozen=True, slots=True)
class Condition(ABC):
    """Something that must hold of one entity, or of all entities of a kind."""

    NAME: ClassVar[str]

    kind: str

    @abstractmethod
    def check(self, instant: Instant) -> None:
        """See whether it holds.

        Raises:
            PreconditionError: it does not.
        """

    def _refuse(self, found: object, sentence: str) -> PreconditionError:
        return PreconditionError(f"nothing was applied: {sentence}", self, found)


@dataclass(frozen=True, slots=True)
class _OfEntity(Condition):
    entity_id: str

    def _document(self, instant: Instant) -> Document | None:
        return instant.documents.get((self.kind, self.entity_id))

    def _value(self, document: Document | None, field: str, key: str | None) -> Any:  # noqa: ANN401 - of any type
        """Return the value of a field, or under a key of it; ``None`` where there is none."""
        value = None if document is None else document.get(field)
        if key is None:
            return value
        return value.get(key) if isinstance(value, dict) else None


@dataclass(frozen=True, slots=True)
class Absent(_OfEntity):
    """No change has ever made the entity: a deleted one, and one that was erased, is not absent."""

    NAME = "absent"

    def check(self, instant: Instant) -> None:  # noqa: D102 - as above
        document = self._document(instant)
        if document is not None:
            raise self._refuse(document.get("revision", 0), f"there is a {self.kind} {self.entity_id!r} already")


@dataclass(frozen=True, slots=True)
class RevisionIs(_OfEntity):
    """Nobody has altered the entity since it was read: its ``revision`` is still this one."""

    NAME = "revision_is"

    revision: int

    def check(self, instant: Instant) -> None:  # noqa: D102 - as above
        document = self._document(instant)
        found = None if document is None else document.get("revision", 0)
        if found != self.revision:
            there = "it does not exist" if found is None else f"it has revision {found}"
            raise self._refuse(
                found, f"the {self.kind} {self.entity_id!r} was to have revision {self.revision}, and {there}"
            )


@dataclass(frozen=True, slots=True)
class ValueIs(_OfEntity):
    """A field of the entity, or a key of a field that is a map, has this value; types count: 1 is not 1.0."""

    NAME = "value_is"

    field: str
    value: Any
    key: str | None = None

    def check(self, instant: Instant) -> None:  # noqa: D102 - as above
        found = self._value(self._document(instant), self.field, self.key)
        if encode(normalize(found, "found")) != encode(normalize(self.value, "value")):
            place = _place(self.field, self.key)
            raise self._refuse(
                found,
                f"{place} of the {self.kind} {self.entity_id!r} was to be {self.value!r:.80}, and is {found!r:.80}",
            )


@dataclass(frozen=True, slots=True)
class Unset(_OfEntity):
    """A field of the entity, or a key of a field that is a map, has no value; so it is where there is no entity."""

    NAME = "unset"

    field: str
    key: str | None = None

    def check(self, instant: Instant) -> None:  # noqa: D102 - as above
        found = self._value(self._document(instant), self.field, self.key)
        if found is not None:
            place = _place(self.field, self.key)
            raise self._refuse(
                found, f"{place} of the {self.kind} {self.entity_id!r} was to be unset, and is {found!r:.80}"
            )


@dataclass(frozen=True, slots=True)
class Unique(Condition):
    """No entity of the kind but ``entity_id`` has the value in a field that is unique within a container.

    Attributes:
        scope: the identifier of the container; "" for kinds that have none.
        entity_id: the one that may have it, for example because it is to be renamed; "": none may.
    """

    NAME = "unique"

    scope: str
    field: str
    value: Any
    entity_id: str = ""

    @property
    def claim(self) -> Claim:
        """The claim to the value."""
        return claim_of(self.kind, self.scope, self.field, self.value)

    def check(self, instant: Instant) -> None:  # noqa: D102 - as above
        holder = instant.holders.get(self.claim)
        if holder is not None and holder != self.entity_id:
            raise self._refuse(holder, f"there is a {self.kind} with {self.field} {self.value!r:.80} already: {holder}")


_CONDITIONS: Mapping[str, type[Condition]] = {cls.NAME: cls for cls in (Absent, RevisionIs, ValueIs, Unset, Unique)}


def check_conditions(conditions: Sequence[Condition], instant: Instant) -> None:
    """See whether all conditions hold.

    Raises:
        PreconditionError: one does not; the error has the first such.
    """
    for condition in conditions:
        condition.check(instant)


def asked_for(conditions: Sequence[Condition]) -> tuple[set[tuple[str, str]], set[Claim]]:
    """Return what an :class:`Instant` must hold for conditions: names of entities, and claims.

    Raises:
        InvalidArgumentError: a condition asks for what cannot be.
    """
    check_form(conditions)
    names = {(one.kind, one.entity_id) for one in conditions if isinstance(one, _OfEntity)}
    return names, {one.claim for one in conditions if isinstance(one, Unique)}


def check_form(conditions: Sequence[Condition]) -> None:
    """See that conditions ask for what can be, before anything is looked up.

    Raises:
        InvalidArgumentError: one does not, or there are too many.
    """
    if len(conditions) > MAX_CONDITIONS:
        msg = f"a batch carries {len(conditions):,} conditions; expected at most {MAX_CONDITIONS:,}"
        raise InvalidArgumentError(msg)
    for condition in conditions:
        _check_fields(condition)


def _check_fields(condition: Condition) -> None:
    for field in fields(condition):
        value = getattr(condition, field.name)
        where = f"{field.name} of a condition {condition.NAME!r}"
        if field.name == "value":
            normalize(value, where)
        elif field.name == "revision":
            if type(value) is not int:
                msg = f"{where} is {value!r:.40}; expected an integer"
                raise InvalidArgumentError(msg)
        elif value is not None or field.name != "key":
            check_text(value, where)
            if field.name == "entity_id" and value and not is_name(value):
                msg = f"{where} has {len(value):,} characters, or NUL among them; expected what names an entity"
                raise InvalidArgumentError(msg)
    check_kind(condition.kind)
    if isinstance(condition, Unique):
        _ = condition.claim  # raises where there can be none


def for_creating(kind: str, entity_id: str, document: Document) -> tuple[Condition, ...]:
    """Return the conditions under which an entity is created: it is new, and so are its unique values."""
    unique = [
        Unique(kind, claim.scope, claim.field, document[claim.field]) for claim in sorted(claims_of(kind, document))
    ]
    return (Absent(kind, entity_id), *unique)


def dump_condition(condition: Condition) -> dict[str, Any]:
    """Return a condition as JSON data."""
    data = {field.name: getattr(condition, field.name) for field in fields(condition)}
    if "value" in data:
        data["value"] = to_json(normalize(data["value"], "value"))
    return {"condition": condition.NAME, **data}


def load_condition(data: Mapping[str, Any]) -> Condition:
    """Return the condition that :func:`dump_condition` wrote.

    Raises:
        InvalidArgumentError: it is none, or asks for what cannot be.
    """
    values = dict(data)
    cls = _CONDITIONS.get(str(values.pop("condition", "")))
    if cls is None:
        msg = f"the condition {str(data)[:80]} is unknown; expected one of {', '.join(_CONDITIONS)}"
        raise InvalidArgumentError(msg)
    if "value" in values:
        values["value"] = from_json(values["value"])
    try:
        condition = cls(**values)
    except TypeError as error:
        msg = f"the condition {str(data)[:80]} does not have the fields of {cls.NAME!r}: {error}"
        raise InvalidArgumentError(msg) from error
    check_form([condition])
    return condition


def _place(field: str, key: str | None) -> str:
    return field if key is None else f"{field}[{key!r}]"
