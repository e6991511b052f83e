"""A database that SQLAlchemy has a dialect for: what a further dialect begins with.

It has what is the same on every database: transactions that are tried again, statements that write many rows, the check of
the tables, forks. What remains to be said of a database is five methods; ``docs/backends.md`` builds one.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, false, literal_column, select, table
from sqlalchemy.exc import DBAPIError

from modeldb_core.backends._sql import schema
from modeldb_core.backends._sql.database import MANY, SwallowedError, Transaction
from modeldb_core.backends._sql.layout import VERSION_TABLE
from modeldb_core.backends._sql.retrying import RetryingDatabase
from modeldb_core.backends._sql.table_definitions import metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Engine, Select

    from modeldb_core.backends._sql.database import Build


class EngineDatabase(RetryingDatabase):
    """Transactions over an engine of SQLAlchemy.

    A subclass says how to connect (:meth:`make_engine`), what its errors mean (:meth:`may_pass`, :meth:`translate`), how an insert
    knows ``ON CONFLICT`` (:meth:`insert`) and how the tables are copied (:meth:`backup`). Where the database lets
    several transactions write at once, :meth:`begin` takes a lock that holds until the commit: numbers are given, and conditions
    judged, by one transaction at a time.
    """

    errors: tuple[type[BaseException], ...] = (DBAPIError,)

    def _begin(self) -> None:
        super()._begin()
        self.engine = self.make_engine()

    # What a database says of itself

    @abstractmethod
    def make_engine(self) -> Engine:
        """Return the engine, made with ``enable_from_linting=False``: some statements mean to join without a condition.

        Called again in a forked child, whose parent keeps the connections of the first one.
        """

    def begin(self, connection: Connection, *, writing: bool) -> None:
        """Called first in each transaction. One that writes must lock out all others that do, of other processes too."""

    # What follows

    @contextmanager
    def _transaction(self, *, writing: bool) -> Iterator[Transaction]:
        with self.engine.connect() as connection, connection.begin():
            self.begin(connection, writing=writing)
            yield Transaction(self, connection)

    def run_many(
        self, connection: Connection, build: Build, rows: Sequence[Mapping[str, Any]], written: int | None
    ) -> None:
        result = connection.execute(self.statement(build), list(rows))
        dialect = connection.dialect
        counts = dialect.supports_sane_rowcount if len(rows) == 1 else dialect.supports_sane_multi_rowcount
        if counts and written is not None and result.rowcount != written:
            raise SwallowedError

    def among(
        self,
        column: ColumnElement[Any],
        values: Iterable[int] | Iterable[str] | None = None,
        *,
        parameter: str = MANY,
    ) -> ColumnElement[bool]:
        if values is None:
            return column.in_(bindparam(parameter, expanding=True))
        return column.in_(self.many(values))

    def many(self, values: Iterable[int] | Iterable[str]) -> Any:  # noqa: ANN401 - what the driver takes
        return list(values)

    def check(self, connection: Connection) -> Iterator[str]:
        del connection
        yield from ()

    def check_schema(self, transaction: Transaction, version: str) -> Iterator[str]:
        if version != schema.LATEST:
            return
        known = {each.name: {column.name for column in each.columns} for each in metadata.sorted_tables}
        known[VERSION_TABLE] = {"version_num"}
        found = self.table_names(transaction)
        for name in sorted(found - known.keys()):
            yield f"the schema has the table {name!r}, which is not one of ModelDB's"
        for name in sorted(known.keys() - found):
            yield f"the schema lacks the table {name!r}"
        for name in sorted(found & known.keys()):
            # Asked of the table itself: what dialects know of the catalog varies, down to what does not work.
            empty: Select[Any] = select(literal_column("*")).select_from(table(name)).where(false())
            columns = set(transaction.connection.execute(empty).keys())
            for column in sorted(columns ^ known[name]):
                yield f"the table {name!r} {'lacks' if column in known[name] else 'has'} the column {column!r}"

    def initialize(self) -> None:
        """Do nothing: most databases need no more than their tables."""

    def _release(self) -> None:
        self.engine.dispose()

    def _leave_to_parent(self) -> None:
        _inherited.append(self.engine)


_inherited: list[Engine] = []  # of the parent of this process: an engine that is collected closes its connections
