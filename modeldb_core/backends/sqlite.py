"""The default store: one SQLite file.

What is particular to SQLite is in ``_sql/sqlite.py``, the rest in the other modules of ``_sql``.
``docs/stores/sqlite.md`` says what is promised when.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from modeldb_core.backends._sql.sqlite import BUSY_TIMEOUT_S, SQLiteDatabase
from modeldb_core.backends._sql.sqlite_files import PREFIX
from modeldb_core.backends._sql.store import MigratedStore
from modeldb_core.backends._urls import split_options
from modeldb_core.errors import ConfigurationError

if TYPE_CHECKING:
    from modeldb_core.backends._sql.sqlite import Durability

_OPTIONS = {"durability": str, "busy_timeout_s": float, "read_only": bool}


class SQLiteStore(MigratedStore):
    """A store in one SQLite file.

    Args:
        url: ``sqlite:///relative/path.db`` or ``sqlite:////absolute/path.db``. A relative path is taken from the
            current directory at once. The file and its folder are created when needed. The options below may follow a
            question mark; one in the path is written %3F.
        durability: "normal" survives the death of any process; "fsync" waits for the disk at every ``apply``, and so
            survives the loss of power too.
        busy_timeout_s: how long to wait for other processes that write.
        read_only: refuse to write, even where it would be possible.

    Raises:
        ConfigurationError: the URL is not of that form, an option is unknown or has a value that cannot be used, or the file is not a database of ModelDB.
        StoreReadOnlyError: there is no file, and it may not be created.
        StoreVersionError: the file was written by a newer version of ModelDB.
        StoreUnavailableError: the file cannot be opened now.
    """

    is_local = True

    def __init__(
        self,
        url: str,
        *,
        durability: Durability = "normal",
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        read_only: bool = False,
    ) -> None:
        super().__init__(
            self.database_at(url, durability=durability, busy_timeout_s=busy_timeout_s, read_only=read_only)
        )

    @classmethod
    def database_at(cls, url: str, **options: Any) -> SQLiteDatabase:  # noqa: ANN401 - those of the class
        """Return the database in the file that a URL names; the options in it win over ``options``."""
        bare, found = split_options(url, _OPTIONS)
        return SQLiteDatabase(path_of(bare), **{**options, **found})


def path_of(url: str) -> Path:
    """Return the absolute path that a URL names.

    Raises:
        ConfigurationError: it is not a URL of a SQLite file.
    """
    path = unquote(url.removeprefix(PREFIX))
    if not url.startswith(PREFIX) or not path or path == ":memory:" or "\0" in path or path.endswith("/"):
        msg = (
            f"{url!r} does not name a SQLite file; write sqlite:///relative/path.db or sqlite:////absolute/path.db "
            f"(for a store in memory: memory://)"
        )
        raise ConfigurationError(msg)
    return Path(os.path.abspath(os.path.expanduser(path)))
