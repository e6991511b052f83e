"""A real PgBouncer before the PostgreSQL server of the tests, where it is installed (Debian: the package pgbouncer)."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services.postgres import PASSWORD
from tests.services.processes import Process, free_port

if TYPE_CHECKING:
    from tests.services.postgres import Postgres

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class PgBouncer:
    """PgBouncer with a single connection to the server for each database, so that clients meet in it at once."""

    def __init__(self, server: Postgres, mode: str) -> None:
        assert PROGRAM is not None
        self.folder = Path(tempfile.mkdtemp(prefix="modeldb-pgbouncer-"))
        self.port = free_port()
        users = self.folder / "users"
        users.write_text(f'"postgres" "{PASSWORD}"\n')
        settings = self.folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port} user=postgres password='{PASSWORD}'\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {users}\npool_mode = {mode}\ndefault_pool_size = 1\n"
        )
        for path in (self.folder, users, settings):
            path.chmod(0o755)
        if server.user is not None:
            shutil.chown(self.folder, server.user)
        log = self.folder / "log"
        self._process = Process(
            [PROGRAM, str(settings)], log, lambda: "process up" in log.read_text(), user=server.user
        )

    def url(self, of_server: str) -> str:
        """Return the URL by which a database of the server is reached through here."""
        return f"{of_server.rpartition(':')[0]}:{self.port}/{of_server.rpartition('/')[2]}"

    def stop(self) -> None:
        """End it and remove its files."""
        self._process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
