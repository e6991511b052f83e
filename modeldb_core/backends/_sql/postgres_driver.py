"""psycopg2, such that no server keeps a thread waiting for ever, and few trips to it are made.

psycopg2's blocking calls wait for as long as the server pleases, and cannot be interrupted. So connections are opened in
its asynchronous mode, and every wait has an end: a server that hangs costs an error, and Ctrl-C works.

Statements that give nothing back can be *deferred*: they travel with the next one that is executed, in one message.
"""

from __future__ import annotations

import select
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import psycopg2
from psycopg2 import extensions
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection

DIALECT_NAME = "modeldb_postgresql"
GRACE_S = 5.0
"""How much longer than the server's own time limit a connection waits for an answer: the server explains better."""
SILENT = "08MDB"
"""The code of the error where the server did not answer in time (of class 08: connections)."""

_MAX_DEFERRED_BYTES = 1 << 20
_BYTEA = 17
_PORT = "5432"
_NOT_PREPARED = ("26000", "42P05")
"""The codes of errors where a session does not know a statement that was prepared, or knows it already: it is shared."""


class SilentError(psycopg2.OperationalError):  # type: ignore[misc]  # psycopg2 has no types
    """The server did not answer in time; the connection is closed."""

    pgcode = SILENT


class UnfitTextError(psycopg2.DataError):  # type: ignore[misc]
    """A text that is to be written holds what PostgreSQL cannot: U+0000, or half of a surrogate pair."""

    pgcode = "22021"


class DriverConnection(extensions.connection):  # type: ignore[misc]
    """A connection whose cursors return once the server has answered.

    Attributes:
        timeout_s: how long the server may take to answer.
        is_reading: whether a text that PostgreSQL cannot hold is taken for one that equals none; else it is an error.
        trips: how many messages were sent and answered.
        settings: the statement with which each transaction begins.
    """

    timeout_s: float
    settings = b""
    is_reading = False
    trips = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - psycopg2's
        super().__init__(*arguments, **options)
        self._deferred: list[bytes] = []
        self._deferred_bytes = 0
        self._prepared: set[str] | None = set()

    def wait(self, timeout_s: float) -> None:
        """Wait until the server has answered; raises :class:`SilentError`."""
        deadline = time.monotonic() + timeout_s
        try:
            while (state := self.poll()) != extensions.POLL_OK:
                _wait_for_socket(self, state == extensions.POLL_READ, deadline)
        except BaseException as error:
            if isinstance(error, SilentError) or not isinstance(error, psycopg2.Error):
                self.close()  # what the server answers later would be taken for the answer to something else
            elif getattr(error, "pgcode", None) in _NOT_PREPARED:
                self._prepared = None
            raise
        self.trips += 1

    def defer(self, message: bytes) -> None:
        """Send a statement with the next one, or now where much has been gathered."""
        self._deferred.append(message)
        self._deferred_bytes += len(message)
        if self._deferred_bytes > _MAX_DEFERRED_BYTES:
            with self.cursor() as cursor:
                cursor.execute("SELECT 1")

    @contextmanager
    def preparing(self, name: str, statement: bytes) -> Iterator[None]:
        """Let the session prepare a statement with the question that is asked meanwhile, unless it has, or is not ours alone."""
        wanted = self._prepared is not None and name not in self._prepared
        if wanted:
            self.defer(statement)
        yield
        if wanted and self._prepared is not None:
            self._prepared.add(name)

    def has_prepared(self, name: str) -> bool:
        """Return whether the session knows a statement by a name; behind PgBouncer another one may answer next."""
        return self._prepared is not None and name in self._prepared

    def forget_deferred(self) -> list[bytes]:
        """Return what was deferred, and hold it no more."""
        found = self._deferred
        self._deferred, self._deferred_bytes = [], 0
        return found


class DriverCursor(extensions.cursor):  # type: ignore[misc]
    """A cursor that sends what was deferred along, and waits."""

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002, ANN401 - as in psycopg2
        """Run a statement and wait for what it gives."""
        connection = self.connection
        message = self.mogrify(query, vars)
        super().execute(b";".join([*connection.forget_deferred(), message]))
        connection.wait(connection.timeout_s + GRACE_S)

    def mogrify(self, query: Any, vars: Any = None) -> bytes:  # noqa: A002, ANN401 - as in psycopg2
        """Return a statement with its parameters in it.

        Raises:
            UnfitTextError: a text in it is one that PostgreSQL cannot hold, and is to be written.
        """
        try:
            message: bytes = super().mogrify(query, vars)
        except ValueError as error:
            if not self.connection.is_reading:
                msg = "a text holds U+0000 or half of a surrogate pair"
                raise UnfitTextError(msg) from error
            # NULL equals nothing, as no stored text equals this one.
            message = super().mogrify(query, _without_unfit(vars))
        return message

    def executemany(self, query: Any, vars_list: Any) -> None:  # noqa: ANN401 - as in psycopg2
        """Run a statement once for each set of parameters, all in one message."""
        self.execute(b";".join([self.mogrify(query, each) for each in vars_list]) or b"SELECT 1")


class Dialect(PGDialect_psycopg2):
    """SQLAlchemy's, for connections whose transactions begin and end where ``postgres.py`` says so."""

    supports_statement_cache = True
    supports_server_side_cursors = False

    def on_connect(self) -> None:
        return None

    def set_isolation_level(self, dbapi_connection: Any, level: str) -> None:  # noqa: ANN401
        del dbapi_connection, level

    def do_rollback(self, dbapi_connection: Any) -> None:  # noqa: ANN401
        del dbapi_connection

    def do_commit(self, dbapi_connection: Any) -> None:  # noqa: ANN401
        del dbapi_connection


registry.register(DIALECT_NAME, __name__, "Dialect")


def connect(parameters: Mapping[str, Any], *, connect_timeout_s: float, timeout_s: float) -> DriverConnection:
    """Open a connection; ``parameters`` are libpq's.

    Each of several hosts has ``connect_timeout_s``, as with ``psql``. Where one refuses, libpq goes on to the next itself; but
    in its asynchronous mode it keeps no time. So one that is silent is left out, and the others are tried again.
    """
    connection: DriverConnection = psycopg2.connect(
        async_=True, connection_factory=DriverConnection, cursor_factory=DriverCursor, **parameters
    )
    connection.timeout_s = timeout_s
    try:
        _wait_for_connection(connection, connect_timeout_s)
    except BaseException as error:
        others = _other_hosts(connection) if isinstance(error, SilentError) else {}
        connection.close()
        if not others:
            raise
    else:
        extensions.register_type(_BYTES, connection)
        return connection
    return connect({**parameters, **others}, connect_timeout_s=connect_timeout_s, timeout_s=timeout_s)


def _wait_for_connection(connection: DriverConnection, timeout_s: float) -> None:
    place, deadline = None, 0.0
    while (state := connection.poll()) != extensions.POLL_OK:
        if place != (place := _place(connection)):
            deadline = time.monotonic() + timeout_s
        _wait_for_socket(connection, state == extensions.POLL_READ, deadline)
    connection.trips += 1


def _place(connection: DriverConnection) -> tuple[str, str]:
    """Return the host and the port that are being tried."""
    return connection.info.host or "", str(connection.info.port)


def _other_hosts(connection: DriverConnection) -> dict[str, str]:
    """Return the parameters that name the hosts without the one that is being tried; none where it is the only one."""
    known: dict[str, str] = connection.info.dsn_parameters  # also from the environment, or a service
    lists = {name: known[name].split(",") for name in ("host", "hostaddr", "port") if known.get(name)}
    count = max(map(len, lists.values()), default=1)
    lists = {name: values * count if len(values) == 1 else values for name, values in lists.items()}
    names = lists.get("host") or lists.get("hostaddr") or []
    places = [(name, lists["port"][at] if "port" in lists else "") for at, name in enumerate(names)]
    tried = _place(connection)
    silent = next((at for at, (name, port) in enumerate(places) if (name, port or _PORT) == tried), None)
    if silent is None or count == 1:
        return {}
    return {name: ",".join(values[:silent] + values[silent + 1 :]) for name, values in lists.items()}


def _wait_for_socket(connection: DriverConnection, is_reading: bool, deadline: float) -> None:
    left_s = deadline - time.monotonic()
    if left_s > 0:
        if hasattr(select, "poll"):
            poller = select.poll()
            poller.register(connection.fileno(), select.POLLIN if is_reading else select.POLLOUT)
            found: Sequence[Any] = poller.poll(left_s * 1000)
        else:
            sockets = [connection.fileno()]
            found = [*select.select(sockets if is_reading else (), () if is_reading else sockets, (), left_s)[:2]]
            found = [each for ready in found for each in ready]
        if found:
            return
    msg = "the server does not answer"
    raise SilentError(msg)


def _read_bytes(value: str | None, cursor: Any) -> bytes | None:  # noqa: ANN401 - psycopg2's
    return None if value is None else psycopg2.BINARY(value, cursor).tobytes()


_BYTES = extensions.new_type((_BYTEA,), "MODELDB_BYTES", _read_bytes)


def _without_unfit(parameters: Any) -> Any:  # noqa: ANN401 - of any type
    """Return parameters with NULL for each text that PostgreSQL cannot hold."""
    if isinstance(parameters, str):
        return None if "\0" in parameters or any("\ud800" <= each <= "\udfff" for each in parameters) else parameters
    if isinstance(parameters, dict):
        return {name: _without_unfit(value) for name, value in parameters.items()}
    if isinstance(parameters, (list, tuple)):
        return type(parameters)(_without_unfit(value) for value in parameters)
    return parameters


def driver_of(connection: Connection) -> DriverConnection:
    """Return the connection below one of SQLAlchemy's."""
    return cast("DriverConnection", connection.connection.dbapi_connection)


def send(connection: Connection, *statements: bytes) -> Sequence[Any]:
    """Run statements in one trip, after those that were deferred; return the rows of the last."""
    with driver_of(connection).cursor() as cursor:
        cursor.execute(b";".join(statements))
        rows: Sequence[Any] = cursor.fetchall() if cursor.description else ()
    return rows


def undo(connection: Connection) -> None:
    """End the transaction of a connection without a trace; one with which that cannot be done is given up."""
    if connection.invalidated:
        return
    driver = driver_of(connection)
    try:
        if not driver.closed and driver.get_transaction_status() != extensions.TRANSACTION_STATUS_IDLE:
            send(connection, b"ROLLBACK")
    except psycopg2.Error:
        driver.close()
    if driver.closed:
        connection.invalidate()
