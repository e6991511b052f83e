"""Builds the statements of ``prepared.py``: ``python -m modeldb_core.backends._sql.preparing`` writes its file."""

from __future__ import annotations

import inspect
import json
import pkgutil
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_mock_engine

from modeldb_core.backends._sql import prepared
from modeldb_core.backends._sql.sqlite import SQLiteDatabase, compile_statement
from modeldb_core.backends._sql.table_definitions import metadata, version_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.engine.mock import MockConnection

_STATEMENTS = ("Select[", "CompoundSelect[", "Insert", "Update", "Delete")


def build_all(folder: Path) -> dict[str, Any]:
    """Return what the file is to hold; a database is opened in ``folder`` for it, and nothing written."""
    database = SQLiteDatabase(folder / "modeldb.db")
    try:
        found = {prepared.name_of(build): compile_statement(build(database)) for build in _builds()}
    finally:
        database.close()
    return {"tables": _tables(), "statements": found}


def as_text(content: dict[str, Any]) -> str:
    """Return the text of the file."""
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def _builds() -> Iterator[Callable[..., Any]]:
    package = import_module(prepared.ROOM)
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if found.ispkg or found.name.rpartition(".")[2].startswith("postgres"):
            continue
        module = import_module(found.name)
        for _, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and _is_build(function):
                yield function


def _is_build(function: Callable[..., Any]) -> bool:
    told = inspect.get_annotations(function)
    result = told.pop("return", "")
    return list(told.values()) == ["Database"] and isinstance(result, str) and result.startswith(_STATEMENTS)


def _tables() -> list[str]:
    texts: list[str] = []

    def take(statement: Any, *_: object) -> None:  # noqa: ANN401 - of SQLAlchemy
        texts.append(str(statement.compile(dialect=engine.dialect)).strip())

    engine: MockConnection = create_mock_engine("sqlite://", take)
    metadata.create_all(engine, checkfirst=False)
    version_table.create(engine)
    made = [text for text in texts if text.startswith("CREATE TABLE")]
    return made + sorted({*texts} - {*made})  # a table has its indexes in no order


if __name__ == "__main__":
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        prepared.FILE.write_text(as_text(build_all(Path(folder))), "utf-8")
