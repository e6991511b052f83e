"""The store of a team: a PostgreSQL database.

What is particular to PostgreSQL is in ``_sql/postgres.py``, the rest in the other modules of ``_sql``.
``docs/stores/postgres.md`` says what is promised when.
"""

from __future__ import annotations

import math
import re
from typing import Any
from urllib.parse import quote, unquote

from modeldb_core.backends._sql.postgres import PostgresDatabase
from modeldb_core.backends._sql.postgres_connections import Address
from modeldb_core.backends._sql.store import MigratedStore
from modeldb_core.backends._urls import split_options
from modeldb_core.errors import ConfigurationError
from modeldb_core.redaction import redact_url

CONNECT_TIMEOUT_S = 10.0
TIMEOUT_S = 60.0
POOL_SIZE = 8
SCHEMA = "public"

_EXAMPLE = "postgresql://user@host:5432/database"
_OWN = {"schema": str, "read_only": bool, "timeout_s": float, "connect_timeout_s": float, "pool_size": int}
_OF_LIBPQ = {"sslmode": str, "sslrootcert": str, "sslcert": str, "sslkey": str, "target_session_attrs": str}
_CHOICES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
}
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^:\[\],]*)(?::(?P<port>\d{0,5}))?")
_MAX_SCHEMA_BYTES = 63  # of a name in PostgreSQL; longer ones are cut


class PostgresStore(MigratedStore):
    """A store in a PostgreSQL database.

    Args:
        url: ``postgresql://user:password@host:port/database``, also with several hosts, separated by commas. What is
            left out is what ``psql`` would take: the variables PGHOST, PGUSER, PGPASSWORD and so on, and ``~/.pgpass``.
            The options below may follow a question mark.
        schema: where the tables are; it is made when needed.
        read_only: refuse to write, even where it would be possible.
        timeout_s: how long a statement may take, its waiting for other writers included.
        connect_timeout_s: how long to try to get a connection.
        pool_size: how many connections this process may have at once.
        sslmode: disable, allow, prefer, require, verify-ca or verify-full, as in libpq.
        sslrootcert: the file with the certificate of the authority that vouches for the server.
        sslcert: the file with the certificate of this client.
        sslkey: the file with its key.
        target_session_attrs: which of several hosts will do: any, read-write, read-only, primary, standby or
            prefer-standby.

    Raises:
        ConfigurationError: the URL or an option has a value that cannot be used, the server does not know the database,
            the user or its password, or the database is not one of ModelDB.
        PermissionDeniedError: the user may not connect.
        StoreReadOnlyError: there are no tables, and they may not be made.
        StoreVersionError: the tables are those of a newer version of ModelDB.
        StoreUnavailableError: the server cannot be reached now.
    """

    def __init__(
        self,
        url: str,
        *,
        schema: str = SCHEMA,
        read_only: bool = False,
        timeout_s: float = TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        pool_size: int = POOL_SIZE,
        sslmode: str = "",
        sslrootcert: str = "",
        sslcert: str = "",
        sslkey: str = "",
        target_session_attrs: str = "",
    ) -> None:
        super().__init__(
            self.database_at(
                url,
                schema=schema,
                read_only=read_only,
                timeout_s=timeout_s,
                connect_timeout_s=connect_timeout_s,
                pool_size=pool_size,
                sslmode=sslmode,
                sslrootcert=sslrootcert,
                sslcert=sslcert,
                sslkey=sslkey,
                target_session_attrs=target_session_attrs,
            )
        )

    @classmethod
    def database_at(cls, url: str, **options: Any) -> PostgresDatabase:  # noqa: ANN401 - those of the class
        """Return the database that a URL names; the options in it win over ``options``."""
        _refuse_raw_secret(url)
        bare, found = split_options(url, {**_OWN, **_OF_LIBPQ})
        options = {"schema": SCHEMA, "timeout_s": TIMEOUT_S, "connect_timeout_s": CONNECT_TIMEOUT_S, **options, **found}
        _check(options, url)
        address = address_of(bare, options["schema"], {name: options[name] for name in _OF_LIBPQ if options.get(name)})
        return PostgresDatabase(
            address,
            connect_timeout_s=options["connect_timeout_s"],
            timeout_s=options["timeout_s"],
            pool_size=options.get("pool_size", POOL_SIZE),
            read_only=options.get("read_only", False),
        )


def _refuse_raw_secret(url: str) -> None:
    """Raise ConfigurationError where a password holds what ends it in a URL: no other message could hide it then."""
    scheme, _, rest = url.partition("://")
    secret, at, after = rest.rpartition("@")
    if at and ":" in secret and any(each in secret for each in "/?#"):
        msg = (
            f"the password in '{scheme}://***@{after.partition('?')[0]}' holds a character that ends it; "
            f"write %2F for /, %3F for ?, %23 for #, %40 for @ and %25 for %"
        )
        raise ConfigurationError(msg)


def _check(options: dict[str, Any], url: str) -> None:
    """Raise ConfigurationError where an option has a value that cannot be used."""
    schema = options["schema"]
    problem = ""
    for name in ("timeout_s", "connect_timeout_s", "pool_size"):
        value = options.get(name, 1)
        limit = 1000 if name == "pool_size" else 1_000_000
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not 0 < value <= limit
            or math.isnan(value)
        ):
            problem = f"{name} is {value!r}; expected a number above 0, at most {limit:,}"
    if not isinstance(options.get("pool_size", 1), int):
        problem = f"pool_size is {options['pool_size']!r}; expected a whole number"
    if not isinstance(options.get("read_only", False), bool):
        problem = f"read_only is {options['read_only']!r}; expected true or false"
    if not isinstance(schema, str) or not 0 < len(schema.encode("utf-8", "replace")) <= _MAX_SCHEMA_BYTES:
        problem = f"schema is {schema!r}; expected the name of one, of at most {_MAX_SCHEMA_BYTES} bytes"
    elif schema.startswith("pg_") or schema == "information_schema" or "\0" in schema:
        problem = f"schema is {schema!r}, which belongs to PostgreSQL itself; choose another name"
    for name in _OF_LIBPQ:
        value = options.get(name) or ""
        if not isinstance(value, str) or "\0" in value:
            problem = f"{name} is {value!r}; expected text"
        elif value and value not in _CHOICES.get(name, (value,)):
            problem = f"{name} is {value!r}; expected one of {', '.join(_CHOICES[name])}"
    if problem:
        msg = f"an option of the store {redact_url(url)!r} cannot be used: {problem}"
        raise ConfigurationError(msg)


def address_of(url: str, schema: str, parameters: dict[str, str]) -> Address:
    """Return where the database of a URL without options is; ``parameters`` are further ones of libpq.

    Raises:
        ConfigurationError: it is not a URL of a PostgreSQL database.
    """
    _, mark, rest = url.partition("://")
    location, slash, name = rest.partition("/")
    userinfo, at, hosts = location.rpartition("@")
    user, _, password = userinfo.partition(":")
    found = [_HOST.fullmatch(each) for each in hosts.split(",")]
    database = unquote(name)
    is_whole = mark and slash and database and "/" not in name and not (at and not user)
    if not is_whole or None in found or "#" in rest or any(each in unquote(rest) for each in "\0\n"):
        msg = f"{redact_url(url)!r} does not name a PostgreSQL database; write {_EXAMPLE}"
        raise ConfigurationError(msg)
    places = [(match["host"].strip("[]"), match["port"] or "") for match in found if match is not None]
    if any(port and not 0 < int(port) < 65536 for _, port in places):
        msg = f"{redact_url(url)!r} has a port that there cannot be; expected 1 to 65535, as in {_EXAMPLE}"
        raise ConfigurationError(msg)
    own = {
        "host": ",".join(unquote(host) for host, _ in places),
        "port": ",".join(port for _, port in places),
        "user": unquote(user),
        "password": unquote(password),
        "dbname": database,
    }
    wanted = {key: value for key, value in own.items() if value.strip(",")}
    server = ",".join(f"{_shown_host(host)}:{port or 5432}" for host, port in places)
    shown = f"postgresql://{user}{at and '@'}{hosts}/{name}"
    if schema != SCHEMA:
        shown += f"?schema={quote(schema)}"
    return Address(url=shown, server=server, parameters={**wanted, **parameters}, schema=schema)


def _shown_host(host: str) -> str:
    return f"[{host}]" if ":" in host else unquote(host) or "localhost"
