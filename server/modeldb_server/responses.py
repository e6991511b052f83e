"""Answers: JSON written by orjson, and plain text."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Response

JSON = "application/json"
BYTES = "application/octet-stream"


def dump_json(data: Any) -> bytes:  # noqa: ANN401 - JSON data
    """Return ``data`` as strict JSON in UTF-8. NumPy arrays of finite numbers are written as they are."""
    return orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)


def json_response(data: Any, status: int = 200) -> Response:  # noqa: ANN401 - JSON data
    """Return an answer with ``data`` as its body. It is not to be stored: the next one may differ."""
    response = Response(dump_json(data), status, content_type=JSON)
    response.headers["Cache-Control"] = "no-store"
    return response


def text_response(text: str, status: int = 200) -> Response:
    """Return an answer in plain text, which a browser shows and never interprets."""
    response = Response(text.encode(), status, content_type="text/plain; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    return response
