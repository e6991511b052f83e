"""Content that comes piece by piece, for an artifact store that takes it so: no byte of it is written twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from modeldb_core.errors import IntegrityError, NotFoundError
from modeldb_core.stores import BlobInfo, protocol
from modeldb_server.bodies import whole
from modeldb_server.errors import refuse
from modeldb_server.responses import json_response

if TYPE_CHECKING:
    from flask import Response

    from modeldb_core.stores import Uploads
    from modeldb_server.context import ServerContext


def describe_upload(context: ServerContext, *, upload: str) -> Response:
    """Return how many bytes of an upload have arrived."""
    return json_response({"received_bytes": _uploads(context).received(upload)})


def append_upload(context: ServerContext, *, upload: str, offset: int, content: BinaryIO) -> Response:
    """Add what the body holds, where just ``offset`` bytes have arrived."""
    return json_response({"received_bytes": _uploads(context).append(upload, offset, whole(content))})


def finish_upload(context: ServerContext, *, upload: str, digest: str, size_bytes: int) -> Response:
    """Make a blob of what has arrived."""
    try:
        info = _uploads(context).finish(upload, BlobInfo(digest, size_bytes))
    except IntegrityError as error:
        return refuse(error)
    return json_response(protocol.dump_blob(info))


def discard_upload(context: ServerContext, *, upload: str) -> Response:
    """Remove what has arrived of an upload."""
    _uploads(context).discard(upload)
    return json_response({"done": True})


def _uploads(context: ServerContext) -> Uploads:
    uploads = context.artifacts.uploads
    if uploads is None:
        msg = f"the artifact store {context.artifacts.url} takes no uploads; put the parts as blobs, and join them"
        raise NotFoundError(msg)
    return uploads
