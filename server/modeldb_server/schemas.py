"""JSON Schemas of what the API answers, worked out from the classes of the entities."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from modeldb_core.model.entities import SeriesSummary
from modeldb_core.model.schema import HOME_FIELDS, ColumnType, shown_kinds
from modeldb_core.queries.grouping import TYPES
from modeldb_core.reproduction.differences import ADDED, CHANGED, REMOVED, TITLES
from modeldb_server.account_schemas import ACCOUNT_ANSWERS
from modeldb_server.declared_schemas import field_of_kind, of_class, of_kind
from modeldb_server.model_schemas import MODEL_ANSWERS
from modeldb_server.repository_schemas import REPOSITORY_ANSWERS
from modeldb_server.shapes import (
    ANYTHING,
    COUNT,
    FLAG,
    FLOAT,
    INTEGER,
    NUMBER,
    OBJECT,
    TEXT,
    TIME,
    list_of,
    nullable,
    record,
    reference,
)

if TYPE_CHECKING:
    from modeldb_server.routes import Schema


def component_schemas() -> dict[str, Schema]:
    """Return every schema by name."""
    schemas = {**_VALUES, **_ANSWERS, "SeriesSummary": of_class(SeriesSummary), "Field": field_of_kind()}
    for declaration in shown_kinds():
        name = declaration.schema
        schemas[name] = of_kind(declaration)
        schemas[f"{name}Page"] = record(
            {"items": list_of(reference(name)), "cursor": nullable(TEXT), "total": nullable(COUNT)}
        )
        schemas[f"Changed{name}"] = record(
            {"cursor": nullable(COUNT), "entity": reference(name), "keys": nullable(_KEYS_BY_MAP)}
        )
    return schemas


_KEYS_BY_MAP: Schema = {"type": "object", "additionalProperties": list_of(TEXT)}

_VALUES: dict[str, Schema] = {
    "TaggedFloat": {
        "description": "A number that JSON has no way to write.",
        **record({"$float": {"enum": ["NaN", "Infinity", "-Infinity"]}}),
    },
    "Value": {"description": "any JSON, with tagged numbers"},
    "TaggedInteger": {"description": "An integer beyond ±(2^53 - 1).", **record({"$int": TEXT})},
    "Error": record(
        {
            "error": record(
                {
                    "code": {"type": "string", "description": "stable; see docs/api.md"},
                    "message": TEXT,
                    "column": {"type": "integer", "description": "where a query stops making sense, from 1"},
                    "text": {"type": "string", "description": "the query, where a store asked"},
                    "expected": {"type": "integer", "description": "the number that a stream has to go on with"},
                    "condition": {"description": "the condition that does not hold", **nullable(OBJECT)},
                    "found": {"description": "what was there instead"},
                },
                optional=("column", "text", "expected", "condition", "found"),
            )
        }
    ),
}

_SERIES = {
    "run_id": TEXT,
    "key": TEXT,
    "steps": list_of(INTEGER),
    "times": {**list_of(INTEGER), "description": "microseconds since 1970-01-01 UTC"},
    "values": list_of(FLOAT),
    "total": {**COUNT, "description": "points in the asked range"},
    "shown": {**COUNT, "description": "points in this answer"},
}

_STORED_ENTITY = record(
    {
        "entity_id": TEXT,
        "document": OBJECT,
        **dict.fromkeys(HOME_FIELDS, TEXT),
        "status": TEXT,
        "metrics": OBJECT,
        "series": OBJECT,
    },
    optional=("status", "metrics", "series"),
)

_DRAWING = {
    "run_id": TEXT,
    "key": TEXT,
    "total": {**COUNT, "description": "points in the asked range"},
    "nan_count": COUNT,
    "infinite_count": COUNT,
    "nonpositive_count": {**COUNT, "description": "values that a logarithmic axis cannot show"},
    "hidden_count": {**COUNT, "description": "points at an x of 0 or less, left out on a logarithmic axis"},
    "points": record({"x": list_of(INTEGER), "steps": list_of(INTEGER), "values": list_of(FLOAT)}),
    "columns": record(
        {
            "x": {**list_of(NUMBER), "description": "mean of the x of the column's points"},
            **dict.fromkeys(("first_x", "last_x", "first_step", "last_step"), list_of(INTEGER)),
            **dict.fromkeys(("count", "nan_count", "infinite_count"), list_of(COUNT)),
            **{key: {**list_of(FLOAT), "description": "of finite values"} for key in ("mean", "minimum", "maximum")},
            "last": list_of(FLOAT),
        }
    ),
}

_NAME = record({"kind": {**TEXT, "description": "empty where nobody knows it"}, "entity_id": TEXT})
_LINEAGE = record(
    {
        "roots": list_of(_NAME),
        "direction": {"enum": ["both", "upstream", "downstream"]},
        "depth": COUNT,
        "limit": COUNT,
        "complete": {**FLAG, "description": "whether nothing was left out for depth or limit"},
        "notes": {**list_of(TEXT), "description": "what is missing, in words"},
        "nodes": list_of(
            record(
                {
                    **_NAME["properties"],
                    "state": {"enum": ["present", "deleted", "erased", "unknown"]},
                    **dict.fromkeys(("title", "name", "container"), TEXT),
                    "version": nullable(COUNT),
                    "facts": OBJECT,
                }
            )
        ),
        "edges": list_of(
            record({"input": _NAME, "output": _NAME, **dict.fromkeys(("field", "key", "label"), TEXT), "entry": OBJECT})
        ),
    }
)

_ANSWERS: dict[str, Schema] = {
    **ACCOUNT_ANSWERS,
    **MODEL_ANSWERS,
    **REPOSITORY_ANSWERS,
    "Lineage": _LINEAGE,
    "DatasetDiff": record(
        {
            "before": COUNT,
            "after": COUNT,
            "is_same": FLAG,
            "files": record({"added": OBJECT, "removed": OBJECT, "changed": OBJECT}),
            "columns": record({"added": OBJECT, "removed": OBJECT, "changed": OBJECT}),
            "statistics": OBJECT,
            "values": OBJECT,
        }
    ),
    "Provenance": {**OBJECT, "description": "PROV-JSON, https://www.w3.org/submissions/prov-json/"},
    "BillOfMaterials": {**OBJECT, "description": "CycloneDX 1.6, https://cyclonedx.org/docs/1.6/json/"},
    "LineageEvents": record({"events": list_of({**OBJECT, "description": "a RunEvent of OpenLineage 2-0-2"})}),
    "Series": record(_SERIES),
    "Drawing": record(_DRAWING, optional=("points", "columns")),
    "ManySeries": record(
        {
            "series": list_of(
                {
                    "oneOf": [
                        reference("Drawing"),
                        record({"run_id": TEXT, "key": TEXT, "error": record({"code": TEXT, "message": TEXT})}),
                    ]
                }
            )
        }
    ),
    "Keys": record(
        {
            "keys": list_of(
                record({"section": TEXT, "key": TEXT, "count": COUNT, "value_types": list_of(TEXT), "sample": COUNT})
            )
        }
    ),
    "Groups": record(
        {
            "groups": list_of(
                record(
                    {
                        "value": ANYTHING,
                        "value_type": {"enum": [*TYPES]},
                        "count": COUNT,
                        "spreads": list_of(
                            nullable(
                                record(
                                    {
                                        "count": COUNT,
                                        **{
                                            key: {"type": "number"}
                                            for key in ("mean", "deviation", "minimum", "maximum")
                                        },
                                    }
                                )
                            )
                        ),
                    }
                )
            ),
            "total": COUNT,
        }
    ),
    "ArtifactPage": record(
        {"items": list_of(record({"path": TEXT})), "cursor": nullable(TEXT), "total": COUNT},
    ),
    "Preview": record(
        {
            "path": TEXT,
            "media_type": TEXT,
            "size_bytes": COUNT,
            "digest": TEXT,
            "truncated": FLAG,
            "view": {"enum": ["table", "text", "image", "none"]},
            "text": TEXT,
            "columns": list_of(TEXT),
            "rows": list_of(list_of(TEXT)),
        },
        optional=("text", "columns", "rows"),
    ),
    "ChangePage": record({"changes": list_of(reference("Change")), "cursor": COUNT}),
    "Change": record(
        {
            "stream_id": TEXT,
            "seq": COUNT,
            "recorded_at": TIME,
            "actor": TEXT,
            "action": TEXT,
            "kind": TEXT,
            "entity_id": TEXT,
            "data": {"description": "the payload; of points their number and keys; null where that is gone"},
            "erased": FLAG,
            "withheld": FLAG,
            "previous_hash": TEXT,
            "hash": TEXT,
        }
    ),
    "RunDiff": record(
        {
            **dict.fromkeys(("first", "second"), record({"run_id": TEXT, "name": TEXT})),
            "differs": FLAG,
            "sections": list_of(
                record(
                    {
                        "name": {"enum": list(TITLES)},
                        "title": TEXT,
                        "changes": list_of(reference("Difference")),
                        "same": {**COUNT, "description": "keys of which the values are the same"},
                        "note": {"type": "string", "description": "what could not be compared, and why"},
                    }
                )
            ),
        }
    ),
    "Difference": record(
        {
            "key": TEXT,
            "change": {"enum": [ADDED, REMOVED, CHANGED]},
            "first": reference("Value"),
            "second": reference("Value"),
            "difference": {**FLOAT, "description": "the second number less the first"},
        },
        optional=("first", "second", "difference"),
    ),
    "Server": record(
        {
            "name": TEXT,
            "version": TEXT,
            "api_versions": list_of(TEXT),
            "read_only": FLAG,
            "kinds": list_of(TEXT),
            "limits": OBJECT,
            "store": {"type": "string", "description": "the scheme of the store's URL"},
            "cursor": {**COUNT, "description": "of the newest change"},
        }
    ),
    "Kinds": record({"kinds": list_of(reference("Kind"))}),
    "Kind": record(
        {
            **dict.fromkeys(("kind", "path", "words", "summary"), TEXT),
            "version": {**COUNT, "description": "of its newest field"},
            "is_own": {**FLAG, "description": "it comes with ModelDB, and not with a plugin"},
            "has_points": {**FLAG, "description": "its entities have series"},
            "columns": list_of(
                record(
                    {
                        "name": TEXT,
                        "type": {"enum": list(get_args(ColumnType))},
                        "title": TEXT,
                        "choices": {**list_of(TEXT), "description": "the texts that it may hold, where they are known"},
                        "fields": {**list_of(TEXT), "description": "what it is worked out from; itself for a field"},
                    }
                )
            ),
            "shown": {**list_of(TEXT), "description": "the columns for people: containers by name, not by identifier"},
            "compared": {**list_of(TEXT), "description": "the columns by which entities are compared"},
            "maps": {**list_of(TEXT), "description": "the fields that hold maps, what people log first"},
            "sections": {**list_of(TEXT), "description": "the maps whose keys filters find"},
            "listed": {**list_of(TEXT), "description": "the maps of which tables show the keys unasked"},
            "offered": {**list_of(TEXT), "description": "the sections of which GET /keys tells the keys"},
            "fields": list_of(reference("Field")),
        }
    ),
    "OpenAPI": record({"openapi": TEXT, "info": OBJECT, "paths": OBJECT, "components": OBJECT}),
    "Store": record(
        {
            "name": TEXT,
            "version": TEXT,
            "protocols": list_of({"type": "integer"}),
            "read_only": FLAG,
            "decides": FLAG,
            "user": TEXT,
        },
    ),
    "StoredArtifact": record(
        {"path": TEXT, "digest": TEXT, "size_bytes": COUNT, "media_type": TEXT, "type": TEXT},
    ),
    "Changed": record({"changed": {**COUNT, "description": "changes that were made"}}),
    "EditedRuns": record({"run_ids": list_of(TEXT), "changed": {**COUNT, "description": "entities"}}),
    "Done": record({"done": {"const": True}}),
    "Acknowledgement": record(
        {
            "streams": {
                "type": "object",
                "description": "by stream: number and hash of the last change of it in the batch",
                "additionalProperties": list_of(ANYTHING),
            }
        }
    ),
    "Heads": {
        "description": "by stream: number, hash, time of the last change, lease in seconds, whether it was closed",
        **OBJECT,
        "additionalProperties": list_of(ANYTHING),
    },
    "Order": record({"sha256": TEXT}),
    "Carried": record({"carries": FLAG}),
    "StoredEntity": _STORED_ENTITY,
    "StoredPage": record(
        {"entities": list_of(reference("StoredEntity")), "cursor": nullable(TEXT), "total": nullable(COUNT)}
    ),
    "StoredKeys": record({"keys": list_of(list_of(ANYTHING))}),
    "Blob": record({"digest": TEXT, "size_bytes": COUNT, "modified_at": nullable(COUNT)}),
    "Upload": record({"received_bytes": COUNT}),
    "BlobOwners": record({"owners": {"type": "array", "items": TEXT}}),
    "TreePage": record(
        {
            "items": list_of(
                record({"location": TEXT, "entry": {**nullable(OBJECT), "description": "null of a folder"}})
            ),
            "cursor": nullable(TEXT),
            "root": {**TEXT, "description": "the digest of the tree"},
            "content": {**TEXT, "description": "the digest of its content, without what was observed"},
            "count": {**COUNT, "description": "of all its entries"},
            "size_bytes": {**COUNT, "description": "of them together"},
        }
    ),
    "BlobDigests": record({"digests": {"type": "array", "items": TEXT}}),
    "BlobURL": record({"url": nullable(TEXT)}),
    "Health": record({"status": {"const": "ok"}}),
    "Readiness": record(
        {
            "status": {"enum": ["ready", "unready"]},
            "checks": {"type": "object", "additionalProperties": {"type": "string"}},
        }
    ),
}
