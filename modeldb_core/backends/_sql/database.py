"""What a store on an SQL database needs of the database beyond the SQL that all of them understand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from sqlalchemy import ColumnElement, Connection, Table
    from sqlalchemy.sql.dml import Insert

Result = TypeVar("Result")
MANY = "many"
"""The name of the parameter of :meth:`Database.among`."""


class Database(ABC):
    """Connections and transactions. Every method may be called from any thread.

    Errors of the driver leave it as errors of ModelDB, and what may pass by itself (a lock, a lost connection) is
    tried again for a while before it becomes a :class:`~modeldb_core.errors.StoreUnavailableError`.
    """

    url: str

    def __init__(self) -> None:
        self._statements: dict[object, Any] = {}

    @abstractmethod
    def read(self, work: Callable[[Connection], Result]) -> Result:
        """Return what ``work`` returns, called inside a transaction that sees one state of the database throughout.

        It may be called more than once.
        """

    @abstractmethod
    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Return what ``work`` returns, called inside a transaction of which there is one at a time; then commit.

        It may be called more than once, each time after everything was undone.
        """

    @abstractmethod
    def upsert(self, table: Table, *, update: Sequence[str]) -> Insert:
        """Return an insert that, where the primary key is there, sets the columns ``update`` instead."""

    @abstractmethod
    def among(self, column: ColumnElement[Any]) -> ColumnElement[bool]:
        """Return the condition that ``column`` is one of many values: those of the one parameter ``MANY``."""

    @abstractmethod
    def many(self, values: Iterable[int] | Iterable[str]) -> Any:  # noqa: ANN401 - what the driver takes
        """Return ``values`` as the parameter ``MANY``."""

    @abstractmethod
    def close(self) -> None:
        """Let go of all connections. Calling it twice is no error."""

    def statement(self, build: Callable[[Database], Result]) -> Result:
        """Return ``build(self)``, built once: putting a statement together costs more than running it."""
        try:
            return cast("Result", self._statements[build])
        except KeyError:
            return cast("Result", self._statements.setdefault(build, build(self)))
