"""What the process of a server logs, and in which form: lines of text, or one JSON object a line for programs that collect them.

Every line of a request has its id. Headers, bodies and query strings are never logged; what libraries and tracebacks say
is redacted.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import orjson

from modeldb_core.runtime.redaction import redact_message
from modeldb_server.request_ids import current_request_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

LogForm: TypeAlias = Literal["off", "text", "json"]
FORMS: tuple[LogForm, ...] = ("off", "text", "json")
FIELDS = "modeldb_fields"
"""The attribute of a log record that holds further fields of its JSON object."""


def with_fields(**fields: object) -> Mapping[str, object]:
    """Return the ``extra`` of a log call by which a line has further fields in JSON."""
    return {FIELDS: fields}


def configure_logs(form: LogForm, stream: TextIO | None = None) -> None:
    """Let this process log to ``stream`` (stderr) in a form; with "off" Python's own way stays: warnings and errors.

    Call it once, from a program: the whole process logs so, requests included.
    """
    if form == "off":
        return
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JSONFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("modeldb_server").setLevel(logging.INFO)
    logging.captureWarnings(True)


class JSONFormatter(logging.Formatter):
    """One object a line: ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``, ``request_id``, further fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        line: dict[str, Any] = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message_of(record),
        }
        if request_id := current_request_id():
            line["request_id"] = request_id
        line |= getattr(record, FIELDS, {})
        if trace := _trace_of(self, record):
            line["traceback"] = trace
        return orjson.dumps(line, default=str).decode()


class TextFormatter(logging.Formatter):
    """A line for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, with its traceback below it."""
        request_id = current_request_id()
        tail = f" [{request_id}]" if request_id else ""
        line = f"{_time_of(record)} {record.levelname} {record.name}: {_message_of(record)}{tail}"
        trace = _trace_of(self, record)
        return f"{line}\n{trace}" if trace else line


def _time_of(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message_of(record: logging.LogRecord) -> str:
    return redact_message(" ".join(record.getMessage().splitlines()))


def _trace_of(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return redact_message(formatter.formatException(record.exc_info)) if record.exc_info else ""
