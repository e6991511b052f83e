"""Predicates and sort keys of the v1 API, in the filter language: numbers compare as numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from modeldb_core.errors import InvalidArgumentError
from modeldb_core.model.schema import KINDS
from modeldb_core.queries import COLUMNS, Linked, column_type, quote
from modeldb_v1.errors import UnimplementedError
from modeldb_v1.schema import enum_values
from modeldb_v1.values import from_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modeldb_core.model.values import Value
    from modeldb_v1.schema import Fields

_NAMES = {number: name for name, number in enum_values("OperatorEnum.Operator").items()}
_SIGNS: Mapping[str, str] = MappingProxyType(
    {
        "EQ": "=",
        "NE": "=",
        "GT": ">",
        "GTE": ">=",
        "LT": "<",
        "LTE": "<=",
        "CONTAIN": "contains",
        "NOT_CONTAIN": "contains",
    }
)
_NEGATED = frozenset({"NE", "NOT_CONTAIN"})
"""No child may match, so these turn the whole predicate round."""
_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "id": "entity_id",
        "date_created": "created_at",
        "date_updated": "updated_at",
        "time_created": "created_at",
        "time_updated": "updated_at",
        "time_logged": "created_at",
        "start_time": "started_at",
        "end_time": "finished_at",
        "project_visibility": "visibility",
        "dataset_visibility": "visibility",
        "dataset_version_visibility": "visibility",
    }
)
"""Fields of messages by the column that they are; others have the column's name."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_MS = 253_402_300_799_000
"""The end of the year 9999."""
_LINKED = "linked_artifact_id"
_SERIES: Mapping[str, str] = MappingProxyType({">": "max", ">=": "max", "<": "min", "<=": "min", "=": "last"})
"""What of a series decides whether one of its points stands in a relation to a number; of ``=`` the last point is asked."""


class Condition(NamedTuple):
    """What a predicate asks for: a filter, or a link to other entities."""

    filter: str = ""
    linked: Linked | None = None


def conditions_of(kind: str, predicates: Iterable[Fields]) -> list[Condition]:
    """Return what predicates ask for; all must hold.

    Raises:
        InvalidArgumentError: one cannot be asked of the kind; UnimplementedError: of a value of that type.
    """
    return [_condition(kind, each) for each in predicates]


def _condition(kind: str, predicate: Fields) -> Condition:
    key, value = predicate.key, from_value(predicate.value)
    operator = _NAMES.get(predicate.operator, "")
    if not key:
        msg = "a predicate has no key; expected a field, or for example metrics.accuracy"
        raise InvalidArgumentError(msg)
    root, _, rest = key.partition(".")
    if rest == _LINKED and root == "datasets":
        return _linked(operator, value)
    if operator not in _SIGNS:
        msg = f"operator {operator or predicate.operator} cannot be asked of {key[:80]!r}; expected one of {', '.join(_SIGNS)}"
        raise InvalidArgumentError(msg)
    if value == "":
        msg = f"the predicate on {key[:80]!r} has an empty value"
        raise InvalidArgumentError(msg)
    if not isinstance(value, (str, int, float)):
        msg = f"the predicate on {key[:80]!r} compares with {_type_of(value)}; texts, numbers and truth values can be compared"
        raise UnimplementedError(msg)
    text = _filter(kind, root, rest, operator, value)
    return Condition(f"(not ({text}))" if operator in _NEGATED else f"({text})")


def _type_of(value: object) -> str:
    return {type(None): "null", list: "a list"}.get(type(value), "a map")


def _linked(operator: str, value: Value) -> Condition:
    ids = value if isinstance(value, list) else [value]
    if operator not in ("EQ", "IN") or not ids or not all(isinstance(each, str) and each for each in ids):
        msg = f"{_LINKED} is asked for by EQ with an id, or IN with a list of them"
        raise InvalidArgumentError(msg)
    return Condition(linked=Linked("dataset_version", tuple(str(each) for each in ids), field="datasets"))


def _filter(kind: str, root: str, rest: str, operator: str, value: str | float) -> str:
    sign = _SIGNS[operator]
    if root == "tags":
        return _on_tags(operator, sign, value)
    if root == "features" and kind == "run":
        return f"{_key('features', str(value))} exists" if sign == "=" else _refuse("features", operator, "EQ or NE")
    if not rest:
        return _on_column(kind, root, operator, value)
    if root == "observations" and kind == "run":
        aggregate = _SERIES.get(sign) or _refuse("observations", operator, "a comparison with a number")
        return f"{_key('metrics', rest)}.{aggregate} {sign} {_literal(value)}"
    if root in ("artifacts", "datasets") and root in KINDS[kind].sections:
        root, rest = root, f"{rest}.path"
    if root not in KINDS[kind].sections:
        msg = f"{root[:80]!r} has no keys; expected {', '.join(KINDS[kind].sections)}"
        raise InvalidArgumentError(msg)
    return f"{_key(root, rest)} {sign} {_literal(value, sign)}"


def _on_tags(operator: str, sign: str, value: str | float) -> str:
    if sign == "=":
        return f"tags = {quote(str(value))}"
    if sign == "contains":
        return f"tags like {quote(f'%{value}%')}"
    return _refuse("tags", operator, "EQ, NE, CONTAIN or NOT_CONTAIN")


def _on_column(kind: str, name: str, operator: str, value: str | float) -> str:
    if name == "code_version" and kind == "run":
        return f"code.version {_SIGNS[operator]} {quote(str(value))}"
    column = _column(kind, name)
    if name == "id" and operator != "EQ":
        return _refuse("id", operator, "EQ")
    if column_type(kind, column) == "time":
        return _on_time(column, operator, value)
    literal = quote(str(value)) if column_type(kind, column) == "text" else _literal(value)
    return f"{column} {_SIGNS[operator]} {literal}"


def _column(kind: str, name: str) -> str:
    column = _COLUMNS.get(name, name)
    if column not in COLUMNS[kind]:
        known = ", ".join([*KINDS[kind].sections, "tags"])
        msg = (
            f"{name[:80]!r} is not a field of a {KINDS[kind].words} that can be asked for; keys are written {known}.KEY"
        )
        raise InvalidArgumentError(msg)
    return column


def _on_time(column: str, operator: str, value: str | float) -> str:
    """Return a comparison of milliseconds with a time, which is stored to the microsecond."""
    try:
        at = int(value)
    except (ValueError, OverflowError):
        at = -1
    if not 0 <= at <= _MOST_MS:
        msg = f"{str(value)[:40]!r} is not a time; expected milliseconds since 1970-01-01"
        raise InvalidArgumentError(msg)
    first, after = (quote((_EPOCH + timedelta(milliseconds=each)).isoformat()) for each in (at, at + 1))
    texts = {
        "EQ": f"{column} >= {first} and {column} < {after}",
        "NE": f"{column} >= {first} and {column} < {after}",
        "GT": f"{column} >= {after}",
        "GTE": f"{column} >= {first}",
        "LT": f"{column} < {first}",
        "LTE": f"{column} < {after}",
    }
    return texts.get(operator) or _refuse(column, operator, "a comparison")


def _key(section: str, key: str) -> str:
    return f"{section}.{quote(key)}"


def _literal(value: str | float, sign: str = "") -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) or sign == "contains":
        return quote(str(value))
    return repr(value)


def _refuse(what: str, operator: str, expected: str) -> str:
    msg = f"operator {operator} cannot be asked of {what}; expected {expected}"
    raise InvalidArgumentError(msg)


# -- orders -----------------------------------------------------------------------------------------------------------


def order_of(kind: str, sort_key: str, *, ascending: bool, default: str = "updated_at") -> str:
    """Return the order that a sort key means; without one, by the last change.

    Raises:
        InvalidArgumentError: nothing can be ordered by it.
    """
    root, _, rest = sort_key.partition(".")
    if not sort_key:
        field = default
    elif rest and root == "observations" and kind == "run":
        field = f"{_key('metrics', rest)}.last"
    elif rest and root in KINDS[kind].sections:
        field = _key(root, f"{rest}.path" if root in ("artifacts", "datasets") else rest)
    else:
        field = "code.version" if sort_key == "code_version" and kind == "run" else _column(kind, sort_key)
    return f"{field} {'asc' if ascending else 'desc'}"


def all_of(filters: Iterable[str]) -> str:
    """Return filters as one that holds where all do."""
    return " and ".join(each for each in filters if each)


def plain_filter(conditions: Iterable[Condition]) -> tuple[str, Linked | None]:
    """Return conditions as a filter and a link.

    Raises:
        InvalidArgumentError: they ask for two links at once.
    """
    listed: list[Condition] = list(conditions)
    links: list[Any] = [each.linked for each in listed if each.linked is not None]
    if len(links) > 1:
        msg = f"{_LINKED} is asked for twice; ask for it once"
        raise InvalidArgumentError(msg)
    return all_of(each.filter for each in listed), links[0] if links else None
