"""The password for a server that only a project's file names: one that the user gave for that very server, or none.

libpq shows PGPASSWORD, and lines of ``~/.pgpass`` for any host, to whatever server it is sent to.
"""

from __future__ import annotations

import getpass
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg2 import extensions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NOWHERE = f"{os.devnull}/none"  # no file, and none that libpq warns of
_ANY = "*"
_PORT = "5432"
_MAX_BYTES = 1 << 20
_KNOWS_DELEGATION = 160_000
_FIELD = re.compile(r"((?:\\.|[^:\\])*)(?::|$)")


def restricted(named: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return what to connect with, such that no secret goes to a server that it was not given for.

    Args:
        named: the parameters of libpq in the address that a project's file names.
        own: those that the user's own files set.
    """
    hosts = (named.get("host") or named.get("hostaddr") or "").split(",")
    if not any(hosts):
        return {**own, **named}  # the address is the user's: their variables and files say where it is
    ports = (named.get("port") or os.environ.get("PGPORT") or _PORT).split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    places = list(zip(hosts, ports, strict=False))
    if places == [(own.get("host") or os.environ.get("PGHOST"), own.get("port") or os.environ.get("PGPORT") or _PORT)]:
        return {**own, **named}
    user = named.get("user") or own.get("user") or os.environ.get("PGUSER") or getpass.getuser()
    database = named.get("dbname") or os.environ.get("PGDATABASE") or user
    lines = list(_lines(own.get("passfile", "")))
    found = {_password(lines, host, port or _PORT, database, user) for host, port in places}
    kept = {name: value for name, value in own.items() if name not in ("password", "passfile", "service", "host")}
    secret = found.pop() if len(found) == 1 else ""  # several hosts get one that was given for each of them
    parameters = {**kept, "password": secret, **named, "passfile": _NOWHERE}
    if extensions.libpq_version() >= _KNOWS_DELEGATION:
        parameters["gssdelegation"] = "0"
    return parameters


def _lines(path: str) -> Iterator[list[str]]:
    """Iterate over the lines of the user's file of passwords: host, port, database, user, password."""
    default = Path(os.environ["APPDATA"], "postgresql", "pgpass.conf") if "APPDATA" in os.environ else Path("~/.pgpass")
    file = Path(path or os.environ.get("PGPASSFILE") or default).expanduser()
    try:
        state = file.stat()
        is_private = os.name == "nt" or not state.st_mode & (stat.S_IRWXG | stat.S_IRWXO)  # as libpq asks for
        if not stat.S_ISREG(state.st_mode) or not is_private or state.st_size > _MAX_BYTES:
            return
        text = file.read_text("utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        fields = [re.sub(r"\\(.)", r"\1", field) for field in _FIELD.findall(line)]
        if not line.startswith("#") and len(fields) >= 5:
            yield fields[:5]


def _password(lines: list[list[str]], host: str, port: str, database: str, user: str) -> str:
    """Return the password of the first line for a server; one for any host was not given for this one."""
    for of_host, *rest, password in lines:
        if of_host == host and all(
            has in (_ANY, asked) for has, asked in zip(rest, (port, database, user), strict=True)
        ):
            return password
    return ""
