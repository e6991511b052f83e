"""A server of ModelDB: as a process that can be killed and started again, and as a thread of the test."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.plugins import PluginManager, open_store
from modeldb_server import Server, ServerSettings, create_app
from tests.services.processes import Process, Service, answers, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.stores import ArtifactStore, MetadataStore

TOKEN = "a-token-of-the-tests"
READ_TOKEN = "a-token-that-only-reads"


class ModelDBServer(Service):
    """``modeldb server`` on a store, by default SQLite in a folder of its own, with ``TOKEN`` unless it is open.

    Args:
        store_url: of the store that it serves.
        artifact_url: likewise.
        with_token: whether it asks for a token; with it what any actor recorded may be brought in.
        environment: further settings, as variables.
    """

    def __init__(
        self,
        store_url: str = "",
        artifact_url: str = "",
        *,
        with_token: bool = True,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="modeldb-server-"))
        self.port = free_port()
        self.token = TOKEN if with_token else ""
        self.store_url = store_url or f"sqlite:///{self.folder}/modeldb.db"
        self.artifact_url = artifact_url or f"file://{self.folder}/artifacts"
        self._environment = {"MODELDB_SERVER_ERASE_TOKENS": self.token, **(environment or {})}
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """Where it is, without the token."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it printed."""
        return (self.folder / "log").read_text("utf-8", errors="replace")

    def start(self) -> None:
        """Start it, again on the same port, and wait until it takes connections."""
        command = [sys.executable, "-m", "modeldb_core.cli", "server", "--port", str(self.port)]
        command += ["--url", self.store_url, "--artifact-url", self.artifact_url]
        # The variables of the process itself: a Process inherits them.
        kept = {name: os.environ.get(name) for name in self._environment}
        os.environ.update({name: value for name, value in self._environment.items() if value})
        try:
            self._process = Process(command, self.folder / "log", lambda: answers(self.port))
        finally:
            for name, value in kept.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value

    def terminate(self) -> int:
        """Ask it to end, and wait until it has; returns its exit code."""
        assert self._process is not None
        self._process.signal(signal.SIGTERM)
        code = self._process.wait()
        self._process = None
        return code


@contextmanager
def serving(store: MetadataStore, artifacts: ArtifactStore, settings: ServerSettings | None = None) -> Iterator[str]:
    """Serve stores from a thread; gives the URL."""
    app = create_app(store, artifacts, settings or ServerSettings(port=0), plugins=PluginManager())
    server = Server(app)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.stop()
        thread.join(30)


@contextmanager
def serving_folder(folder: Path, settings: ServerSettings | None = None) -> Iterator[str]:
    """Serve a SQLite store and blobs in a folder from a thread; gives the URL."""
    artifacts = FsspecArtifactStore(f"file://{folder}/blobs")
    with open_store(f"sqlite:///{folder}/modeldb.db") as store, serving(store, artifacts, settings) as url:
        yield url
