"""The grammar of filters and orders, and the errors of a text that does not follow it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal, cast

from modeldb_core.errors import MissingDependencyError, QuerySyntaxError

if TYPE_CHECKING:
    from lark import Lark, Token, Tree
    from lark.exceptions import UnexpectedInput

MAX_LENGTH = {"filter": 100_000, "order": 10_000}
"""Characters: a filter has room for a thousand identifiers in a list. A tree takes a thousand times the memory of its text."""
MAX_DEPTH = 100
"""Levels of parentheses and ``not``."""
_SHOWN = 60  # characters of a long text shown on either side of an error

GRAMMAR = r"""
filter: _expression
order: term ("," term)*
term: FIELD [ASC | DESC]

_expression: disjunction
?disjunction: conjunction (_OR conjunction)*
?conjunction: _negation (_AND _negation)*
_negation: negated | group | _predicate
negated: _NOT _negation
group: LPAR _expression RPAR
_predicate: compare | within | not_within | exists | not_exists | is_null | is_not_null
compare: FIELD _operator literal
within: FIELD _IN _list
not_within: FIELD _NOT _IN _list
exists: FIELD _EXISTS
not_exists: FIELD _NOT _EXISTS
is_null: FIELD _IS NULL
is_not_null: FIELD _IS _NOT NULL
_operator: COMPARISON | TEXT_OPERATOR
_list: LPAR literal ("," literal)* RPAR
!literal: NUMBER | TEXT | TRUE | FALSE | NULL | NOW

COMPARISON: "==" | "=" | "!=" | "<>" | "<=" | ">=" | "<" | ">"
LPAR: "("
RPAR: ")"
_AND.3: /and\b/i
_OR.3: /or\b/i
_NOT.3: /not\b/i
_IN.3: /in\b/i
_IS.3: /is\b/i
_EXISTS.3: /exists\b/i
TEXT_OPERATOR.3: /(contains|startswith|endswith|like)\b/i
TRUE.3: /true\b/i
FALSE.3: /false\b/i
NULL.3: /null\b/i
ASC.3: /asc\b/i
DESC.3: /desc\b/i
NOW.3: /now\b(\s*[-+]\s*\d+(\.\d+)?\s*(us|ms|s|m|h|d|w)\b)*/i
NUMBER.2: /[-+]?((\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?|(inf|infinity|nan))(?![\w.])/i
TEXT: /'([^']|'')*'|"([^"]|"")*"/
FIELD: /[^\W\d]\w*(\.([\w\/-]+|"([^"]|"")*"|'([^']|'')*'|`([^`]|``)*`))*/

WHITESPACE: /\s+/
%ignore WHITESPACE
"""

_WORDS = {
    "FIELD": "a field",
    "COMPARISON": "a comparison (= != < <= > >=)",
    "TEXT_OPERATOR": "contains, startswith, endswith or like",
    "NUMBER": "a number",
    "TEXT": "a quoted text",
    "NOW": "a time",
    "_AND": "and",
    "_OR": "or",
    "_NOT": "not",
    "_IN": "in",
    "_IS": "is",
    "_EXISTS": "exists",
    "NULL": "null",
    "TRUE": "true",
    "FALSE": "false",
    "ASC": "asc",
    "DESC": "desc",
    "LPAR": "(",
    "RPAR": ")",
    "COMMA": "a comma",
    "$END": "the end",
}


def parse_tree(text: str, start: Literal["filter", "order"]) -> Tree[Token]:
    """Return the tree of a text.

    Raises:
        QuerySyntaxError: it does not parse, is too long, or nests more than 100 levels deep.
        MissingDependencyError: lark is not installed.
    """
    most = MAX_LENGTH[start]
    if len(text) > most:
        msg = f"the {start} has {len(text):,} characters; at most {most:,} are allowed"
        raise QuerySyntaxError(msg, text, most + 1)
    parser = _parser()
    from lark.exceptions import UnexpectedInput  # see _parser

    try:
        tree = parser.parse(text, start=start)
    except UnexpectedInput as error:
        raise _syntax_error(error, text, start) from None
    _check_depth(tree, text, start)
    return tree


def error_at(message: str, text: str, at: int, what: str = "filter") -> QuerySyntaxError:
    """Return an error whose message shows the place: ``at`` is a 0-based index into ``text``."""
    first = max(0, at - _SHOWN)
    shown = "".join(" " if character.isspace() else character for character in text[first : at + _SHOWN])
    before = "…" if first else ""
    after = "…" if at + _SHOWN < len(text) else ""
    pointer = " " * (len(before) + at - first) + "^"
    return QuerySyntaxError(f"{what}, column {at + 1}: {message}\n  {before}{shown}{after}\n  {pointer}", text, at + 1)


@functools.cache
def _parser() -> Lark:
    try:
        from lark import Lark  # 20 ms that only a query needs
    except ImportError as error:
        msg = "queries need the package lark, which modeldb-core requires; reinstall it: pip install modeldb-core"
        raise MissingDependencyError(msg) from error
    return Lark(GRAMMAR, start=["filter", "order"], parser="lalr", lexer="basic", maybe_placeholders=True)


def _syntax_error(error: UnexpectedInput, text: str, what: str) -> QuerySyntaxError:
    from lark.exceptions import UnexpectedCharacters, UnexpectedToken  # see _parser

    if isinstance(error, UnexpectedCharacters):
        at = cast("int", error.pos_in_stream)
        return error_at(_unreadable(text, at), text, at, what)
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        found = f"not {str(error.token)[:40]!r}"
        at = error.token.start_pos or 0
        return error_at(f"expected {_describe(set(error.accepts or error.expected))}, {found}", text, at, what)
    expected = set(error.accepts or error.expected) if isinstance(error, UnexpectedToken) else set()
    return error_at(f"expected {_describe(expected)}, but the {what} ends", text, len(text), what)


def _unreadable(text: str, at: int) -> str:
    character = text[at]
    if character in "'\"":
        return f"the text that begins here has no closing {character}"
    if character in ".`":
        return 'a key is written after its section and a dot, quoted where it holds other signs: metrics."a key"'
    if character in "+-" or character.isdigit():
        return "this is not a number"
    return f"{character!r} cannot stand here; put text into quotes"


def _describe(terminals: set[str]) -> str:
    if {"NUMBER", "TEXT"} <= terminals:
        return "a value: a number, a quoted text, true, false, null, or now"
    words = [word for name, word in _WORDS.items() if name in terminals]
    if len(words) > 1:
        return f"{', '.join(words[:-1])} or {words[-1]}"
    return words[0] if words else "something else"


def _check_depth(tree: Tree[Token], text: str, what: str) -> None:
    # By hand, because the tree of a hostile text is deeper than Python's stack.
    waiting = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        for child in node.children:
            if isinstance(child, str):
                if depth > MAX_DEPTH:
                    msg = f"more than {MAX_DEPTH} levels of parentheses and not"
                    raise error_at(msg, text, getattr(child, "start_pos", 0) or 0, what)
            elif child is not None:
                waiting.append((child, depth + (child.data in ("group", "negated"))))
