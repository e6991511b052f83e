"""A database that SQLAlchemy has a dialect for: what a further dialect begins with.

It has what is the same on every database: transactions that are tried again, statements that write many rows, the check of
the tables, forks. What remains to be said of a database is five methods; ``docs/backends.md`` builds one.
"""

from __future__ import annotations

import random
import threading
import time
from abc import abstractmethod
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, false, literal_column, select, table
from sqlalchemy.exc import DBAPIError

from modeldb_core.backends._sql import schema
from modeldb_core.backends._sql.database import MANY, Database, SwallowedError, Transaction, VersionChangedError
from modeldb_core.backends._sql.tables import compatibility, metadata
from modeldb_core.errors import StoreReadOnlyError, StoreUnavailableError
from modeldb_core.runtime import forks, time_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Engine, Select

    from modeldb_core.backends._sql.database import Build, Result
    from modeldb_core.errors import ModelDBError

TIMEOUT_S = 60.0


class EngineDatabase(Database):
    """Transactions over an engine of SQLAlchemy.

    A subclass says how to connect (:meth:`make_engine`), what its errors mean (:meth:`may_pass`, :meth:`translate`), how an insert
    knows ``ON CONFLICT`` (:meth:`insert`) and how the tables are copied (:meth:`backup`). Where the database lets
    several transactions write at once, :meth:`begin` takes a lock that holds until the commit: numbers are given, and conditions
    judged, by one transaction at a time.

    Attributes:
        errors: what the driver raises, by itself or through SQLAlchemy.
        why_read_only: why it may only be read, or what to do then; for messages.

    Args:
        url: how the store calls itself, without secrets.
        read_only: refuse to write.
        timeout_s: how long to wait for others that write.
    """

    errors: tuple[type[BaseException], ...] = (DBAPIError,)
    why_read_only = "it was opened with read_only"

    def __init__(self, url: str, *, read_only: bool = False, timeout_s: float = TIMEOUT_S) -> None:
        super().__init__()
        self.url = url
        self.read_only = read_only
        self.timeout_s = timeout_s
        self._closed = False
        self._begin()
        forks.register(self)

    def _begin(self) -> None:
        self._gate, self._write_lock = forks.Gate(), threading.Lock()
        self.engine = self.make_engine()

    # What a database says of itself

    @abstractmethod
    def make_engine(self) -> Engine:
        """Return the engine, made with ``enable_from_linting=False``: some statements mean to join without a condition.

        Called again in a forked child, whose parent keeps the connections of the first one.
        """

    @abstractmethod
    def may_pass(self, error: BaseException | None) -> bool:
        """Return whether what the driver raised may be gone when the transaction is tried again: a lock, a conflict."""

    @abstractmethod
    def translate(self, error: BaseException | None) -> ModelDBError:
        """Return the error of ModelDB for one of the driver; its message says what to do, and shows no secret."""

    def begin(self, connection: Connection, *, writing: bool) -> None:
        """Called first in each transaction. One that writes must lock out all others that do, of other processes too."""

    # What follows

    def read(self, work: Callable[[Transaction], Result], *, settled: bool = False) -> Result:
        del settled  # nobody sees what is not committed
        time_limits.check_time()
        return self._retried(lambda: self._run(work, writing=False))

    def write(self, work: Callable[[Transaction], Result]) -> Result:
        if self.read_only:
            msg = f"{self.url} may only be read by this process: {self.why_read_only}"
            raise StoreReadOnlyError(msg)
        return self._retried(lambda: self._run(work, writing=True))

    def _run(self, work: Callable[[Transaction], Result], *, writing: bool) -> Result:
        # One writer at a time: waiting for a thread costs nothing, waiting for the database's lock costs sleeps.
        lock = self._write_lock if writing else nullcontext()
        with self._gate.inside(), lock, self._transaction(writing=writing) as connection:
            return self.carried_out(work, Transaction(self, connection))

    @contextmanager
    def _transaction(self, *, writing: bool) -> Iterator[Connection]:
        with self.engine.connect() as connection, connection.begin():
            self.begin(connection, writing=writing)
            yield connection

    def _retried(self, work: Callable[[], Result]) -> Result:
        """Call ``work`` until nothing stands in its way, or time is up."""
        if self._closed:
            msg = f"the store {self.url} was closed; open it again"
            raise StoreUnavailableError(msg)
        deadline = time.monotonic() + self.timeout_s
        pause_s = 0.001
        while True:
            try:
                return work()
            except SwallowedError as error:
                raise self.swallowed() from error
            except self.errors as error:
                original = error.orig if isinstance(error, DBAPIError) else error
                if not self.may_pass(original) or time.monotonic() > deadline:
                    raise self.translate(original) from error
            time.sleep(pause_s * (0.5 + random.random()))
            pause_s = min(2 * pause_s, 0.05)

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

    def check_schema(self, connection: Connection, version: str) -> Iterator[str]:
        if version != schema.LATEST:
            return
        known = {each.name: {column.name for column in each.columns} for each in metadata.sorted_tables}
        known[schema.VERSION_TABLE] = {"version_num"}
        found = self.table_names(connection)
        for name in sorted(found - known.keys()):
            yield f"the schema has the table {name!r}, which is not one of ModelDB's"
        for name in sorted(known.keys() - found):
            yield f"the schema lacks the table {name!r}"
        for name in sorted(found & known.keys()):
            # Asked of the table itself: what dialects know of the catalog varies, down to what does not work.
            empty: Select[Any] = select(literal_column("*")).select_from(table(name)).where(false())
            columns = set(connection.execute(empty).keys())
            for column in sorted(columns ^ known[name]):
                yield f"the table {name!r} {'lacks' if column in known[name] else 'has'} the column {column!r}"

    def expect_version(self, transaction: Transaction, version: str, stamp: str) -> None:
        if [tuple(row) for row in transaction.rows(_select_expected)] != [(version, stamp)]:
            raise VersionChangedError

    def initialize(self) -> None:
        """Do nothing: most databases need no more than their tables."""

    def close(self) -> None:
        self._closed = True
        forks.forget(self)
        self.engine.dispose()

    def before_fork(self) -> None:
        """Wait for the operations under way and close all connections."""
        self._gate.shut()
        self.engine.dispose()

    def after_fork(self, *, in_child: bool) -> None:
        """Go on in the parent; begin afresh in the child."""
        if in_child:
            _inherited.append(self.engine)  # what could not be closed must never be: it is the parent's
            self._begin()
        else:
            self._gate.open()


_inherited: list[Engine] = []


def _select_expected(_database: Database) -> Select[Any]:
    return select(schema.version_table.c.version_num, compatibility.c.stamp)
