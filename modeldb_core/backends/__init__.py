"""The storage backends that come with ModelDB, registered like anyone else's."""

from __future__ import annotations

from modeldb_core.hookspecs import hookimpl
from modeldb_core.stores import Backend

_OBJECT_STORES = (
    ("file", "", "nothing but a folder, such as file:///data/modeldb"),
    *((scheme, "s3", f"nothing but a bucket, such as {scheme}://bucket/prefix") for scheme in ("s3", "s3a")),
    *((scheme, "gcsfs", f"nothing but a bucket, such as {scheme}://bucket/prefix") for scheme in ("gs", "gcs")),
    *(
        (scheme, "adlfs", f"nothing but a container, such as {scheme}://container/prefix")
        for scheme in ("az", "abfs", "abfss")
    ),
)

_WAITING = frozenset({"timeout_s", "connect_timeout_s", "read_timeout_s", "retry_s", "busy_timeout_s", "max_attempts"})
_OF_SQL = _WAITING | {"durability", "read_only", "schema", "pool_size", "target_session_attrs"}
_OF_OBJECTS = _WAITING | {"max_staleness_s", "allow_stale", "compact", "durability", "region", "addressing_style"}
_OF_BLOBS = _OF_OBJECTS | {"part_mib", "parallel", "memory_mib"}


@hookimpl
def modeldb_register_backends() -> list[Backend]:
    """Describe the built-in backends; nothing of them is imported before one is opened."""
    return [
        Backend(
            "sqlite",
            "metadata",
            "modeldb_core.backends.sqlite:SQLiteStore",
            description="one SQLite file, such as sqlite:///modeldb.db (the default)",
            harmless=_OF_SQL,
        ),
        *(
            Backend(
                scheme,
                "metadata",
                "modeldb_core.backends.postgres:PostgresStore",
                extra="postgres",
                description="a PostgreSQL database, such as postgresql://user@host/modeldb",
                table="postgresql",
                harmless=_OF_SQL,
            )
            for scheme in ("postgresql", "postgres")
        ),
        Backend(
            "memory",
            "metadata",
            "modeldb_core.backends.memory:MemoryStore",
            description="in this process only, gone with it: for tests",
        ),
        *(
            Backend(
                scheme,
                "metadata",
                "modeldb_core.backends.objects:ObjectMetadataStore",
                extra,
                description,
                harmless=_OF_BLOBS,
            )
            for scheme, extra, description in _OBJECT_STORES
        ),
        Backend(
            "bundle",
            "metadata",
            "modeldb_core.backends.bundle:BundleStore",
            description="one file that `modeldb export` wrote, such as bundle:///data/runs.bundle: only to be read",
        ),
        Backend(
            "bundle",
            "artifacts",
            "modeldb_core.backends.bundle:BundleArtifactStore",
            description="the files in such a bundle",
        ),
        Backend(
            "file",
            "artifacts",
            "modeldb_core.backends.blobs:FsspecArtifactStore",
            description="a folder, such as file:///data/modeldb-artifacts (the default)",
            harmless=_OF_BLOBS,
        ),
        Backend(
            "memory",
            "artifacts",
            "modeldb_core.backends.blobs:FsspecArtifactStore",
            description="in this process only, gone with it: for tests",
        ),
        *(
            Backend(
                scheme,
                "artifacts",
                "modeldb_core.backends.blobs.s3:S3ArtifactStore",
                extra="s3",
                description=f"a bucket of S3, such as {scheme}://bucket/prefix",
                harmless=_OF_BLOBS,
            )
            for scheme in ("s3", "s3a")
        ),
        *(
            Backend(
                scheme,
                "artifacts",
                "modeldb_core.backends.blobs:FsspecArtifactStore",
                description=f"{name}, such as {scheme}://bucket/prefix",
                harmless=_OF_BLOBS,
            )
            for scheme, name in (
                ("gs", "Google Cloud Storage (install gcsfs)"),
                ("gcs", "Google Cloud Storage (install gcsfs)"),
                ("az", "Azure (install adlfs)"),
                ("abfs", "Azure (install adlfs)"),
                ("abfss", "Azure (install adlfs)"),
            )
        ),
        *(
            backend
            for scheme, example in (("https", "models.example.org"), ("http", "127.0.0.1:5000"))
            for backend in (
                Backend(
                    scheme,
                    "metadata",
                    "modeldb_core.backends.remote.metadata:RemoteMetadataStore",
                    description=f"a server of ModelDB, such as {scheme}://{example}",
                    harmless=_WAITING,
                ),
                Backend(
                    scheme,
                    "artifacts",
                    "modeldb_core.backends.remote.artifacts:RemoteArtifactStore",
                    description=f"a server of ModelDB, such as {scheme}://{example}",
                    harmless=_WAITING,
                ),
            )
        ),
    ]
