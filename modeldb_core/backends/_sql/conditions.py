"""Predicates of the filter language as SQL conditions on the value that they look at.

A condition is NULL or false where the predicate is false: :func:`negate` is the only place that tells the two apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    and_,
    case,
    false,
    func,
    literal_column,
    not_,
    or_,
    true,
)

from modeldb_core.backends._sql.documents import VALUE_TYPES
from modeldb_core.backends._sql.layout import PREFIX_LENGTH
from modeldb_core.model.plain_data import SAFE_INTEGER
from modeldb_core.queries import Compare, Exists, In, IsNull, Scalar, exact_digits, fold, is_searchable, nearest_float

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Condition = ColumnElement[bool]
Predicate = Compare | In | Exists | IsNull
_NUMBER, _TEXT, _BOOL, _NULL = (VALUE_TYPES[name] for name in ("number", "text", "bool", "null"))


@dataclass(frozen=True, slots=True)
class Typed:
    """A value whose type stands beside it: a row of ``facts`` or ``metrics``."""

    value_type: ColumnElement[int]
    number: ColumnElement[float]
    text: ColumnElement[str]
    is_indexed: bool = False


_ABREAST = 32  # conditions that stand beside one another; SQLite reads a longer row of them as as many levels


def together(join: Callable[..., ColumnElement[bool]], conditions: Sequence[Condition]) -> Condition:
    """Return ``join(*conditions)`` for ``and_`` or ``or_``, with many of them in groups, so that they nest little."""
    while len(conditions) > _ABREAST:
        groups = [conditions[at : at + _ABREAST] for at in range(0, len(conditions), _ABREAST)]
        # A CASE, since SQLAlchemy flattens an AND within an AND again.
        conditions = [case((join(*group), true()), else_=false()) for group in groups]
    return join(*conditions)


def negate(condition: Condition) -> Condition:
    """Return the condition that is true wherever ``condition`` is not."""
    return not_(func.coalesce(condition, false()))


def on_typed(predicate: Predicate, value: Typed) -> Condition:
    """Return a predicate on a value that is there."""
    match predicate:
        case Exists():
            return true()
        case IsNull(negated=negated):
            return value.value_type != _NULL if negated else value.value_type == _NULL
        case In(values=values, negated=negated):
            return _typed_in(value, values, negated=negated)
        case Compare(operator=operator, value=wanted):
            if isinstance(wanted, bool):
                hit = value.number == float(wanted) if operator == "=" else value.number != float(wanted)
                return and_(value.value_type == _BOOL, hit)
            if isinstance(wanted, str):
                prefix = _prefix_condition(value, wanted) if operator == "=" and value.is_indexed else true()
                return and_(value.value_type == _TEXT, prefix, on_text(value.text, operator, wanted))
            return and_(value.value_type == _NUMBER, on_number(value.number, value.text, operator, wanted))


def on_text(column: ColumnElement[str], operator: str, wanted: str) -> Condition:
    """Return the comparison of a text column with ``wanted``."""
    if not _is_comparable(wanted):
        return false()
    size = len(wanted)
    match operator:
        case "=":
            return column == wanted
        case "!=":
            return column != wanted
        case "<":
            return column < wanted
        case "<=":
            return column <= wanted
        case ">":
            return column > wanted
        case ">=":
            return column >= wanted
        case "startswith":
            return func.substr(column, 1, size) == wanted
        case "endswith":
            return and_(
                func.length(column) >= size, func.substr(column, func.length(column) - size + 1, size) == wanted
            )
        case "contains":
            return _folded(column).contains(fold(wanted), autoescape=True)
        case "like":
            return _folded(column).like(fold(wanted).replace("\\", "\\\\"), escape="\\")
    msg = f"{operator!r} is not a comparison of texts"
    raise ValueError(msg)


def on_number(column: ColumnElement[Any], digits: ColumnElement[str] | None, operator: str, wanted: float) -> Condition:
    """Return the comparison of a number with ``wanted``.

    Args:
        column: the number as the nearest float, NULL for NaN.
        digits: the digits of an integer beyond 2^53, else NULL; ``None`` where there are no such integers.
        operator: one of ``= != < <= > >=``.
        wanted: the literal.
    """
    nearest = nearest_float(wanted)
    if operator in ("=", "!="):
        if nearest is None:
            return column.is_(None) if operator == "=" else column.is_not(None)
        if digits is None or abs(nearest) <= SAFE_INTEGER:
            return column == nearest if operator == "=" else or_(column.is_(None), column != nearest)
        equal = and_(column == nearest, _has_digits(digits, wanted, nearest))
        return equal if operator == "=" else or_(column.is_(None), not_(equal))
    if nearest is None:
        return false()
    match operator:
        case "<":
            return column < nearest
        case "<=":
            return column <= nearest
        case ">":
            return column > nearest
        case ">=":
            return column >= nearest
    msg = f"{operator!r} is not a comparison of numbers"
    raise ValueError(msg)


def on_column(predicate: Predicate, column: ColumnElement[Any]) -> Condition:
    """Return a predicate on a column that is NULL where the entity has no value."""
    match predicate:
        case Exists():
            return column.is_not(None)
        case IsNull(negated=negated):
            return column.is_not(None) if negated else column.is_(None)
        case In(values=values, negated=negated):
            return _column_in(column, values, negated=negated)
        case Compare(operator=operator, value=wanted):
            if isinstance(wanted, str):
                return on_text(column, operator, wanted)
            if isinstance(wanted, float) and math.isnan(wanted):
                return column.is_not(None) if operator == "!=" else false()
            if isinstance(wanted, float):  # NULL is not NaN here, but no value at all
                return and_(column.is_not(None), on_number(column, None, operator, wanted))
            return _on_time(column, operator, wanted)


def _column_in(column: ColumnElement[Any], values: Iterable[Scalar], *, negated: bool) -> Condition:
    kin = [value for value in values if not isinstance(value, str) or _is_comparable(value)]
    chosen = [_bounded(value) if not isinstance(value, str) else value for value in kin if value == value]
    if not chosen:  # NaN equals no column, and differs from each
        return column.is_not(None) if kin and negated else false()
    return column.not_in(chosen) if negated else column.in_(chosen)


def _on_time(column: ColumnElement[Any], operator: str, wanted: int) -> Condition:
    bound = _bounded(wanted)
    compared: dict[str, Condition] = {
        "=": column == bound,
        "!=": column != bound,
        "<": column < bound,
        "<=": column <= bound,
        ">": column > bound,
        ">=": column >= bound,
    }
    return compared[operator]


def _bounded(value: float) -> float:
    """Return a number that a driver takes for a 64-bit integer, in the same relation to all stored ones."""
    return max(-(2**63), min(value, 2**63 - 1)) if isinstance(value, int) else value


def _typed_in(value: Typed, wanted: Iterable[Scalar], *, negated: bool) -> Condition:
    texts: list[str] = []
    plain: list[float] = []
    bools: list[float] = []
    special: list[Condition] = []
    for item in wanted:
        if isinstance(item, bool):
            bools.append(float(item))
        elif isinstance(item, str):
            if _is_comparable(item):
                texts.append(item)
        else:
            nearest = nearest_float(item)
            if nearest is None or abs(nearest) > SAFE_INTEGER:
                special.append(on_number(value.number, value.text, "=", item))
            else:
                plain.append(nearest)
    kinds: list[Condition] = []
    if texts:
        hit: Condition = value.text.in_(texts)
        if value.is_indexed and not negated:
            hit = and_(_prefix(value.text).in_(sorted({text[:PREFIX_LENGTH] for text in texts})), hit)
        kinds.append(and_(value.value_type == _TEXT, not_(hit) if negated else hit))
    if bools:
        hit = value.number.in_(bools)
        kinds.append(and_(value.value_type == _BOOL, not_(hit) if negated else hit))
    if plain or special:
        hit = or_(false(), *special, *([value.number.in_(plain)] if plain else []))
        kinds.append(and_(value.value_type == _NUMBER, negate(hit) if negated else hit))
    return or_(false(), *kinds)


def _has_digits(digits: ColumnElement[str], wanted: float, nearest: float) -> Condition:
    """Return whether a number that is ``nearest`` to ``wanted`` equals it."""
    is_integer = isinstance(wanted, int) or (math.isfinite(wanted) and wanted.is_integer())
    as_written = and_(digits.is_not(None), digits == exact_digits(int(wanted))) if is_integer else false()
    return or_(digits.is_(None), as_written) if nearest == wanted else as_written


def _prefix_condition(value: Typed, wanted: str) -> Condition:
    return _prefix(value.text) == wanted[:PREFIX_LENGTH] if _is_comparable(wanted) else false()


def _prefix(column: ColumnElement[str]) -> ColumnElement[str]:
    return func.substr(column, literal_column("1"), literal_column(str(PREFIX_LENGTH)))


def _folded(column: ColumnElement[str]) -> ColumnElement[str]:
    """Return a text with A-Z as a-z."""
    return func.lower(column)


def _is_comparable(text: str) -> bool:
    if not is_searchable(text):
        return False
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which no stored text holds
        return False
    return True


def status_of(status: ColumnElement[str], is_gone: Condition, running: str, lost: str) -> ColumnElement[str]:
    """Return a status as it is read: ``lost`` where it is running and the writer is gone."""
    return case((and_(status == running, is_gone), lost), else_=status)
