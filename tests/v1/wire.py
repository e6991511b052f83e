"""The v1 API as the original client speaks it: all fields with their defaults, enums as numbers, truth values with capitals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import json_format

from modeldb_v1.schema import CALLS

if TYPE_CHECKING:
    from flask.testing import FlaskClient

HEADERS = {"Grpc-Metadata-source": "PythonClient", "Grpc-Metadata-scheme": "http"}


class Wire:
    """Makes calls over HTTP."""

    def __init__(self, client: FlaskClient, headers: dict[str, str] | None = None) -> None:
        self.client, self.headers = client, {**HEADERS, **(headers or {})}

    def send(self, name: str, fields: dict[str, Any] | None = None) -> tuple[int, Any]:
        """Make a call; return the status and the JSON of the answer."""
        call = CALLS[name]
        message = json_format.ParseDict(fields or {}, call.request())
        data = json_format.MessageToDict(
            message,
            preserving_proto_field_name=True,
            use_integers_for_enums=True,
            always_print_fields_with_no_presence=True,
        )
        flat = _flat(data)
        binding = next(
            each for each in call.bindings if all(flat.get(name) not in (None, "") for name in each.variables)
        )
        path = binding.paths[0]
        for name_of in binding.variables:
            path = path.replace(f"{{{name_of}}}", str(flat.pop(name_of)))
        asked: dict[str, Any] = {"headers": self.headers, "method": binding.verb}
        if binding.body:
            asked["json"] = data if binding.body == "*" else data.get(binding.body)
        else:
            asked["query_string"] = {name: value for name, value in flat.items() if value != []}
        response = self.client.open(path, **asked)
        return response.status_code, response.json

    def __call__(self, name: str, fields: dict[str, Any] | None = None) -> Any:
        """Make a call that succeeds; return the JSON of the answer."""
        status, answer = self.send(name, fields)
        assert status == 200, (name, status, answer)
        return answer

    def code(self, name: str, fields: dict[str, Any] | None = None) -> int:
        """Make a call that fails; return the code in the body."""
        status, answer = self.send(name, fields)
        assert status >= 400, (name, answer)
        assert answer["error"] == answer["message"] != "", (name, answer)
        assert status != 500, (name, answer)
        assert isinstance(answer["code"], int)
        code: int = answer["code"]
        return code


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return fields by dotted names, with texts as Python writes values."""
    found: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value if isinstance(value, (list, str)) else str(value)
    return found
