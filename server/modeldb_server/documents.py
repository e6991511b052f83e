"""Series, changes and keys in the form in which the API shows them; ``modeldb_core.log.json_documents`` has the rest.

The times of points are microseconds since 1970-01-01 UTC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.log import json_documents
from modeldb_core.log.changes import STREAM
from modeldb_core.model.plain_data import SAFE_INTEGER
from modeldb_core.model.schema import KINDS
from modeldb_core.model.values import to_json

if TYPE_CHECKING:
    from modeldb_core.log.changes import Change
    from modeldb_core.log.points import Series
    from modeldb_core.stores import KeyInfo


def series_document(series: Series) -> dict[str, Any]:
    """Return the points of a series as three lists; finite columns stay arrays, which orjson writes directly."""
    return {
        "run_id": series.run_id,
        "key": series.key,
        "steps": integers(series.steps),
        "times": integers(series.times),
        "values": floats(series.values),
        "total": int(series.total),
        "shown": len(series),
    }


def integers(array: Any) -> Any:  # noqa: ANN401 - an array
    """Return whole numbers as JSON takes them: those beyond 2**53 tagged, else the array itself."""
    import numpy as np

    column = np.ascontiguousarray(array, dtype=np.int64)
    if len(column) and (int(column.max()) > SAFE_INTEGER or int(column.min()) < -SAFE_INTEGER):
        return [to_json(item) for item in column.tolist()]
    return column


def floats(array: Any) -> Any:  # noqa: ANN401 - an array
    """Return numbers as JSON takes them: NaN and infinities tagged, else the array itself."""
    import numpy as np

    column = np.ascontiguousarray(array, dtype=np.float64)
    special = np.flatnonzero(~np.isfinite(column))
    if not len(special):
        return column
    values = column.tolist()
    for index in special.tolist():
        values[index] = to_json(values[index])
    return values


def is_secret(kind: str) -> bool:
    """Return whether the API shows nothing of a kind: one that is declared so, and one that nobody here knows."""
    declaration = KINDS.get(kind)
    return kind != STREAM and (declaration is None or declaration.secret)


def change_document(change: Change) -> dict[str, Any]:
    """Return a change as :func:`modeldb_core.log.json_documents.change_document` does, but with nothing of secret kinds."""
    document = json_documents.change_document(change)
    if is_secret(change.kind):
        document["data"] = None
    return document


def key_document(info: KeyInfo) -> dict[str, Any]:
    """Return a key that entities carry."""
    types = list(info.value_types)
    return {"section": info.section, "key": info.key, "count": info.count, "value_types": types, "sample": info.sample}
