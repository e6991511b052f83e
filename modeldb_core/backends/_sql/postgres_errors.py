"""What the errors of PostgreSQL and its driver mean: whether to try again, and what to tell the user.

A connection that fails tells its reason as a text alone, so that is looked at. A server that speaks another language than
English is quoted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from modeldb_core.backends._sql.database import lacks
from modeldb_core.backends._sql.postgres_driver import SILENT
from modeldb_core.errors import (
    ConfigurationError,
    IntegrityError,
    InvalidArgumentError,
    ModelDBError,
    PermissionDeniedError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from modeldb_core.runtime import time_limits

if TYPE_CHECKING:
    from collections.abc import Callable

Hope = Literal["none", "lock", "connection"]

_CONFLICTS = frozenset({"40001", "40P01", "55P03"})  # serialization failure, deadlock, lock not available
_NO_RIGHT = "42501"
_CANCELED = "57014"
_PASSING = frozenset({"57P01", "57P02", "57P03", "57P05", "53300", "25P03", "25P04"})
_STARTING = re.compile(r"the database system is|too many clients|connection slots|too many connections|shutting down")
_LEVEL = re.compile(r"^.*?\b(?:FATAL|PANIC|ERROR|FEHLER|ERREUR)\s*: +")


def hope_of(error: BaseException, *, is_closed: bool) -> Hope:
    """Return whether trying again may help: once a lock is free, once there is a connection, or not at all.

    Args:
        error: of the driver.
        is_closed: whether the connection is lost.
    """
    code = getattr(error, "pgcode", None) or ""
    if code == SILENT or "statement pooling mode" in str(error):
        return "none"  # it was waited for long enough, or will stay so
    if code in _CONFLICTS:
        return "lock"
    if code in _PASSING or code.startswith("08") or (is_closed and not code):
        return "connection"
    return "connection" if not code and _STARTING.search(str(error)) else "none"


@dataclass(frozen=True, slots=True)
class Translator:
    """Says in a sentence what happened and what to do.

    Attributes:
        url: of the store, without secrets.
        server: host and port.
        database: its name.
        user: who connects; empty where the driver finds out.
        schema: where the tables are.
        timeout_s: the time limit of an operation.
        connect_timeout_s: that of a connection.
    """

    url: str
    server: str
    database: str
    user: str
    schema: str
    timeout_s: float
    connect_timeout_s: float

    def translate(self, error: BaseException, *, is_connecting: bool = False, is_reading: bool = False) -> ModelDBError:
        """Return the error of ModelDB for one of the driver."""
        code = getattr(error, "pgcode", None) or ""
        if code == _NO_RIGHT:
            return self._of_missing_right(_said(error), is_reading=is_reading)
        if is_reading and code == _CANCELED and time_limits.is_over():
            return time_limits.time_is_up()
        if code == SILENT:
            after_s = self.connect_timeout_s if is_connecting else self.timeout_s
            return StoreUnavailableError(
                f"the PostgreSQL server at {self.server} did not answer within {after_s:g} s; "
                f"see whether it and the network are well"
            )
        if not code:
            return self._of_text(str(error))
        for known, translate in (*_BY_CODE.items(), *_BY_CLASS.items()):
            if code.startswith(known):
                return translate(self, _said(error))
        return StoreUnavailableError(f"{self.url}: PostgreSQL refused an operation ({code}): {_said(error)}")

    def _of_missing_right(self, said: str, *, is_reading: bool) -> ModelDBError:
        quoted, rights = f'"{self.schema}"', "SELECT" if is_reading else "SELECT, INSERT, UPDATE, DELETE"
        advice = f"GRANT {rights} ON ALL TABLES IN SCHEMA {quoted} TO {self.grantee}"
        if "database" in said:
            advice = f'GRANT CREATE ON DATABASE "{self.database}" TO {self.grantee}'
        elif "schema" in said:
            advice = f"GRANT {'USAGE' if is_reading else 'USAGE, CREATE'} ON SCHEMA {quoted} TO {self.grantee}"
        what = (
            f"{self.who} may not {'read' if is_reading else 'write'} {self.url} ({said}); let its owner run: {advice}"
        )
        return PermissionDeniedError(what) if is_reading else StoreReadOnlyError(what)

    def _of_text(self, text: str) -> ModelDBError:
        for pattern, translate in _BY_TEXT:
            if found := pattern.search(text):
                return translate(self, found)
        return StoreUnavailableError(f"no connection to the PostgreSQL server at {self.server}: {_first_line(text)}")

    @property
    def host(self) -> str:
        """The first host."""
        return self.server.partition(",")[0].rpartition(":")[0].strip("[]")

    @property
    def port(self) -> str:
        """Its port."""
        return self.server.partition(",")[0].rpartition(":")[2]

    @property
    def who(self) -> str:
        """The user, as a sentence names one."""
        return f"user {self.user!r}" if self.user else "the user"

    @property
    def grantee(self) -> str:
        """The user, as SQL names one."""
        return '"' + (self.user or "the user").replace('"', '""') + '"'


def _said(error: BaseException) -> str:
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    return str(primary) if primary else _first_line(str(error))


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return _LEVEL.sub("", lines[0]) if lines else "it gave no reason"


_BY_CODE: dict[str, Callable[[Translator, str], ModelDBError]] = {
    "55P03": lambda at, _: StoreUnavailableError(
        f"{at.url} was locked by another writer for more than {at.timeout_s:g} s; look for a process that holds it, "
        f"or raise timeout_s"
    ),
    _CANCELED: lambda at, _: StoreUnavailableError(
        f"{at.url} took longer than {at.timeout_s:g} s for one statement; raise timeout_s, or see what keeps the server"
    ),
    "42P01": lambda at, said: lacks(at.url, said),
    "42703": lambda at, said: lacks(at.url, said),
    "25006": lambda at, _: StoreReadOnlyError(
        f"{at.url} may only be read: the server is a standby or read-only; give the URL of the primary"
    ),
    "53100": lambda at, _: StoreUnavailableError(
        f"the disk of the PostgreSQL server at {at.server} is full; free space there, and send again"
    ),
    "54000": lambda at, said: InvalidArgumentError(
        f"{at.url} cannot hold an identifier that long ({said}); one may have some 2,600 bytes"
    ),
    "22021": lambda at, said: InvalidArgumentError(
        f"{at.url} cannot hold such an identifier or name of a user: {said}; leave the character out"
    ),
    "XX001": lambda at, said: IntegrityError(f"{at.url} is damaged: {said}; restore a backup"),
    "XX002": lambda at, said: IntegrityError(f"an index of {at.url} is damaged: {said}; run: REINDEX DATABASE"),
}
_BY_CLASS: dict[str, Callable[[Translator, str], ModelDBError]] = {
    "40": lambda at, _: StoreUnavailableError(
        f"{at.url} was busy: other transactions stood in the way for {at.timeout_s:g} s; try again"
    ),
    "53": lambda at, said: StoreUnavailableError(
        f"the PostgreSQL server at {at.server} has run out of something ({said}); try again later, or raise its limits"
    ),
    "57": lambda at, said: StoreUnavailableError(
        f"the PostgreSQL server at {at.server} ended the connection ({said}); try again"
    ),
    "58": lambda at, said: StoreUnavailableError(f"the PostgreSQL server at {at.server} has a fault: {said}"),
}


def _wrong_password(at: Translator, found: re.Match[str]) -> ModelDBError:
    user = found.groupdict().get("user") or at.user
    return ConfigurationError(
        f"the PostgreSQL server at {at.server} did not accept the password of user {user!r}, if there is "
        f"such a user; correct them in the URL, PGPASSWORD or ~/.pgpass"
    )


_BY_TEXT: tuple[tuple[re.Pattern[str], Callable[[Translator, re.Match[str]], ModelDBError]], ...] = (
    (
        re.compile(r"statement pooling mode"),
        lambda at, _: ConfigurationError(
            f"{at.url} is reached through PgBouncer in statement mode, which allows no transactions; set "
            f"pool_mode = transaction or session there"
        ),
    ),
    (re.compile(r'(?:password|SCRAM|PAM|LDAP) authentication failed for user "(?P<user>[^"]*)"'), _wrong_password),
    (
        re.compile(r"no password supplied"),
        lambda at, _: ConfigurationError(
            f"the PostgreSQL server at {at.server} wants a password of {at.who}; "
            f"set PGPASSWORD together with MODELDB_URL, or write a line for this host into ~/.pgpass, or the password into the "
            f"URL (a server that only a project's modeldb.toml names gets no other)"
        ),
    ),
    (
        re.compile(r'role "(?P<role>[^"]*)" does not exist'),
        lambda at, found: ConfigurationError(
            f"the PostgreSQL server at {at.server} knows no user {found['role']!r}; "
            f"name another one in the URL, or make it: createuser {found['role']}"
        ),
    ),
    (
        re.compile(r'database "(?P<name>[^"]*)" does not exist'),
        lambda at, found: ConfigurationError(
            f"the PostgreSQL server at {at.server} has no database {found['name']!r}; make it: "
            f"createdb -h {at.host} -p {at.port}{at.user and f' -U {at.user}'} -E UTF8 {found['name']}"
        ),
    ),
    (
        re.compile(r"no pg_hba.conf entry|pg_hba.conf rejects"),
        lambda at, _: ConfigurationError(
            f"the PostgreSQL server at {at.server} lets {at.who} into database {at.database!r} from nowhere here, or "
            f"only with encryption; add ?sslmode=require to the URL, or a line to the server's pg_hba.conf"
        ),
    ),
    (
        re.compile(r"permission denied for database|not permitted to log in"),
        lambda at, _: PermissionDeniedError(
            f"{at.who} may not connect to database {at.database!r} at {at.server}; let an owner run: "
            f'GRANT CONNECT ON DATABASE "{at.database}" TO {at.grantee}'
        ),
    ),
    (
        re.compile(r"server does not support SSL"),
        lambda at, _: ConfigurationError(
            f"the PostgreSQL server at {at.server} does not speak TLS, which sslmode asks for; "
            f"switch it on there (ssl = on), or leave sslmode out"
        ),
    ),
    (
        re.compile(r"root certificate file|certificate verify failed|server certificate|SSL error: cert"),
        lambda at, _: ConfigurationError(
            f"the certificate of the PostgreSQL server at {at.server} could not be verified; "
            f"name the file with that of its authority by sslrootcert, or use sslmode=require to trust it unseen"
        ),
    ),
    (
        re.compile(r"too many clients|connection slots|too many connections"),
        lambda at, _: StoreUnavailableError(
            f"the PostgreSQL server at {at.server} has too many connections; "
            f"raise max_connections there, lower pool_size, or put PgBouncer before it"
        ),
    ),
    (
        re.compile(r"the database system is (?P<state>[a-z ]+)"),
        lambda at, found: StoreUnavailableError(
            f"the PostgreSQL server at {at.server} is {found['state'].strip()}; try again in a while"
        ),
    ),
    (
        re.compile(r"could not translate host name|Name or service not known|nodename nor servname"),
        lambda at, _: StoreUnavailableError(
            f"the host of {at.url} is not known here; check its name in the URL, and the network"
        ),
    ),
    (
        re.compile(r"Connection refused|No such file or directory"),
        lambda at, _: StoreUnavailableError(
            f"no PostgreSQL server listens at {at.server}; start it, or check host and port in the URL"
        ),
    ),
    (
        re.compile(r"No route to host|Network is unreachable|timed out|timeout expired"),
        lambda at, _: StoreUnavailableError(
            f"the host {at.server} cannot be reached; check the network, a firewall between, and the URL"
        ),
    ),
    (
        re.compile(
            r"(?P<what>invalid \S+ value.*|invalid integer value.*|definition of service .*|unsupported startup .*|unrecognized configuration .*"
            r"|could not match \d+ .*|channel binding required.*|authentication method requirement .*|requirepeer specifies .*)"
        ),
        lambda at, found: ConfigurationError(
            f"a parameter of {at.url} cannot be used: {_first_line(found['what'])}; correct it in the URL"
        ),
    ),
    (
        re.compile(r"session is read-only|server is in hot standby|server is not in hot standby"),
        lambda at, _: StoreUnavailableError(
            f"none of the servers at {at.server} is one that target_session_attrs asks for; "
            f"wait until there is, or ask for another"
        ),
    ),
    (
        re.compile(r"closed the connection|connection .*closed|not open|SSL SYSCALL|reset by peer|Broken pipe|losed"),
        lambda at, _: StoreUnavailableError(
            f"the connection to the PostgreSQL server at {at.server} was lost; see whether it is well, and try again"
        ),
    ),
)
