"""The store of a team: a PostgreSQL database.

What is particular to PostgreSQL is in ``_sql/postgres.py``, the rest in the other modules of ``_sql``.
``docs/stores/postgres.md`` says what is promised when.
"""

from __future__ import annotations

import math
import os
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

from modeldb_core.backends._sql.postgres import PostgresDatabase
from modeldb_core.backends._sql.postgres_connections import Address
from modeldb_core.backends._sql.postgres_secrets import restricted
from modeldb_core.backends._sql.store import MigratedStore
from modeldb_core.backends._urls import split_options
from modeldb_core.errors import ConfigurationError
from modeldb_core.runtime.redaction import is_secret_name, redact_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modeldb_core.log.changes import Change

CONNECT_TIMEOUT_S = 10.0
TIMEOUT_S = 60.0
POOL_SIZE = 8
SCHEMA = "public"

IDLE_TIMEOUT_S = 60.0

_EXAMPLE = "postgresql://user@host:5432/database"
_OWN = {
    "schema": str,
    "read_only": bool,
    "timeout_s": float,
    "connect_timeout_s": float,
    "pool_size": int,
    "idle_timeout_s": float,
}
_CHOICES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
}
_LIBPQ = (  # for hints alone: libpq knows best what it knows
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "passfile",
    "service",
    "options",
    "application_name",
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "channel_binding",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslpassword",
    "gssencmode",
    "target_session_attrs",
)
_UNKNOWN = re.compile(r'invalid (?:URI query parameter: |connection option )"(?P<name>[\w.-]+)"')
_MAX_SCHEMA_BYTES = 63  # of a name in PostgreSQL; longer ones are cut


class PostgresStore(MigratedStore):
    """A store in a PostgreSQL database.

    Args:
        url: a URL as ``psql`` takes it: ``postgresql://user:password@host:port/database``, also with several hosts,
            separated by commas, and with parameters of libpq behind a question mark. What is left out is what ``psql``
            would take: the variables PGHOST, PGUSER, PGPASSWORD and so on, ``~/.pgpass``, a service. The options below
            may stand there as well.
        schema: where the tables are; it is made when needed.
        read_only: refuse to write, even where it would be possible.
        timeout_s: how long a statement may take, its waiting for other writers included.
        connect_timeout_s: how long to try to get a connection; default: libpq's ``connect_timeout``, or 10.
        pool_size: how many connections this process may have at once.
        idle_timeout_s: after how long an idle connection is given back to the server.
        is_named_by_project: whether only a project's file names the server: no secret goes there that was not given for
            it (PGPASSWORD, a line for any host in ``~/.pgpass``, the password of another server).
        parameters: of libpq, such as ``sslmode`` or ``application_name``.

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
        connect_timeout_s: float | None = None,
        pool_size: int = POOL_SIZE,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        is_named_by_project: bool = False,
        **parameters: str,
    ) -> None:
        own: dict[str, Any] = {"schema": schema, "read_only": read_only, "timeout_s": timeout_s}
        own |= {"connect_timeout_s": connect_timeout_s, "pool_size": pool_size, "idle_timeout_s": idle_timeout_s}
        own |= {"is_named_by_project": is_named_by_project}
        super().__init__(self.database_at(url, **own, **parameters))

    def _apply_shortly(self, changes: Sequence[Change]) -> bool:
        database = self._database
        if self._generation != database.generation or not isinstance(database, PostgresDatabase):
            return False
        from modeldb_core.backends._sql.postgres_appends import append_shortly

        return append_shortly(database, self._remembered, changes, self._enter)

    @classmethod
    def database_at(cls, url: str, **options: Any) -> PostgresDatabase:  # noqa: ANN401 - those of the class
        """Return the database that a URL names; the options in it win over ``options``."""
        _refuse_raw_secret(url)
        bare, found, own = _split(url)
        is_named_by_project = options.pop("is_named_by_project", False)
        options = {"schema": SCHEMA, "timeout_s": TIMEOUT_S, "idle_timeout_s": IDLE_TIMEOUT_S, **options, **own}
        parameters = {name: options.pop(name) for name in [*options] if name not in _OWN}
        parameters = {name: value for name, value in parameters.items() if value != ""}
        parameters = restricted(found, parameters) if is_named_by_project else {**parameters, **found}
        limit = options.get("connect_timeout_s")
        options["connect_timeout_s"] = _connect_timeout_s(parameters, url) if limit is None else limit
        _check(options, parameters, url)
        return PostgresDatabase(
            address_of(bare, options["schema"], parameters),
            connect_timeout_s=options["connect_timeout_s"],
            timeout_s=options["timeout_s"],
            idle_timeout_s=options["idle_timeout_s"],
            pool_size=options.get("pool_size", POOL_SIZE),
            read_only=options.get("read_only", False),
        )


def _split(url: str) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Return a URL without own options, the parameters of libpq in it, and the own options."""
    bare, _, query = url.partition("?")
    items = [item for item in query.split("&") if item]
    own = [item for item in items if unquote(item.partition("=")[0]) in _OWN]
    _, options = split_options(f"{bare}?{'&'.join(own)}", _OWN)
    rest = [item for item in items if item not in own]
    bare += "?" * bool(rest) + "&".join(rest)
    try:
        if any(each in unquote(bare) for each in "\0\r\n"):
            raise psycopg2.ProgrammingError  # noqa: TRY301 - the same as what libpq refuses
        return bare, parse_dsn(bare), options
    except psycopg2.ProgrammingError as error:
        raise _refusal(error, url) from None


def _refusal(error: BaseException, url: str) -> ConfigurationError:
    """Return the error for what libpq does not take; its own words may show a secret."""
    found = _UNKNOWN.search(str(error))
    if found is None:
        return ConfigurationError(f"{redact_url(url)!r} does not name a PostgreSQL database; write {_EXAMPLE}")
    close = get_close_matches(found["name"], (*_OWN, *_LIBPQ), 1)
    known = f"known: {', '.join(_OWN)}, and the parameters of libpq, such as {', '.join(_LIBPQ[:4])}"
    hint = f"did you mean {close[0]!r}?" if close else known
    return ConfigurationError(f"the option {found['name']!r} of {redact_url(url)!r} is unknown; {hint}")


def _connect_timeout_s(parameters: dict[str, str], url: str) -> float:
    text = str(parameters.get("connect_timeout", "0")).strip()
    if not re.fullmatch(r"[+-]?\d{1,9}", text):
        msg = f"connect_timeout of {redact_url(url)!r} is {text!r}; expected a whole number of seconds"
        raise ConfigurationError(msg)
    return float(text) if int(text) > 0 else CONNECT_TIMEOUT_S


def _refuse_raw_secret(url: str) -> None:
    """Raise ConfigurationError where a password holds what ends it in a URL: no other message could hide it then."""
    scheme, _, rest = url.partition("://")
    authority = re.split("[/?]", rest, maxsplit=1)[0]
    after = rest[len(authority) :]
    path, _, query = after.partition("?")
    if "@" not in authority and ":" in authority and ("@" in path or "@" in query.partition("=")[0]):
        msg = (
            f"the password in '{scheme}://***@{after.rpartition('@')[2].partition('?')[0]}' holds a character that ends "
            f"it; write %2F for /, %3F for ?, %23 for #, %40 for @ and %25 for %"
        )
        raise ConfigurationError(msg)


def _check(options: dict[str, Any], parameters: dict[str, Any], url: str) -> None:
    """Raise ConfigurationError where an option has a value that cannot be used."""
    schema = options["schema"]
    problem = ""
    for name in ("timeout_s", "connect_timeout_s", "idle_timeout_s", "pool_size"):
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
    for name, value in parameters.items():
        if not isinstance(value, str) or "\0" in value:
            problem = f"{name} is {'***' if is_secret_name(name) else repr(value)}; expected text"
        elif value and value not in _CHOICES.get(name, (value,)):
            problem = f"{name} is {value!r}; expected one of {', '.join(_CHOICES[name])}"
    if parameters.get("replication", "off").lower() not in ("off", "false", "no", "0"):
        problem = "replication is on; ModelDB needs an ordinary connection"
    if problem:
        msg = f"an option of the store {redact_url(url)!r} cannot be used: {problem}"
        raise ConfigurationError(msg)


def address_of(url: str, schema: str, parameters: dict[str, str]) -> Address:
    """Return where the database of a URL is; ``parameters`` are those of libpq, which win over those in the URL.

    Raises:
        ConfigurationError: it is not a URL of a PostgreSQL database, or a parameter is unknown.
    """
    try:
        wanted = {**parse_dsn(url), **parameters}
        make_dsn(**wanted)
    except psycopg2.ProgrammingError as error:
        raise _refusal(error, url) from None
    hosts = (wanted.get("host") or wanted.get("hostaddr") or "").split(",")
    ports = wanted.get("port", "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports + [""] * (len(hosts) - len(ports))
    ports = [port.strip().removeprefix("+") for port in ports]  # as libpq reads numbers
    if any(port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536) for port in ports):
        msg = f"{redact_url(url)!r} has an invalid port; expected 1 to 65535, as in {_EXAMPLE}"
        raise ConfigurationError(msg)
    places = list(zip(hosts, ports, strict=False))
    named = [(host or os.environ.get("PGHOST") or "localhost", port) for host, port in places]
    return Address(
        url=_shown(wanted, places, schema),
        server=",".join(f"{_bracketed(host)}:{port or os.environ.get('PGPORT') or 5432}" for host, port in named),
        parameters=wanted,
        schema=schema,
    )


def _shown(wanted: Mapping[str, str], places: Sequence[tuple[str, str]], schema: str) -> str:
    """Return how a store calls itself: what says which one it is, always written alike, and no secret."""
    user = f"{quote(wanted['user'], safe='')}@" if wanted.get("user") else ""
    hosts = ",".join(
        (_bracketed(host) if ":" in host else quote(host, safe="")) + (f":{port}" if port else "")
        for host, port in places
    )
    query = {"service": wanted.get("service", ""), "schema": "" if schema == SCHEMA else schema}
    options = "&".join(f"{name}={quote(value)}" for name, value in query.items() if value)
    return f"postgresql://{user}{hosts}/{quote(wanted.get('dbname', ''), safe='')}{options and f'?{options}'}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
