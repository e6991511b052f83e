"""Statements of SQLite that were built beforehand, so that who writes needs no SQLAlchemy, which takes longest to import.

The file has the statement of each function of this package that builds one, and those that make the tables. Nobody edits it:
``preparing.py`` writes it, and a test compares it with what the functions build.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

FILE = Path(__file__).with_name("sqlite_statements.json")
ROOM = __name__.rpartition(".")[0]
_content: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
_statements: dict[str, list[Any]] = _content["statements"]
TABLES: list[str] = _content["tables"]
"""The statements that make the tables, in their order."""


def find(build: Callable[..., Any]) -> list[Any] | None:
    """Return the text of a statement, the names of its parameters and its constants; ``None`` where it is to be built."""
    return _statements.get(name_of(build))


def name_of(build: Callable[..., Any]) -> str:
    """Return the name under which a statement is in the file."""
    return f"{build.__module__.removeprefix(f'{ROOM}.')}.{build.__qualname__}"
