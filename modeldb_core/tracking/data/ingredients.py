"""Paths and queries as what a commit of a repository holds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from modeldb_core.repositories.blobs import DATA, Blob
from modeldb_core.tracking.data.opening import reader_of
from modeldb_core.tracking.data.sources import PathData, QueryData

if TYPE_CHECKING:
    from modeldb_core.tracking.data.opening import DataClient


def describe_data(client: DataClient, value: object, before: str = "") -> object:
    """Return the blob for a path or a query, which is read now; anything else as it is.

    Args:
        client: whose store.
        value: what somebody puts at a location.
        before: the root of the tree of data that is there already: files that it has, and keeps, are not sent again.

    Raises:
        NotFoundError, PermissionDeniedError, InvalidArgumentError, FolderChangedError: it cannot be read as it is.
    """
    if not isinstance(value, (PathData, QueryData)):
        return value
    reader = reader_of(client, client.artifacts)
    try:
        if isinstance(value, PathData):
            found = reader.find(value)
            # Without times: a file that was touched is no change of a commit.
            plain = replace(found, parts=tuple(replace(part, observed={}) for part in found.parts))
            tree, _ = reader.store(plain, keep=value.keep, before=before)
            content = {
                "type": "s3" if found.url.startswith(("s3://", "s3a://")) else "path",
                "source": found.url,
                "digest": found.digest,
                "size_bytes": found.size_bytes,
                "file_count": len(found.parts),
                "is_kept": value.keep,
            }
            return Blob(DATA, content, tree.root)
        read = reader.read(value, "")
        asked = {
            "type": "query",
            "query": value.text,
            "source": value.source,
            "parameters": dict(value.parameters),
            "record_count": value.record_count,
            "digest": read.content.digest or None,
        }
        return Blob(DATA, asked, str(read.content.fields.get("tree", "")))
    finally:
        reader.cache.close()
