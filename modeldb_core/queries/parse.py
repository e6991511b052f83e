"""From text to tree: :func:`parse_filter` and :func:`parse_order`."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, NoReturn, cast

from modeldb_core.errors import QuerySyntaxError
from modeldb_core.model.entities import now_us
from modeldb_core.model.schema import KINDS, METRICS, KindDeclaration, check_kind
from modeldb_core.queries.ast import (
    COLUMN,
    TAGS,
    And,
    Compare,
    Exists,
    Expression,
    Field,
    In,
    IsNull,
    Not,
    Operator,
    Or,
    Order,
    Scalar,
)
from modeldb_core.queries.fields import AGGREGATES, COLUMNS, resolve_field
from modeldb_core.queries.grammar import error_at, parse_tree
from modeldb_core.queries.literals import quote
from modeldb_core.queries.times import Span, among, compared, parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lark import Token, Tree

    from modeldb_core.model.schema import ColumnType

MAX_PREDICATES = 500
"""Of a filter: databases limit the depth of an expression (SQLite: 1,000)."""
MAX_LIST = 1000
"""Values in one ``in (...)``."""
MAX_PATTERN = 1000
MAX_WILDCARDS = 20
"""Of a ``like`` pattern; matching costs a power of their number."""
_CACHED_LENGTH = 2000

_SAME = {"==": "=", "<>": "!="}
_UNITS_US = {"us": 1, "ms": 1e3, "s": 1e6, "m": 60e6, "h": 3600e6, "d": 86400e6, "w": 604800e6}
_PART = re.compile(r"""\.?(?:"((?:[^"]|"")*)"|'((?:[^']|'')*)'|`((?:[^`]|``)*)`|([\w/-]+))""")
_PLAIN_TERM = re.compile(r"\s*([^\W\d]\w*)(?:\s+(asc|desc))?\s*", re.IGNORECASE)
_OFFSET = re.compile(r"([-+])\s*(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d|w)", re.IGNORECASE)
_TEXT_OPERATORS = frozenset({"contains", "startswith", "endswith", "like"})
_WANTED: Mapping[ColumnType, str] = {
    "time": 'a time such as "2026-11-23" or now - 7d',
    "text": "a quoted text",
    "number": "a number",
    "boolean": "true or false",
}
_ON_TAGS = frozenset({"contains", "=", "startswith", "endswith", "like"})


def parse_filter(text: str, kind: str = "run", *, at_us: int | None = None) -> Expression | None:
    """Return what a filter says of entities of ``kind``; ``None`` for an empty one, which matches all.

    Args:
        text: the filter; ``docs/queries.md`` gives the language.
        kind: of the entities; it decides which columns there are.
        at_us: what ``now`` means, in microseconds since 1970-01-01 UTC; the current time by default.

    Raises:
        QuerySyntaxError: it does not parse, names a column that does not exist, or exceeds a limit.
        InvalidArgumentError: the kind is unknown.
    """
    check_kind(kind)
    _check_is_text(text, "filter")
    if not text.strip():
        return None
    if (known := _written.get((kind, text))) is not None:
        return known
    if re.search(r"\bnow\b", text, re.IGNORECASE):
        return _Builder(text, kind, now_us() if at_us is None else at_us).filter()
    return _cached_filter(text, kind, KINDS[kind]) if len(text) <= _CACHED_LENGTH else _Builder(text, kind, 0).filter()


def write_filter(expression: Expression, kind: str) -> str:
    """Return the text of a filter that the program itself makes, of columns, numbers and texts.

    :func:`parse_filter` remembers what it says: a program that only logs asks such questions too, and would import the
    parser for them, which is half as much as everything else that it imports for queries.

    Raises:
        TypeError: the expression holds something else.
    """
    text = _text_of(expression)
    _written[kind, text] = expression
    return text


def parse_order(text: str, kind: str = "run") -> tuple[Order, ...]:
    """Return the criteria of an order such as ``metrics.auc desc, name``; none for an empty one.

    Raises:
        QuerySyntaxError: it does not parse, names a column that does not exist, or orders by tags.
        InvalidArgumentError: the kind is unknown.
    """
    check_kind(kind)
    _check_is_text(text, "order")
    return _cached_order(text, kind, KINDS[kind]) if text.strip() else ()


def parse_field(text: str, kind: str = "run") -> Field:
    """Return the field that a name such as ``metrics.auc`` means.

    Raises:
        QuerySyntaxError: it is not such a name, or the column does not exist.
    """
    check_kind(kind)
    _check_is_text(text, "name of a field")
    return resolve_field(kind, split_name(text))


def split_name(name: str) -> tuple[tuple[str, bool], ...]:
    """Return the parts between the dots of a field's name, each with whether it was quoted.

    Raises:
        QuerySyntaxError: it is not a name.
    """
    parts: list[tuple[str, bool]] = []
    at = 0
    while at < len(name) or not parts:
        found = _PART.match(name, at)
        if found is None or name.startswith(".", at) != bool(parts):
            msg = f'{name!r} is not the name of a field; expected one such as status, metrics.auc or metrics."val loss"'
            raise QuerySyntaxError(msg, name, at + 1)
        double, single, back, plain = found.groups()
        if plain is not None:
            parts.append((plain, False))
        elif double is not None:
            parts.append((double.replace('""', '"'), True))
        elif single is not None:
            parts.append((single.replace("''", "'"), True))
        else:
            parts.append((back.replace("``", "`"), True))
        at = found.end()
    return tuple(parts)


def field_name(section: str, key: str, aggregate: str = "") -> str:
    """Return how a filter names a key: quoted only where it must be."""
    parts = key.split(".")
    ends_like_aggregate = section == METRICS and parts[-1] in AGGREGATES
    plain = all(re.fullmatch(r"[\w/-]+", part) for part in parts) and not (ends_like_aggregate and len(parts) > 1)
    name = f"{section}.{key if plain else quote(key)}"
    return f"{name}.{aggregate}" if aggregate else name


def _check_is_text(text: object, what: str) -> None:
    if not isinstance(text, str):
        msg = f"the {what} is of type {type(text).__name__}; expected text"
        raise QuerySyntaxError(msg)


_written: dict[tuple[str, str], Expression] = {}


def _text_of(expression: Expression) -> str:
    match expression:
        case Or(items) | And(items):
            word = " or " if isinstance(expression, Or) else " and "
            return word.join(f"({_text_of(item)})" for item in items)
        case Compare(Field("column", column), operator, value) if type(value) in (int, str):
            return f"{column} {operator} {quote(value) if isinstance(value, str) else value}"
        case IsNull(Field("column", column), negated):
            return f"{column} is {'not ' if negated else ''}null"
    msg = f"{expression!r:.100} is not made of columns, whole numbers and texts"
    raise TypeError(msg)


@functools.lru_cache(maxsize=256)
def _cached_filter(text: str, kind: str, _declared_as: KindDeclaration) -> Expression:
    return _Builder(text, kind, 0).filter()


@functools.lru_cache(maxsize=256)
def _cached_order(text: str, kind: str, _declared_as: KindDeclaration) -> tuple[Order, ...]:
    return _plain_order(text, kind) or _Builder(text, kind, 0).order()


def _plain_order(text: str, kind: str) -> tuple[Order, ...]:
    """Return an order by columns alone, which needs no parser; none for any other, and for one that is wrong."""
    if len(text) > _CACHED_LENGTH:
        return ()
    orders = []
    for term in text.split(","):
        found = _PLAIN_TERM.fullmatch(term)
        if found is None or found[1] not in COLUMNS[kind]:
            return ()
        orders.append(Order(Field(COLUMN, found[1]), (found[2] or "").lower() == "desc"))
    return tuple(orders)


class _Builder:
    """Turns the tree of one text into expressions, and checks what the grammar cannot."""

    def __init__(self, text: str, kind: str, at_us: int) -> None:
        self.text = text
        self.kind = kind
        self.at_us = at_us
        self.what = "filter"
        self.predicates = 0

    def filter(self) -> Expression:
        tree = parse_tree(self.text, "filter")
        return self.expression(cast("Tree[Token]", tree.children[0]))

    def order(self) -> tuple[Order, ...]:
        self.what = "order"
        orders = []
        for term in parse_tree(self.text, "order").children:
            token, direction = cast("list[Any]", cast("Tree[Token]", term).children)
            field = self.field(token)
            if field.section == TAGS:
                self.refuse("tags have no order; order by a column or a key", token)
            orders.append(Order(field, direction is not None and str(direction).lower() == "desc"))
        return tuple(orders)

    def expression(self, tree: Tree[Token]) -> Expression:
        if tree.data in ("disjunction", "conjunction"):
            items = tuple(self.expression(cast("Tree[Token]", child)) for child in tree.children)
            return Or(items) if tree.data == "disjunction" else And(items)
        if tree.data == "negated":
            return Not(self.expression(cast("Tree[Token]", tree.children[0])))
        if tree.data == "group":
            return self.expression(cast("Tree[Token]", tree.children[1]))
        return self.predicate(tree)

    def predicate(self, tree: Tree[Token]) -> Expression:
        token = cast("Token", tree.children[0])
        self.count(token)
        field = self.field(token)
        match tree.data:
            case "exists":
                return Exists(field)
            case "not_exists":
                return Not(Exists(field))
            case "is_null" | "is_not_null":
                return self.is_null(field, token, negated=tree.data == "is_not_null")
            case "compare":
                return self.compare(field, token, *tree.children[1:])
            case _:
                return self.within(field, token, tree.children[2:-1], negated=tree.data == "not_within")

    def is_null(self, field: Field, token: Token, *, negated: bool) -> Expression:
        if field.section == TAGS:
            self.refuse("tags are never null; write: tags exists, or tags not exists", token)
        return IsNull(field, negated)

    def compare(self, field: Field, token: Token, operator_token: Any, literal: Any) -> Expression:  # noqa: ANN401
        operator = cast("Operator", _SAME.get(str(operator_token), str(operator_token).lower()))
        if operator in _TEXT_OPERATORS and field.section == COLUMN and COLUMNS[self.kind][field.key] != "text":
            self.refuse(f"{operator} is for text; {field.key} is a {COLUMNS[self.kind][field.key]}", operator_token)
        value = self.literal(field, literal)
        if field.section == TAGS and operator not in _ON_TAGS:
            self.refuse(f"tags cannot be compared by {operator}; write: tags contains, or not (tags contains", token)
        if value is None:
            if operator not in ("=", "!=") or field.section == TAGS:
                self.refuse("null can only be compared by: is null, is not null", operator_token)
            return IsNull(field, operator == "!=")
        if operator in _TEXT_OPERATORS:
            self.check_text_operator(operator, value, operator_token)
        elif isinstance(value, bool) and operator not in ("=", "!="):
            self.refuse("true and false can only be compared by = and !=", operator_token)
        if isinstance(value, Span):
            self.count(token, value.first < value.last)  # two conditions where it was one
            return compared(field, operator, value)
        return Compare(field, operator, value)

    def count(self, token: Token, more: int = 1) -> None:
        self.predicates += more
        if self.predicates > MAX_PREDICATES:
            self.refuse(f"more than {MAX_PREDICATES} conditions; put values into a list: in (...)", token)

    def check_text_operator(self, operator: str, value: Scalar | Span, token: Any) -> None:  # noqa: ANN401 - a token
        if not isinstance(value, str):
            self.refuse(f'{operator} needs a quoted text, such as {operator} "best"', token)
        if operator == "like" and (len(value) > MAX_PATTERN or value.count("%") > MAX_WILDCARDS):
            msg = f"a pattern may have {MAX_PATTERN:,} characters and {MAX_WILDCARDS} %; this has more"
            self.refuse(msg, token)

    def within(self, field: Field, token: Token, literals: list[Any], *, negated: bool) -> Expression:
        if len(literals) > MAX_LIST:
            self.refuse(f"the list has {len(literals):,} values; at most {MAX_LIST:,} are allowed", token)
        if negated and field.section == TAGS:
            self.refuse("write: not (tags in (...))", token)
        values = []
        for literal in literals:
            value = self.literal(field, literal)
            if value is None:
                self.refuse("null cannot stand in a list; write: or FIELD is null", literal.children[0])
            values.append(value)
        spans = [value for value in values if isinstance(value, Span)]
        self.count(token, 2 * sum(span.first < span.last for span in spans))
        if spans:
            return among(field, spans, negated=negated)
        return In(field, tuple(value for value in values if not isinstance(value, Span)), negated)

    def field(self, token: Token) -> Field:
        try:
            return resolve_field(self.kind, split_name(str(token)))
        except QuerySyntaxError as error:
            self.refuse(str(error), token)

    def literal(self, field: Field, tree: Tree[Token]) -> Scalar | Span | None:
        token = cast("Token", tree.children[0])
        value = self.value(token)
        if value is None:
            return None
        if field.section == COLUMN:
            return self.column_value(field.key, value, token)
        if field.section == TAGS and not isinstance(value, str):
            self.refuse("a tag is text: quote it", token)
        return value

    def value(self, token: Token) -> Scalar | None:
        match token.type:
            case "TRUE":
                return True
            case "FALSE":
                return False
            case "NULL":
                return None
            case "TEXT":
                return str(token)[1:-1].replace(token[0] * 2, token[0])
            case "NOW":
                return self.at_us + sum(
                    round(float(amount) * _UNITS_US[unit.lower()]) * (-1 if sign == "-" else 1)
                    for sign, amount, unit in _OFFSET.findall(str(token))
                )
            case _:
                return self.number(token)

    def number(self, token: Token) -> int | float:
        try:
            return int(token) if re.fullmatch(r"[-+]?\d+", token) else float(token)
        except ValueError:
            self.refuse(f"the number has {len(token):,} digits, more than can be read", token)

    def column_value(self, column: str, value: Scalar, token: Token) -> Scalar | Span:
        expected = COLUMNS[self.kind][column]
        if expected == "time":
            if token.type == "NOW":
                assert isinstance(value, int)
                return Span(value, value)
            if not isinstance(value, str):
                self.wrong_type(column, expected, token)
            try:
                return parse_time(value)
            except ValueError:
                msg = f'{token} is not a time; write "2026-11-23", "2026-11-23T21:00:00+01:00", or now - 7d'
                self.refuse(msg, token)
        found = "boolean" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"
        if token.type == "NOW" or found != expected:
            self.wrong_type(column, expected, token)
        return value

    def wrong_type(self, column: str, expected: ColumnType, token: Token) -> NoReturn:
        self.refuse(f"{column} is a {expected}; compare it with {_WANTED[expected]}, not {str(token)[:40]}", token)

    def refuse(self, message: str, token: Any) -> NoReturn:  # noqa: ANN401 - a token
        raise error_at(message, self.text, token.start_pos or 0, self.what) from None
