"""Texts that others wrote, made harmless: for a terminal, for JSON, for a spreadsheet.

Names, values and messages come from the one who logged them or from a server. A control character could do anything to a
terminal, a character that turns the direction of writing makes a line read as another, and a spreadsheet runs a formula.
"""

from __future__ import annotations

import json
import re

from modeldb_core.runtime.harmless import HARMFUL, clean

__all__ = ["clean", "clean_lines", "csv_text", "json_escaped"]

_NOT_ESCAPED_BY_JSON = re.compile(f"(?![\n])[{HARMFUL}]")
_FORMULA = frozenset("=+-@\t\r\n＝＋－＠")
"""What a cell of a spreadsheet begins with that is a formula (OWASP, "CSV Injection")."""


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


def runs_in_words(count: int) -> str:
    """Return a number of runs in words: ``1 run``, ``1,204 runs``."""
    return f"{count:,} run{'' if count == 1 else 's'}"
