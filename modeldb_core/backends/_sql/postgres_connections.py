"""Opening connections to PostgreSQL: where the database is, what is set for a transaction, and what may be done there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modeldb_core.backends._sql.postgres_driver import DriverConnection, connect
from modeldb_core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

OLDEST_VERSION = 120_000
"""As libpq gives it: PostgreSQL 12."""

_KEEPALIVE = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
_UTF8 = "UTF8"
_FACTS = """
SELECT current_setting('server_encoding'), pg_is_in_recovery(),
       current_setting('default_transaction_read_only') = 'on',
       to_regnamespace(%(schema)s) IS NOT NULL,
       has_table_privilege(to_regclass(%(schema)s || '.changes'), 'INSERT')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a database is.

    Attributes:
        url: how the store calls itself, without secrets.
        server: host and port, for messages.
        parameters: those of libpq.
        schema: the one that holds the tables.
    """

    url: str
    server: str
    parameters: Mapping[str, Any] = field(repr=False)  # with the password
    schema: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a connection is to.

    Attributes:
        is_standby: whether the server copies another one.
        is_read_only: whether nothing can be written there by this user.
        has_schema: whether the schema exists.
    """

    is_standby: bool
    is_read_only: bool
    has_schema: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """Opens connections, set up and looked at.

    Attributes:
        address: where to.
        connect_timeout_s: how long that may take.
        timeout_s: how long a statement may take on them.
    """

    address: Address
    connect_timeout_s: float
    timeout_s: float

    def open(self) -> tuple[DriverConnection, Facts]:
        """Return a connection, and what it is to.

        Raises:
            ConfigurationError: ModelDB cannot work with the server or the database.
            psycopg2.Error: there is no connection to be had.
        """
        parameters = {
            **_KEEPALIVE,
            "tcp_user_timeout": self._limit_ms,
            "fallback_application_name": "modeldb",
            **self.address.parameters,
            "client_encoding": _UTF8,
        }
        connection = connect(parameters, connect_timeout_s=self.connect_timeout_s, timeout_s=self.timeout_s)
        try:
            facts = self._look_at(connection)
        except BaseException:
            connection.close()
            raise
        connection.settings = self._settings(connection.server_version)
        return connection, facts

    @property
    def _limit_ms(self) -> int:
        return max(int(self.timeout_s * 1000), 1)

    def _settings(self, server_version: int) -> bytes:
        """Return the statement that sets, for one transaction, how the server is to run it.

        Nothing is set for a session: behind PgBouncer it is not ours, and the next transaction runs in another one.
        """
        settings: dict[str, object] = {
            "search_path": f"{quoted(self.address.schema)}, pg_temp",  # temporary tables of others come last
            "lock_timeout": self._limit_ms,
            "statement_timeout": self._limit_ms + 500,  # later: a lock explains itself better
            "idle_in_transaction_session_timeout": self._limit_ms,  # a writer that hangs must not keep the lock
            "jit": "off",  # it takes longer to compile than any question here takes
            "join_collapse_limit": 1,  # joins are written in the order in which they are best made
        }
        if server_version >= 140_000:
            settings["client_connection_check_interval"] = 10_000
        calls = [f"set_config({literal(name)}, {literal(str(value))}, true)" for name, value in settings.items()]
        return f"SELECT {', '.join(calls)}".encode()

    def _look_at(self, connection: DriverConnection) -> Facts:
        """Look at what may be done with the database, in one trip."""
        schema, version = quoted(self.address.schema), connection.server_version
        with connection.cursor() as cursor:
            cursor.execute(_FACTS, {"schema": schema})
            encoding, is_standby, is_reading, has_schema, may_write = cursor.fetchone()
        url = self.address.url
        if version < OLDEST_VERSION:
            msg = f"{url} is served by PostgreSQL {version // 10_000}; ModelDB needs 12 or newer"
            raise ConfigurationError(msg)
        if encoding != _UTF8:
            msg = f"{url} is encoded as {encoding}; make a database with UTF8: createdb -E UTF8 -T template0 NAME"
            raise ConfigurationError(msg)
        return Facts(is_standby, is_standby or is_reading or may_write is False, has_schema)


def literal(text: str) -> str:
    """Return a text as SQL writes it, whatever ``standard_conforming_strings`` is."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"


def quoted(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'
