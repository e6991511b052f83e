"""JSON Schemas of what the routes of the model registry answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_server.shapes import COUNT, FLAG, TEXT, TIME, list_of, nullable, record

if TYPE_CHECKING:
    from modeldb_server.routes import Schema

_HELD = nullable(record({"model_version_id": TEXT, "number": nullable(COUNT)}))
_PLACES = {"type": "object", "additionalProperties": _HELD}
_MOVED = {"type": "object", "additionalProperties": record({"before": _HELD, "after": _HELD})}
_CURSOR = {**nullable(TEXT), "description": "for the next page; null: that was all"}
MODEL_ANSWERS: dict[str, Schema] = {
    "ModelMoves": record(
        {
            "moves": list_of(
                record(
                    {
                        "at": TIME,
                        "actor": TEXT,
                        "reason": TEXT,
                        "version": _HELD,
                        **dict.fromkeys(("from_stage", "to_stage"), TEXT),
                        **dict.fromkeys(("stages", "aliases"), _MOVED),
                        "erased": {**FLAG, "description": "what the change said is erased"},
                    }
                )
            ),
            "cursor": _CURSOR,
        }
    ),
    "ModelStates": record(
        {
            "at": nullable(TIME),
            "models": list_of(
                record({"registered_model_id": TEXT, "name": TEXT, **dict.fromkeys(("stages", "aliases"), _PLACES)})
            ),
            "cursor": _CURSOR,
        }
    ),
    "ModelCard": record({"model_version_id": TEXT, "card": {**TEXT, "description": "Markdown"}}),
}
