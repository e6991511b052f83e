"""JSON Schemas of what the routes of repositories answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_server.shapes import COUNT, FLAG, OBJECT, TEXT, list_of, nullable, record, reference

if TYPE_CHECKING:
    from modeldb_server.routes import Schema

_PART: Schema = {**list_of(TEXT), "description": "where it is, such as ['optimizer', 'lr']"}
_STATUS: Schema = {"enum": ["added", "removed", "changed"]}
_PARTS = list_of(
    record(
        {"part": _PART, "status": _STATUS, **dict.fromkeys(("before", "after"), reference("Value"))},
        optional=("before", "after"),
    )
)
_ORIGIN = record(
    {
        "part": _PART,
        "name": TEXT,
        "value": reference("Value"),
        "commit": {**OBJECT, "description": "the one that gave it this value"},
    }
)
REPOSITORY_ANSWERS: dict[str, Schema] = {
    "RepositoryBlobs": record(
        {
            "items": list_of(record({"location": TEXT, "kind": TEXT})),
            "after": {**nullable(TEXT), "description": "of the last one, for the next page; null: that was all"},
            "count": {**COUNT, "description": "of all locations"},
        }
    ),
    "RepositoryBlob": {
        "type": "object",
        "properties": {"kind": TEXT, "type": TEXT, "tree": TEXT},
        "required": ["kind"],
        "description": "kind (code, data, config or environment) and the fields of that",
    },
    "RepositoryDifferences": record(
        {
            "items": list_of(record({"location": TEXT, "status": _STATUS, "kind": TEXT, "parts": _PARTS})),
            "is_cut": {**FLAG, "description": "there are more"},
        }
    ),
    "RepositoryOrigins": record(
        {
            "items": list_of(_ORIGIN),
            "older": {
                **list_of(_ORIGIN),
                "description": "parts that have been so for longer than was looked back: ask for them at the commit that is named",
            },
        }
    ),
}
