"""JSON Schemas of what the routes of accounts answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.model.access import ROLES
from modeldb_server.accounts.credentials import Means
from modeldb_server.routes import Policy
from modeldb_server.shapes import FLAG, TEXT, TIME, list_of, nullable, record, reference

if TYPE_CHECKING:
    from modeldb_server.routes import Schema

_ALLOWS = {"enum": [each.value for each in Policy], "description": "the most that it may do"}
_PLACE = {
    "place_kind": {"enum": ["", "workspace", "project"], "description": "empty: not for one place alone"},
    "place_id": TEXT,
}
_TOKEN = {
    **dict.fromkeys(("token_id", "name"), TEXT),
    "allows": _ALLOWS,
    **_PLACE,
    "created_by": TEXT,
    "created_at": TIME,
    **dict.fromkeys(("expires_at", "revoked_at", "last_used_at"), nullable(TIME)),
}
_ROLE = {"enum": ["", *ROLES], "description": "empty: none"}
ACCOUNT_ANSWERS: dict[str, Schema] = {
    "Visitor": record(
        {
            "user": TEXT,
            "user_id": {**TEXT, "description": "empty: a token of the settings"},
            "is_admin": {**FLAG, "description": "of the server"},
            "means": {"enum": [each.value for each in Means], "description": "how they said who they are"},
            "allows": _ALLOWS,
            **_PLACE,
        }
    ),
    "SignedOut": record({"signed_out": {"const": True}}),
    "PasswordChanged": record({"changed": {"const": True}}),
    "Token": record(_TOKEN),
    "NewToken": record({**_TOKEN, "token": {**TEXT, "description": "shown this once"}}),
    "Tokens": record({"items": list_of(reference("Token"))}),
    "TokenRevoked": record({"revoked": {"const": True}}),
    "Members": record(
        {
            "items": list_of(
                record(
                    {
                        "holder_kind": {"enum": ["user", "team"]},
                        "holder_id": TEXT,
                        "name": TEXT,
                        "role": {"enum": [*ROLES]},
                    }
                )
            ),
            "may_change": {**FLAG, "description": "whether who asks may give roles here"},
        }
    ),
    "MemberSet": record({"holder_id": TEXT, "role": _ROLE}),
}
