"""Texts that others wrote, made harmless: for a terminal, for JSON, for a spreadsheet.

Names, values and messages come from the one who logged them or from a server. A control character could do anything to a
terminal, a character that turns the direction of writing makes a line read as another, and a spreadsheet runs a formula.
"""

from __future__ import annotations

import json
import re

_HARMFUL = (
    r"\x00-\x1f\x7f-\x9f"  # C0 and C1 controls, with the escape that sequences begin with
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # directions
    r"\u200b\u2028\u2029\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # line ends, what is unseen
    r"\ud800-\udfff"  # halves of characters
)
_ANY = re.compile(f"[{_HARMFUL}]")
_NOT_ESCAPED_BY_JSON = re.compile(f"(?![\n])[{_HARMFUL}]")
_SPACES = frozenset("\n\t\r")
_FORMULA = frozenset("=+-@\t\r\n＝＋－＠")
"""What a cell of a spreadsheet begins with that is a formula (OWASP, "CSV Injection")."""


def clean(text: str) -> str:
    """Return ``text`` on one line and without control characters."""
    return _ANY.sub(lambda match: " " if match[0] in _SPACES else "\N{REPLACEMENT CHARACTER}", text)


def clean_lines(text: str) -> str:
    """Return ``text`` with its lines and tabs, but without other control characters."""
    return "\n".join("\t".join(map(clean, line.split("\t"))) for line in text.split("\n"))


def json_escaped(text: str) -> str:
    """Return JSON with what a terminal could obey written as escapes; the values stay the same."""
    return _NOT_ESCAPED_BY_JSON.sub(lambda match: json.dumps(match[0])[1:-1], text)


def csv_text(text: str) -> str:
    """Return a text as a cell of CSV: with its lines, without control characters, and never a formula.

    What would be one has an apostrophe before it, as spreadsheets themselves write it. Numbers stay as they are.
    """
    shown = clean_lines(text)
    return f"'{shown}" if text and text[0] in _FORMULA and not _is_number(text) else shown


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and text.strip() == text
