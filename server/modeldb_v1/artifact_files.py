"""The bytes of artifacts: where clients put and get what they have logged.

A client is given a URL whose ``artifact_path`` names an entity and a key of it, never a place in a store. Whoever uses it
needs the rights on that entity: the URL alone opens nothing.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import quote

from flask import request

from modeldb_core.commands import edits
from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.stores import can_seek
from modeldb_server.blobs import find_file
from modeldb_server.context import server_context
from modeldb_server.handlers.artifacts import send_file
from modeldb_server.responses import json_response
from modeldb_server.routes import Form, Policy
from modeldb_v1.kinds import V1_KINDS, found

if TYPE_CHECKING:
    from flask import Blueprint, Response

    from modeldb_core.model.entities import Entity

STORE, GET = "storeArtifact", "getArtifact"
ARTIFACTS, CODE, ARCHIVE = "artifacts", "code", "archive"
_SECTIONS = (ARTIFACTS, CODE)
_ROOTS = ("/api/v1/artifact", "/v1/artifact")


def url_of(kind: str, entity_id: str, section: str, key: str, method: str) -> str:
    """Return the URL to which a file is put (``PUT``), or from which it is got (``GET``)."""
    stated = request.headers.get("Grpc-Metadata-scheme", "").lower()
    scheme = stated if stated in ("http", "https") else request.scheme
    path = quote(f"{kind}/{entity_id}/{section}/{key}", safe="")
    action = STORE if method == "PUT" else GET
    return f"{scheme}://{request.host}{request.script_root}{_ROOTS[0]}/{action}?artifact_path={path}"


def add_artifact_routes(blueprint: Blueprint) -> None:
    """Add the routes of files, under the original's paths and those without its prefix."""
    for view, action, method in ((store_artifact, STORE, "PUT"), (get_artifact, GET, "GET")):
        for root in _ROOTS:
            blueprint.add_url_rule(f"{root}/{action}", action, view, methods=[method])


def store_artifact() -> Response:
    """Store the body as the file that ``artifact_path`` names."""
    context = server_context()
    entity, section, key, entry = _named()
    raw: BinaryIO = request.environ[
        "wsgi.input"
    ]  # whole already, in memory or in a file, where the server received it as such
    info = context.artifacts.put(raw if can_seek(raw) else cast("BinaryIO", request.stream))
    stored = {**entry, "digest": info.digest, "size_bytes": info.size_bytes}
    stored.setdefault("media_type", mimetypes.guess_type(_file_name(key, entry))[0] or "application/octet-stream")
    context.execute(edits.put_values(entity.KIND, entity.entity_id, section, {key: stored}))
    return json_response({})


def get_artifact() -> Response:
    """Return the file that ``artifact_path`` names."""
    context = server_context()
    entity, _, key, entry = _named()
    if "digest" not in entry:
        msg = f"the file of {key[:200]!r} was not uploaded yet"
        raise NotFoundError(msg)
    return send_file(context, find_file(_file_name(key, entry), entry, context.artifacts, entity), download=True)


for _view, _policy in ((store_artifact, Policy.WRITE), (get_artifact, Policy.READ)):
    _view.modeldb_policy = _policy  # type: ignore[attr-defined]
    _view.modeldb_form = Form(body_type="", is_upload=True, needs_header=False)  # type: ignore[attr-defined]


def _named() -> tuple[Entity, str, str, Mapping[str, Any]]:
    """Return what ``artifact_path`` names: entity, section, key and what is recorded there."""
    path = request.args.get("artifact_path", "")
    kind, entity_id, section, key = (*path.split("/", 3), "", "", "", "")[:4]
    if kind not in V1_KINDS or section not in _SECTIONS or not entity_id or not key:
        msg = f"artifact_path is {path[:80]!r}; expected what getUrlForArtifact answered"
        raise InvalidArgumentError(msg)
    entity = found(server_context(), kind, entity_id)
    entry = entity.document.get(section, {}).get(key)
    if not isinstance(entry, Mapping):
        msg = f"Artifact not found: {key[:200]}"
        raise NotFoundError(msg)
    return entity, section, key, entry


def _file_name(key: str, entry: Mapping[str, Any]) -> str:
    extension = entry.get("filename_extension")
    return f"{key}.{extension}" if isinstance(extension, str) and extension and "." not in key else key
