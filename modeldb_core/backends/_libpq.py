"""Where a PostgreSQL database is, by what its URL and the environment say to libpq; the driver need not be there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

from modeldb_core.runtime.users import login_name
from modeldb_core.stores import Address
from modeldb_core.stores.places import split_url

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Database(Address):
    """A database, whose host and name a URL says before or after its question mark, or the environment in its place."""

    def owner_name(self, scheme: str, url: str, artifacts: Path | None, options: Mapping[str, object]) -> str:
        """Return hosts, database and schema; two spellings of one database may give two names, never two databases one."""
        del artifacts
        parts = split_url(scheme, url)
        given = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        written, _, hosts = parts.netloc.rpartition("@")

        def said(name: str, in_url: str = "", *, default: str = "") -> str:
            """Return a parameter as libpq finds it: settings, the URL, the environment."""
            variable = "PGDATABASE" if name == "dbname" else f"PG{name.upper()}"
            return str(options.get(name) or given.get(name) or in_url or os.environ.get(variable) or default)

        service = said("service")
        user = said("user", unquote(written.partition(":")[0]), default="" if service else login_name())
        database = said("dbname", unquote(parts.path.strip("/")), default="" if service else user)
        port = said("port", default=str(self.port))
        hosts = hosts if "%" in hosts else hosts.lower()  # a path of a socket may be quoted in it
        where = said("host", hosts, default=said("hostaddr"))
        places = ",".join(host if _has_port(host) else f"{host}:{port}" for host in where.split(","))
        schema = str(given.get("schema") or options.get("schema") or "")
        chosen = {"service": service, "schema": "" if schema == self.options["schema"] else schema}
        query = "&".join(f"{name}={value}" for name, value in chosen.items() if value)
        return f"{scheme}://{places}/{database}{f'?{query}' if query else ''}"


def _has_port(host: str) -> bool:
    return not host.startswith("/") and host.rpartition("]")[2].count(":") == 1
