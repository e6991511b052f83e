"""The storage backends that come with ModelDB, registered like anyone else's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.backends._libpq import Database
from modeldb_core.hookspecs import hookimpl
from modeldb_core.stores import Address, Backend, Files, Process, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

_WAITING = frozenset({"timeout_s", "connect_timeout_s", "read_timeout_s", "retry_s", "busy_timeout_s", "max_attempts"})
_OF_SQL = _WAITING | {"durability", "read_only", "schema", "pool_size", "target_session_attrs"}
_OF_OBJECTS = _WAITING | {"max_staleness_s", "allow_stale", "compact", "durability", "region", "addressing_style"}
_OF_BLOBS = _OF_OBJECTS | {"part_mib", "parallel", "memory_mib"}


_SQLITE = "modeldb_core.backends.sqlite:SQLiteStore"
_POSTGRES = "modeldb_core.backends.postgres:PostgresStore"
_MEMORY = "modeldb_core.backends.memory:MemoryStore"
_OBJECTS = "modeldb_core.backends.objects:ObjectMetadataStore"
_BLOBS = "modeldb_core.backends.blobs:FsspecArtifactStore"
_S3_BLOBS = "modeldb_core.backends.blobs.s3:S3ArtifactStore"
_BUNDLE = "modeldb_core.movement.bundle_store:BundleStore"
_BUNDLE_BLOBS = "modeldb_core.movement.bundle_store:BundleArtifactStore"
_REMOTE = "modeldb_core.backends.remote.metadata:RemoteMetadataStore"
_REMOTE_BLOBS = "modeldb_core.backends.remote.artifacts:RemoteArtifactStore"

_S3 = ("s3", "s3a")
_GOOGLE = ("gs", "gcs")
_AZURE = ("az", "abfs", "abfss")
_SERVERS = {"https": ("https://models.example.org", Server(443)), "http": ("http://127.0.0.1:5000", Server(80))}
_FILE = Files("sqlite:///", companions=("-wal", "-shm", "-journal"))
_DATABASE = Database(5432, {"schema": "public"})
_BUCKET = Address(options={"endpoint_url": ""})
_FOLDER = Files("file://", is_quoted=False, may_be_remote=True)
_BUNDLE_FILE = Files("bundle://", may_be_remote=True)


@hookimpl
def modeldb_register_backends() -> list[Backend]:
    """Describe the built-in backends; nothing of them is imported before one is opened."""
    return [*_metadata(), *_artifacts()]


def _metadata() -> Iterator[Backend]:
    about = "one SQLite file, such as sqlite:///modeldb.db (the default)"
    yield Backend("sqlite", "metadata", _SQLITE, description=about, harmless=_OF_SQL, place=_FILE)
    about = "a PostgreSQL database, such as postgresql://user@host/modeldb"
    for scheme in ("postgresql", "postgres"):
        yield Backend(scheme, "metadata", _POSTGRES, "postgres", about, "postgresql", _OF_SQL, _DATABASE)
    about = "in this process only, gone with it: for tests"
    yield Backend("memory", "metadata", _MEMORY, description=about, place=Process())
    about = "nothing but a folder, such as file:///data/modeldb"
    yield Backend("file", "metadata", _OBJECTS, description=about, harmless=_OF_BLOBS, place=_FOLDER)
    for schemes, extra, what, place in (
        (_S3, "s3", "bucket", _BUCKET),
        (_GOOGLE, "gcsfs", "bucket", Address()),
        (_AZURE, "adlfs", "container", Address()),
    ):
        for scheme in schemes:
            about = f"nothing but a {what}, such as {scheme}://{what}/prefix"
            yield Backend(scheme, "metadata", _OBJECTS, extra, about, harmless=_OF_BLOBS, place=place)
    about = "one file that `modeldb export` wrote, such as bundle:///data/runs.bundle: only to be read"
    yield Backend("bundle", "metadata", _BUNDLE, description=about, place=_BUNDLE_FILE)
    for scheme, (example, place) in _SERVERS.items():
        about = f"a server of ModelDB, such as {example}"
        yield Backend(scheme, "metadata", _REMOTE, description=about, harmless=_WAITING, place=place)


def _artifacts() -> Iterator[Backend]:
    about = "the files in such a bundle"
    yield Backend("bundle", "artifacts", _BUNDLE_BLOBS, description=about, place=_BUNDLE_FILE)
    about = "a folder, such as file:///data/modeldb-artifacts (the default)"
    yield Backend("file", "artifacts", _BLOBS, description=about, harmless=_OF_BLOBS, place=_FOLDER)
    about = "in this process only, gone with it: for tests"
    yield Backend("memory", "artifacts", _BLOBS, description=about, place=Process())
    for scheme in _S3:
        about = f"a bucket of S3, such as {scheme}://bucket/prefix"
        yield Backend(scheme, "artifacts", _S3_BLOBS, "s3", about, harmless=_OF_BLOBS)
    for schemes, name in ((_GOOGLE, "Google Cloud Storage (install gcsfs)"), (_AZURE, "Azure (install adlfs)")):
        for scheme in schemes:
            about = f"{name}, such as {scheme}://bucket/prefix"
            yield Backend(scheme, "artifacts", _BLOBS, description=about, harmless=_OF_BLOBS)
    for scheme, (example, place) in _SERVERS.items():
        about = f"a server of ModelDB, such as {example}"
        yield Backend(scheme, "artifacts", _REMOTE_BLOBS, description=about, harmless=_WAITING, place=place)
