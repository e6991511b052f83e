"""What a filter means, as plain Python: the definition that compiled forms are held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from modeldb_core.queries.ast import TAGS, And, Compare, Exists, Expression, Field, In, IsNull, Not, Or, Scalar
from modeldb_core.queries.leaves import is_searchable, nearest_float

MISSING: Final = object()
"""What a look-up returns for a key that an entity does not carry. A column without a value is ``None``."""

LookUp: TypeAlias = Callable[[Field], Any]
"""Returns the value of a field of one entity; for tags, the sequence of them."""

_FOLD = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def matches(expression: Expression | None, look_up: LookUp) -> bool:
    """Return whether the entity whose fields ``look_up`` gives satisfies ``expression``."""
    match expression:
        case None:
            return True
        case And(items):
            return all(matches(item, look_up) for item in items)
        case Or(items):
            return any(matches(item, look_up) for item in items)
        case Not(item):
            return not matches(item, look_up)
        case _ if expression.field.section == TAGS:
            return _match_tags(expression, look_up(expression.field))
        case _:
            return _match_value(expression, look_up(expression.field))


def fold(text: str) -> str:
    """Return ``text`` with A-Z as a-z: how ``contains`` and ``like`` compare. All databases agree on these letters."""
    return text.translate(_FOLD)


def is_like(text: str, pattern: str) -> bool:
    """Return whether ``text`` fits ``pattern``, in which ``%`` is any text and ``_`` any character."""
    text, pattern = fold(text), fold(pattern)
    at = position = 0
    star, resume = -1, 0  # the last %, and where the text that it does not cover begins
    while at < len(text):
        if position < len(pattern) and pattern[position] == "%":
            star, resume = position, at
            position += 1
        elif position < len(pattern) and pattern[position] in (text[at], "_"):
            at, position = at + 1, position + 1
        elif star >= 0:
            resume += 1
            at, position = resume, star + 1
        else:
            return False
    return pattern[position:].strip("%") == ""


def _match_tags(predicate: Compare | In | Exists | IsNull, tags: Sequence[str]) -> bool:
    match predicate:
        case Exists():
            return bool(tags)
        case In(values=values):
            return any(tag in values for tag in tags)
        case Compare(operator="contains" | "=", value=value):
            return value in tags
        case Compare(operator=operator, value=value):
            return any(_compare(tag, operator, value) for tag in tags)
    return False


def _match_value(predicate: Compare | In | Exists | IsNull, value: object) -> bool:
    is_column = predicate.field.section == "column"
    match predicate:
        case Exists():
            return value is not MISSING and not (is_column and value is None)
        case IsNull(negated=negated):
            return value is not MISSING and (value is not None) == negated
        case In(values=values, negated=False):
            return any(_compare(value, "=", literal) for literal in values)
        case In(values=values):
            kin = [literal for literal in values if _type(literal) == _type(value)]
            return bool(kin) and not any(_compare(value, "=", literal) for literal in kin)
        case Compare(operator=operator, value=literal):
            return _compare(value, operator, literal)


def _compare(value: Any, operator: str, literal: Scalar) -> bool:  # noqa: ANN401 - of any type
    if _type(value) == "" or _type(value) != _type(literal):
        return False
    match operator:
        case "=":
            return _equal(value, literal)
        case "!=":
            return not _equal(value, literal)
        case "contains":
            return fold(str(literal)) in fold(value)
        case "startswith":
            return bool(value.startswith(literal))
        case "endswith":
            return bool(value.endswith(literal))
        case "like":
            return is_like(value, str(literal))
    one, other = _by_size(value), _by_size(literal)
    if one is None or other is None:
        return False
    is_before = operator in ("<", "<=") and bool(one < other)
    is_after = operator in (">", ">=") and bool(one > other)
    return is_before or is_after or (operator in ("<=", ">=") and bool(one == other))


def _by_size(value: Any) -> Any:  # noqa: ANN401 - number or text
    return value if isinstance(value, str) else nearest_float(value)


def _equal(value: Any, literal: Any) -> bool:  # noqa: ANN401 - of one type
    return bool(value == literal) or (value != value and literal != literal)


def _type(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "text" if is_searchable(value) else ""
    return ""
