"""What a parsed filter and a parsed order are: the tree that every store evaluates or compiles.

Logic is two-valued. A predicate on a field that an entity lacks, or whose value is of another type than the literal, is
false, ``!=`` and ``not in`` included; only :class:`Not` turns it round. ``docs/queries.md`` says what each operator means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Operator: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">=", "contains", "startswith", "endswith", "like"]
Aggregate: TypeAlias = Literal["", "min", "max", "first", "last", "mean", "count"]
Scalar: TypeAlias = bool | int | float | str
"""A literal. Of a time column: an int, microseconds since 1970-01-01 UTC. Never ``None``: that is :class:`IsNull`."""

COLUMN = "column"
TAGS = "tags"


@dataclass(frozen=True, slots=True)
class Field:
    """What a predicate or an order looks at.

    Attributes:
        section: ``"column"`` for a column; ``"tags"``, with an empty key; else the map that holds the key: metrics,
            hyperparameters, attributes, code, datasets, artifacts.
        key: the column's name, ``entity_id`` for each of its aliases; or the key, the names of nested maps joined by dots.
        aggregate: of a metric's series; empty for the value itself.
    """

    section: str
    key: str = ""
    aggregate: Aggregate = ""

    def __str__(self) -> str:
        if self.section == COLUMN:
            return self.key
        path = f"{self.section}.{self.key}" if self.key else self.section
        return f"{path}.{self.aggregate}" if self.aggregate else path


@dataclass(frozen=True, slots=True)
class And:
    """True where all of ``items`` are; there are at least two."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """True where one of ``items`` is; there are at least two."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """True where ``item`` is false."""

    item: Expression


@dataclass(frozen=True, slots=True)
class Compare:
    """The value of ``field`` stands in the relation ``operator`` to ``value``.

    - ``=`` and ``!=`` of numbers are exact, also between integers beyond 2^53 and floats; NaN equals NaN.
    - ``<`` and its kin take numbers as the nearest 64-bit float, and are false for NaN; text goes by code point.
    - ``contains`` (a part) and ``like`` (``%`` any text, ``_`` any character) take A-Z and a-z for equal.
    - On tags, ``contains`` and ``=`` mean that the tag is there, letter for letter; ``startswith``, ``endswith`` and
      ``like`` that one of the tags matches. No other operator comes with tags.
    """

    field: Field
    operator: Operator
    value: Scalar


@dataclass(frozen=True, slots=True)
class In:
    """The value of ``field`` equals one of ``values``.

    Negated: it is of the type of one of them (number, text or bool) and equals none. Never negated on tags.
    """

    field: Field
    values: tuple[Scalar, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Exists:
    """The entity carries ``field``: a column that is not null, a key with any value, at least one tag."""

    field: Field


@dataclass(frozen=True, slots=True)
class IsNull:
    """``field`` is null: a column without a value, or a key that is there and holds null.

    Negated: it has a value other than null. A key that is not there is neither. Never on tags.
    """

    field: Field
    negated: bool = False


Expression: TypeAlias = And | Or | Not | Compare | In | Exists | IsNull


@dataclass(frozen=True, slots=True)
class Order:
    """One criterion of an order.

    Numbers (bools as 0 and 1) come before text in both directions. Last in both directions: entities without the field,
    and values that have no order: NaN, null, lists and maps, text that is not searchable.
    """

    field: Field
    descending: bool = False
