"""Artifacts of runs: their list, their bytes, and previews."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flask import Response, request

from modeldb_core.log.json_documents import json_value
from modeldb_core.model.entities import Run
from modeldb_server.access import note_read
from modeldb_server.blobs import (
    SAFE_TYPES,
    SANDBOX_POLICY,
    Artifact,
    BlobBody,
    disposition,
    find_artifact,
    requested_range,
)
from modeldb_server.handlers.entities import check_id
from modeldb_server.previews import preview
from modeldb_server.responses import json_response

if TYPE_CHECKING:
    from modeldb_core.model.entities import ModelVersion
    from modeldb_server.context import ServerContext

PREVIEW_BYTES = 64 * 1024
MAX_PREVIEW_BYTES = 1024 * 1024
MAX_LIST = 1000


def list_artifacts(context: ServerContext, *, run_id: str, prefix: str, limit: int, after: str) -> Response:
    """Return the paths of a run's artifacts with what is known of each, in alphabetical order."""
    artifacts = _run(context, run_id).artifacts
    paths = sorted(path for path in artifacts if path.startswith(prefix) and path > after)
    items = [{**_described(artifacts[path]), "path": path} for path in paths[:limit]]
    cursor = paths[limit - 1] if len(paths) > limit else None
    return json_response({"items": items, "cursor": cursor, "total": len(artifacts)})


def _described(entry: object) -> dict[str, Any]:
    """Return what a run's document says of an artifact; its author may have written anything."""
    return json_value(dict(entry)) if isinstance(entry, Mapping) else {}


def read_artifact(context: ServerContext, *, run_id: str, path: str, download: bool) -> Response:
    """Return the bytes of an artifact, or the part of them that the request asks for."""
    return send_artifact(context, _run(context, run_id), path, download=download)


def send_artifact(context: ServerContext, entity: Run | ModelVersion, path: str, *, download: bool) -> Response:
    """Return the bytes of a file that an entity has among its artifacts, or the part that the request asks for."""
    return send_file(context, find_artifact(entity, path, context.artifacts), download=download)


def send_file(context: ServerContext, artifact: Artifact, *, download: bool) -> Response:
    """Return the bytes of a file, or the part of them that the request asks for."""
    if request.if_none_match.contains(artifact.digest):
        return _with_headers(Response(status=304), artifact, download)
    note_read(artifact.digest, artifact.owner, path=artifact.path)
    start, stop = requested_range(artifact.digest, artifact.size_bytes)
    stream = context.artifacts.open(artifact.digest)
    try:
        body = BlobBody(stream, start, stop, artifact.size_bytes)
        response = Response(body if request.method == "HEAD" else body.prepare(), direct_passthrough=True)
    except BaseException:
        stream.close()
        raise
    response.content_length = stop - start
    response.headers["Accept-Ranges"] = "bytes"
    if (start, stop) != (0, artifact.size_bytes):
        response.status_code = 206
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{artifact.size_bytes}"
    return _with_headers(response, artifact, download)


def preview_artifact(context: ServerContext, *, run_id: str, path: str, max_bytes: int, max_rows: int) -> Response:
    """Return the beginning of a text or table as JSON."""
    artifact = find_artifact(_run(context, run_id), path, context.artifacts)
    with context.artifacts.open(artifact.digest) as stream:
        head = b"" if artifact.is_image else stream.read(max_bytes)
        while len(head) < min(max_bytes, artifact.size_bytes) and (piece := stream.read(max_bytes - len(head))):
            head += piece
        if head and len(head) == artifact.size_bytes:
            stream.read(1)  # the end, where the stream compares digests
    note_read(artifact.digest, artifact.owner, path=artifact.path, size_bytes=len(head))
    return json_response(preview(artifact, head, max_rows=max_rows))


def _run(context: ServerContext, run_id: str) -> Run:
    check_id("run", run_id)
    run = context.store.get("run", run_id)
    assert isinstance(run, Run)
    return run


def _with_headers(response: Response, artifact: Artifact, download: bool) -> Response:
    response.headers["Content-Type"] = SAFE_TYPES.get(artifact.media_type, artifact.media_type)
    response.headers["Content-Disposition"] = disposition(artifact, attachment=download)
    response.headers["Content-Security-Policy"] = SANDBOX_POLICY
    response.headers["Cache-Control"] = "private, no-cache, no-transform"
    response.set_etag(artifact.digest)
    return response
