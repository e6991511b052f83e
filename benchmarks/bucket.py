"""Artifacts in a bucket of a real S3 server on this machine: one large file, many small ones, and both read back."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.files import make_files
from benchmarks.results import Budget, Result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.bench import Bench

_CHUNK = 1 << 20


def bucket(bench: Bench) -> Iterator[Result]:
    """Log files until the bucket has them, and read them, against boto3 and SHA-256."""
    from tests.services.s3 import SeaweedFS  # the server that the tests start

    sizes = bench.sizes
    sets = {
        f"one file of {sizes.big_file_bytes >> 20:,} MiB": (1, sizes.big_file_bytes),
        f"{sizes.small_files:,} files of {sizes.small_file_bytes >> 10:,} KiB": (
            sizes.small_files,
            sizes.small_file_bytes,
        ),
    }
    for label, (count, size) in sets.items():
        server = SeaweedFS()  # one for each set: its volumes are full after some gigabytes
        try:
            with bench.folder("files") as folder, _environment(server.environment):
                yield from _measured(bench, _Place(server), folder / "source", label, count, size)
        finally:
            server.stop()


class _Place:
    """A bucket, ours and theirs."""

    def __init__(self, server: Any) -> None:  # noqa: ANN401 - of the tests
        self.name = server.new_bucket()
        self.boto3, self.what = _plain_client()

    def put(self, path: Path) -> str:
        """Put a file as a program without ModelDB would; return its key."""
        key = uuid.uuid4().hex
        self.boto3.upload_file(str(path), self.name, key)
        return key

    def get(self, key: str, path: Path) -> None:
        """Fetch an object likewise."""
        self.boto3.download_file(self.name, key, str(path))


def _measured(bench: Bench, place: _Place, source: Path, label: str, count: int, size: int) -> Iterator[Result]:
    make_files(source, count, size)
    paths, total = sorted(source.iterdir()), count * size
    keys: list[str] = []

    def plain_put() -> float:
        start = time.perf_counter()
        for path in paths:
            _digest(path)
            keys.append(place.put(path))
        return total / 1e6 / (time.perf_counter() - start)

    def logged() -> float:
        with _client(bench, place) as client, client.start_run(capture=False) as run:
            client.flush()
            assert client.artifacts.url  # opened: what importing botocore takes is no matter of files
            start = time.perf_counter()
            run.log_artifact(source if count > 1 else paths[0])
            returned = time.perf_counter()
            assert client.flush(600)
            took = time.perf_counter() - start
            waits.append(returned - start)
            names.append((run.run_id, client.artifacts.url))
        return total / 1e6 / took

    waits: list[float] = []
    names: list[tuple[str, str]] = []
    limits, ours = bench.take_turns(plain_put, logged)
    yield Result(
        benchmark="bucket",
        work=f"log_artifact into S3, {label}",
        unit="MB/s",
        ours=ours,
        limit=limits,
        limit_is=f"SHA-256, then {place.what}, one file after the other",
        budget=Budget(0.8, "ratio", at_least=True),
        note=f"log_artifact itself returned after {sorted(waits)[len(waits) // 2]:.2f} s",
    )

    def plain_get() -> float:
        with bench.folder("got") as folder:
            start = time.perf_counter()
            for key in keys[:count]:
                place.get(key, folder / key)
                _digest(folder / key)
            return total / 1e6 / (time.perf_counter() - start)

    def read() -> float:
        from modeldb_core.backends.blobs.s3 import S3ArtifactStore

        with bench.folder("got") as folder:
            store = S3ArtifactStore(names[0][1])
            digests = [info.digest for info in store.list()]
            start = time.perf_counter()
            for digest in digests:
                with store.open(digest) as stream, (folder / digest).open("wb") as file:
                    while chunk := stream.read(_CHUNK):
                        file.write(chunk)
            took = time.perf_counter() - start
            store.close()
            return total / 1e6 / took

    limits, ours = bench.take_turns(plain_get, read)
    yield Result(
        benchmark="bucket",
        work=f"read from S3, {label}",
        unit="MB/s",
        ours=ours,
        limit=limits,
        limit_is=f"{place.what.replace('upload', 'download').replace('put', 'get')}, then SHA-256",
        budget=Budget(0.8, "ratio", at_least=True),
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _client(bench: Bench, place: _Place) -> Iterator[Any]:
    import modeldb_core as modeldb

    with (
        bench.folder("logged") as folder,
        modeldb.connect(
            f"sqlite:///{folder}/modeldb.db",
            artifact_url=f"s3://{place.name}/{uuid.uuid4().hex}",
            journal_dir=str(folder / "journals"),
        ) as client,
    ):
        yield client


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _plain_client() -> tuple[Any, str]:
    """Return boto3's client, or where it is not installed a stand-in of s3fs, and what it is called."""
    try:
        import boto3
    except ImportError:
        import s3fs

        return _S3fs(s3fs.S3FileSystem(skip_instance_cache=True)), "s3fs put_file"
    return boto3.client("s3"), "boto3 upload_file"


class _S3fs:
    def __init__(self, fs: Any) -> None:  # noqa: ANN401 - s3fs has no types
        self._fs = fs

    def upload_file(self, path: str, name: str, key: str) -> None:
        """Put a file."""
        self._fs.put_file(path, f"{name}/{key}")

    def download_file(self, name: str, key: str, path: str) -> None:
        """Fetch a file."""
        self._fs.get_file(f"{name}/{key}", path)
