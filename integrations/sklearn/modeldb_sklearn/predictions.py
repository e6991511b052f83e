"""Remembers predictions, and knows them again when they are judged: whole and unchanged, or not at all."""

from __future__ import annotations

import hashlib
import threading
import weakref
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MAX_REMEMBERED = 64
WHOLE = -1
_MAX_COLUMNS = 100


@dataclass(slots=True)
class Prediction(Generic[T]):
    """What is known of a prediction.

    Attributes:
        owner: returns what holds the memory of the result, while that is in use.
        about: what it belongs to.
        layout: address, shape and strides of an array.
        checksums: of the whole, and of each column.
    """

    owner: Callable[[], Any]
    about: T
    layout: tuple[int, tuple[int, ...], tuple[int, ...]] | None = None
    whole: int = 0
    columns: list[int] = field(default_factory=list)

    def part(self, value: Any) -> int | None:  # noqa: ANN401
        """Return which column of this prediction ``value`` is, with all rows in order and unchanged.

        :data:`WHOLE` where it is the prediction itself, ``None`` where it is something else.

        Probabilities are handed on as ``predict_proba(X)[:, 1]``: a view. Where the result was a view itself, as that
        of LightGBM, XGBoost and neural networks is, the column does not lead back to it, but to what both are views of.
        """
        if self.layout is None:
            return WHOLE if checksum(value) == self.whole else None
        address, shape, strides = self.layout
        start = _address(value)
        is_same = start == address and (value.shape == shape and value.strides == strides)
        is_flat = start == address and value.size == np.prod(shape) and value.flags.c_contiguous and len(shape) <= 2
        if is_same or (is_flat and (len(shape) == 1 or 1 in shape)):
            return WHOLE if checksum(value) == self.whole else None
        flat = value[:, 0] if value.ndim == 2 and value.shape[1] == 1 else value
        if len(shape) != 2 or flat.shape != shape[:1] or flat.strides != strides[:1] or not strides[1]:
            return None
        column, rest = divmod(start - address, strides[1])
        is_column = not rest and 0 <= column < len(self.columns) and checksum(flat) == self.columns[column]
        return column if is_column else None


class Predictions(Generic[T]):
    """The latest predictions. Safe for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_owner: OrderedDict[int, Prediction[T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_owner)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._by_owner.clear()

    def remember(self, result: Any, about: T) -> None:  # noqa: ANN401
        """Remember what was predicted; lists and what else cannot be referred to weakly are held for a while."""
        owner = _owner(result)
        try:
            reference: Callable[[], Any] = weakref.ref(owner)
        except TypeError:
            reference = lambda: owner  # noqa: E731
        prediction = Prediction(reference, about, whole=checksum(result))
        if isinstance(result, np.ndarray):
            prediction.layout = (_address(result), result.shape, result.strides)
            if result.ndim == 2 and result.shape[1] <= _MAX_COLUMNS:
                prediction.columns = [checksum(result[:, index]) for index in range(result.shape[1])]
        with self._lock:
            self._by_owner[id(owner)] = prediction
            self._by_owner.move_to_end(id(owner))
            while len(self._by_owner) > MAX_REMEMBERED:
                self._by_owner.popitem(last=False)

    def find(self, value: Any) -> Prediction[T] | None:  # noqa: ANN401
        """Return the prediction that ``value`` is, or is some part of."""
        owner = _owner(value)
        prediction = self._by_owner.get(id(owner))
        return prediction if prediction is not None and prediction.owner() is owner else None


def checksum(value: Any) -> int:  # noqa: ANN401
    """Return a checksum of content, 0 of what is not like an array."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return 0
    if array.dtype.hasobject:
        return hash(tuple(map(str, array.ravel().tolist())))
    return zlib.adler32(np.ascontiguousarray(array).tobytes()) if array.size else 0


def truth_key(truth: Any) -> str:  # noqa: ANN401
    """Return what identifies true values, however they are kept: as a list, a column or an array; "" for none."""
    if truth is None:
        return ""
    if hasattr(truth, "toarray"):
        truth = truth.toarray()
    try:
        array = np.asarray(truth)
    except (TypeError, ValueError):
        return ""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind in "biuf":
        content = np.ascontiguousarray(array, dtype=np.float64).tobytes()
    else:
        content = "\0".join(map(str, array.ravel().tolist())).encode("utf-8", "replace")
    return hashlib.blake2b(content + str(array.shape).encode(), digest_size=16).hexdigest()


def _owner(value: Any) -> Any:  # noqa: ANN401
    """Return the array that owns the memory of ``value``; anything that is not an array owns itself."""
    while isinstance(value, np.ndarray) and isinstance(value.base, np.ndarray):
        value = value.base
    return value


def _address(array: Any) -> int:  # noqa: ANN401
    return int(array.__array_interface__["data"][0])
