"""The training data: its description, and how large it is; nothing is made dense, copied or computed for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.autologging.runs import start_thread
from modeldb_core.tracking.description.datasets import Labelled, describe
from modeldb_core.tracking.description.origins import variable_name
from modeldb_sklearn.calls import caller

if TYPE_CHECKING:
    import threading

BESIDE_BYTES = 1 << 22  # the digest of more data than this is worked out while the fit runs
MAX_COPY_BYTES = 1 << 27  # of the search trees of larger data no copy is made to predict with
DATASET = "train"


class DataDigest:
    """The description of the training data: worked out at once, or while the fit runs.

    Another thread hashes the memory of large arrays, and nothing else: tables are read by code of their libraries, which
    may touch the state of the process. ``name`` is what the program calls the data.
    """

    def __init__(self, X: Any, y: Any, *, at_once: bool) -> None:  # noqa: ANN401
        self._data = labelled(X, y)
        self.name = variable_name(y if X is None else X, caller())
        self._description: dict[str, Any] | None = None
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None
        if at_once or size_of(X) <= BESIDE_BYTES or not (_is_memory(X) and (y is None or _is_memory(y))):
            self._work()
        else:
            self._thread = start_thread(self._work, "modeldb-digest")
            if self._thread is None:
                self._work()

    def result(self) -> dict[str, Any]:
        """Return the description; raises what describing raised."""
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._description is not None
        return self._description

    def _work(self) -> None:
        try:
            self._description = describe(self._data, DATASET)
        except Exception as error:  # it is raised again where the result is asked for
            self._error = error


def labelled(X: Any, y: Any) -> Any:  # noqa: ANN401
    """Return features and target as one data set; those that learn from a target alone have no features."""
    if X is None:
        return y
    return X if y is None else Labelled(X, y)


def _is_memory(data: Any) -> bool:  # noqa: ANN401
    return type(data) is np.ndarray and not data.dtype.hasobject


def size_of(data: Any) -> int:  # noqa: ANN401
    """Return about how many bytes data holds; for tables as if all columns were numbers."""
    size = getattr(data, "nbytes", None)
    if isinstance(size, int):
        return size
    if hasattr(data, "nnz"):
        return int(data.nnz) * 12
    shape = getattr(data, "shape", None)
    if shape:
        cells = 8
        for length in shape:
            cells *= int(length)
        return cells
    return len(data) * 64 if hasattr(data, "__len__") else 0


def sample_of(X: Any, y: Any, rows: int) -> list[dict[str, Any]] | None:  # noqa: ANN401
    """Return the first rows as maps, ``None`` where they cannot be had by slicing."""
    head = X.head(rows) if hasattr(X, "head") else X[:rows]
    if hasattr(head, "compute"):
        return None
    if hasattr(head, "toarray"):  # a few rows of a sparse matrix
        head = head.toarray()
    if hasattr(head, "to_dict") and hasattr(head, "columns"):
        found = head.to_dict("records") if hasattr(head, "iloc") else head.to_dicts()
    else:
        found = [
            dict(enumerate(row)) if hasattr(row, "__len__") and not isinstance(row, str) else {0: row} for row in head
        ]
    target = None if y is None else (y.head(rows) if hasattr(y, "head") else y[:rows])
    for index, value in enumerate(() if target is None or hasattr(target, "columns") else target):
        found[index]["target"] = value
    return [{str(name): value for name, value in row.items()} for row in found]
