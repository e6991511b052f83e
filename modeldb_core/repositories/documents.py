"""What is said of a repository as JSON data: by the server, and by the command line with ``--json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.log.json_documents import json_value, time_text
from modeldb_core.model.values import to_json
from modeldb_core.repositories.parts import text_of

if TYPE_CHECKING:
    from modeldb_core.model.entities import Commit
    from modeldb_core.repositories.blobs import Blob
    from modeldb_core.repositories.differences import Difference
    from modeldb_core.repositories.reading import Origin


def commit_document(commit: Commit) -> dict[str, Any]:
    """Return what a commit says, without what it holds."""
    return {
        "commit_id": commit.entity_id,
        "digest": commit.digest,
        "parent_ids": list(commit.parent_ids),
        "message": commit.message,
        "author": commit.author,
        "authored_at": None if commit.authored_at is None else time_text(commit.authored_at),
        "owner": commit.owner,
        "created_at": None if commit.created_at is None else time_text(commit.created_at),
        "tree": commit.tree,
    }


def blob_document(blob: Blob) -> dict[str, Any]:
    """Return a blob: its kind and the fields of its content."""
    found: dict[str, Any] = to_json(dict(blob.plain()))
    return found


def difference_document(found: Difference) -> dict[str, Any]:
    """Return what differs at a location."""
    parts = [
        {
            "part": list(each.path),
            "status": each.status,
            **({} if each.status == "added" else {"before": json_value(each.before)}),
            **({} if each.status == "removed" else {"after": json_value(each.after)}),
        }
        for each in found.parts
    ]
    return {"location": found.location, "status": found.status, "kind": found.kind, "parts": parts}


def origin_document(origin: Origin) -> dict[str, Any]:
    """Return which commit gave a part its value."""
    return {
        "part": list(origin.path),
        "name": text_of(origin.path),
        "value": json_value(origin.value),
        "commit": commit_document(origin.commit),
    }
