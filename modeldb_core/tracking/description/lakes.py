"""Tables that keep versions of their own, Delta and Iceberg: recognized by what they say of themselves, without reading data.

What is asked is public in the packages ``deltalake`` and ``pyiceberg``; neither is imported here.
"""

from __future__ import annotations

from typing import Any

from modeldb_core.runtime.redaction import redact_url
from modeldb_core.tracking.description.columns import is_from
from modeldb_core.tracking.description.digests import ContentHash


def is_delta(data: object) -> bool:
    """Whether it is a ``deltalake.DeltaTable``."""
    return is_from("deltalake", data) and hasattr(data, "table_uri") and hasattr(data, "version")


def is_iceberg(data: object) -> bool:
    """Whether it is a ``pyiceberg.table.Table``."""
    return is_from("pyiceberg", data) and hasattr(data, "current_snapshot") and hasattr(data, "metadata")


def describe_delta(table: Any) -> dict[str, Any]:  # noqa: ANN401 - deltalake is optional
    """Describe a Delta table at the version at which it was opened: its identifier and that number are its content."""
    version = int(table.version())
    identifier = str(table.metadata().id)
    columns = [{"name": field.name, "dtype": _type_text(field.type)} for field in table.schema().fields]
    return _described("delta", identifier, str(version), str(table.table_uri), columns)


def describe_iceberg(table: Any) -> dict[str, Any]:  # noqa: ANN401 - pyiceberg is optional
    """Describe an Iceberg table at its current snapshot; one without a snapshot is empty."""
    snapshot = table.current_snapshot()
    columns = [{"name": field.name, "dtype": str(field.field_type)} for field in table.schema().fields]
    version = "" if snapshot is None else str(snapshot.snapshot_id)
    described = _described("iceberg", str(table.metadata.table_uuid), version, str(table.location()), columns)
    summary = getattr(snapshot, "summary", None)
    rows = None if summary is None else summary.get("total-records")
    if rows is not None and str(rows).isdigit():
        described["shape"] = [int(rows), len(columns)]
    return described


def _described(kind: str, identifier: str, version: str, url: str, columns: list[dict[str, str]]) -> dict[str, Any]:
    content = ContentHash()
    for text in (kind, identifier, version):
        content.text(text)
    return {
        "kind": kind,
        "digest": content.hexdigest(),
        "shape": None,
        "size_bytes": None,
        "schema": {"columns": columns},
        "origin": {"type": kind, "url": redact_url(url), "table_id": identifier, "version": version},
    }


def _type_text(declared: Any) -> str:  # noqa: ANN401
    return str(getattr(declared, "type", None) or declared)
