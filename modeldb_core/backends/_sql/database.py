"""What a store on an SQL database needs of the database beyond the SQL that all of them understand."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from modeldb_core.errors import (
    IntegrityError,
    InvalidArgumentError,
    ModelDBError,
    StoreUnavailableError,
    StoreVersionError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Table
    from sqlalchemy.sql.dml import Insert

Result = TypeVar("Result")
Row: TypeAlias = Any
"""A row of a result: a tuple."""
Build: TypeAlias = "Callable[[Database], Any]"
"""Builds a statement. A function of a module, so that it is the same one each time."""
MANY = "many"
"""The name of the parameter of :meth:`Database.among`."""
_UNFIT = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, struct.error)
"""What rows raise that hold something else than a store writes."""


class VersionChangedError(Exception):
    """The tables are of another version than they were, or kinds declared in another way: somebody has upgraded them."""


class SwallowedError(Exception):
    """The database has not written what it was told to: a trigger, a rule or row security stands in the way."""


class Transaction:
    """One transaction, and two ways to run statements in it.

    Statements that are always the same are named by the function that builds them, and built once: putting one together
    costs SQLAlchemy more than it costs the database to run it. All others go through ``connection``.
    """

    def __init__(self, database: Database, connection: Connection) -> None:
        self.database = database
        self._connection = connection

    @property
    def connection(self) -> Connection:
        """The connection, of SQLAlchemy."""
        return self._connection

    def rows(self, build: Build, parameters: Mapping[str, Any] | None = None) -> Sequence[Row]:
        """Return the rows that a question gives."""
        return self.database.run(self._connection, build, parameters or {})

    def write(self, build: Build, rows: Sequence[Mapping[str, Any]], *, each_writes: int | None = 1) -> None:
        """Run a statement that writes once for each of ``rows``, which give all its parameters; none is fine.

        Args:
            build: the statement.
            rows: its parameters.
            each_writes: how many rows of the table each of them must write; ``None``: nobody knows.

        Raises:
            SwallowedError: the database wrote fewer. It may also be raised by a later statement of the transaction.
        """
        if rows:
            self.database.run_many(
                self._connection, build, rows, None if each_writes is None else each_writes * len(rows)
            )

    def scalar(self, build: Build, parameters: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - of any type
        """Return the only value of the only row that a question gives, ``None`` where there is no row."""
        rows = self.rows(build, parameters)
        return rows[0][0] if rows else None


def lacks(url: str, said: object) -> StoreVersionError:
    """Return the error for tables or columns that are not there, though the version of the tables says that they are."""
    return StoreVersionError(
        f"{url} lacks what this ModelDB works with ({said}): an older ModelDB made it, or a part of it was removed; run "
        f"modeldb db upgrade, and where that does not help, make it again from its changes: modeldb copy OLD NEW"
    )


class Database(ABC):
    """Connections and transactions. Every method may be called from any thread.

    Errors of the driver leave it as errors of ModelDB, and what may pass by itself (a lock, a lost connection) is
    tried again for a while before it becomes a :class:`~modeldb_core.errors.StoreUnavailableError`.
    """

    url: str
    read_only: bool
    """Whether this process may only read."""
    is_own = False
    """Whether the database belongs to this user alone, so that a write may upgrade its tables unasked."""
    alternative = "path that does not exist yet"
    """What else to name, where a database turns out to be one of something else."""
    generation = 0
    """Grows whenever what was read before may no longer be so: a server came back that has lost what it had last."""

    def __init__(self) -> None:
        self._statements: dict[Build, Any] = {}

    @abstractmethod
    def read(self, work: Callable[[Transaction], Result], *, settled: bool = False) -> Result:
        """Return what ``work`` returns, called inside a transaction that sees one state of the database throughout.

        It may be called more than once.

        Args:
            settled: what it sees must be as durable as :meth:`write` makes it: for those who release something, or
                never ask again, once the database has it. Others may see what is on its way to the disk.
        """

    @abstractmethod
    def write(self, work: Callable[[Transaction], Result]) -> Result:
        """Return what ``work`` returns, called inside a transaction of which there is one at a time; then commit.

        It may be called more than once, each time after everything was undone.
        """

    def write_mark(self) -> object:
        """Return what differs once anybody has committed something; ``None``: the database does not tell at once."""
        return None

    def run(self, connection: Connection, build: Build, parameters: Mapping[str, Any]) -> Sequence[Row]:
        """Return the rows that the statement of ``build`` gives; faster than SQLAlchemy where a database knows how."""
        return connection.execute(self.statement(build), parameters).all()

    @abstractmethod
    def run_many(
        self, connection: Connection, build: Build, rows: Sequence[Mapping[str, Any]], written: int | None
    ) -> None:
        """Run the statement of ``build`` once for each of ``rows``, of which there is at least one.

        Raises:
            SwallowedError: it wrote another number of rows than ``written``, if that is known.
        """

    def swallowed(self) -> ModelDBError:
        """Return the error of a batch that was not written whole, and of which nothing is kept."""
        return StoreUnavailableError(
            f"{self.url} did not write all rows of a batch: a trigger, a rule or row security of the database swallows "
            f"some; nothing of the batch was kept. Take it away (modeldb doctor names what is not ModelDB's), and send again"
        )

    @abstractmethod
    def insert(self, table: Table) -> Any:  # noqa: ANN401 - each has a type of its own for what is not in the standard
        """Return an insert that knows ``ON CONFLICT``."""

    def upsert(self, table: Table, *, update: Sequence[str]) -> Insert:
        """Return an insert that, where the primary key is there, sets the columns ``update`` instead.

        The rows that it is run with must differ in their primary keys.
        """
        statement = self.insert(table)
        primary = list(table.primary_key.columns)
        insert: Insert = (
            statement.on_conflict_do_update(
                index_elements=primary, set_={name: statement.excluded[name] for name in update}
            )
            if update
            else statement.on_conflict_do_nothing(index_elements=primary)
        )
        return insert

    @abstractmethod
    def among(
        self,
        column: ColumnElement[Any],
        values: Iterable[int] | Iterable[str] | None = None,
        *,
        parameter: str = MANY,
    ) -> ColumnElement[bool]:
        """Return the condition that ``column`` is one of many values: those given, or those of a parameter."""

    def each(self, parameter: str) -> ColumnElement[str]:
        """Return a column with a row for each of the texts of such a parameter; where there is none, more is read."""
        raise NotImplementedError(parameter)

    @abstractmethod
    def many(self, values: Iterable[int] | Iterable[str]) -> Any:  # noqa: ANN401 - what the driver takes
        """Return ``values`` as the value of such a parameter."""

    def create_tables(self, transaction: Transaction) -> None:
        """Make the tables of ModelDB, and that of their version, in an empty database."""
        from modeldb_core.backends._sql.table_definitions import metadata, version_table

        metadata.create_all(transaction.connection, checkfirst=False)
        version_table.create(transaction.connection)

    def table_names(self, transaction: Transaction) -> set[str]:
        """Return the names of all tables that are where those of ModelDB belong."""
        from sqlalchemy import inspect

        return set(inspect(transaction.connection).get_table_names())

    @abstractmethod
    def check(self, connection: Connection) -> Iterator[str]:
        """Iterate over sentences on what the database itself finds damaged, its indexes included."""

    @abstractmethod
    def check_schema(self, transaction: Transaction, version: str) -> Iterator[str]:
        """Iterate over sentences on what differs from the tables that the migrations make up to a version.

        Args:
            transaction: of the database.
            version: of its tables; of one that this code does not know, only what no version has is told.
        """

    @abstractmethod
    def expect_version(self, transaction: Transaction, version: str, stamp: str) -> None:
        """See to it that nothing is committed if the tables are not of ``version``, or kinds not declared as under ``stamp``.

        Raises:
            VersionChangedError: that is so; it may also be raised by a later statement of the transaction.
        """

    @abstractmethod
    def initialize(self) -> None:
        """Set what lasts in a database and cannot be set in a transaction; called before it is first written."""

    @abstractmethod
    def backup(self, transaction: Transaction, version: str) -> str:
        """Copy the tables, with their version in the name; return where the copy is.

        It is called inside of :meth:`write`, before anything was altered.
        """

    @abstractmethod
    def close(self) -> None:
        """Release all connections. Calling it twice is not an error."""

    def carried_out(self, work: Callable[[Transaction], Result], transaction: Transaction) -> Result:
        """Return what ``work`` returns: the one place where rows are read that anybody may have written.

        Raises:
            IntegrityError: a row holds what no store of ModelDB writes.
            InvalidArgumentError: it was asked with a text that is not Unicode.
        """
        try:
            return work(transaction)
        except ModelDBError:
            raise
        except UnicodeEncodeError as error:
            odd = error.object[error.start : error.end]
            msg = f"what was asked for holds {odd!r}, which is not Unicode text; an argument that is not UTF-8 reads so"
            raise InvalidArgumentError(msg) from error
        except _UNFIT as error:
            msg = (
                f"{self.url} holds a row that means nothing ({type(error).__name__}: {error}); `modeldb audit verify` says"
                " what else is wrong with it"
            )
            raise IntegrityError(msg) from error

    def statement(self, build: Build) -> Any:  # noqa: ANN401 - a statement
        """Return the statement that ``build`` builds, built once."""
        try:
            return self._statements[build]
        except KeyError:
            return self._statements.setdefault(build, build(self))
