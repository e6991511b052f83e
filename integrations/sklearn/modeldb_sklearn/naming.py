"""How a score is called: after the data that it is about, and the arguments that change what it means."""

from __future__ import annotations

import functools
import inspect
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.tracking.description.origins import PLAIN_NAMES, variable_name, variables
from modeldb_sklearn.predictions import truth_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

UNNAMED = "evaluation"
_SUBSET = r"(?:train|trn|tr|test|tst|te|ts|validation|valid|val|va|dev|eval|holdout)(?:_?\d+)?"
_DATA = re.compile(
    r"^(?:x|y|df|data|features|inputs|samples|labels|target|targets|true)_|_(?:x|y|df|data|features|set|true)$", re.I
)
_JOINED = re.compile(rf"[xy]({_SUBSET})|({_SUBSET})[xy]", re.I)
"""Names of data without anything between: ``Xtest``, ``ytr``, ``testX``."""
_SILENT = frozenset({"n_jobs", "verbose", "output_dict", "digits", "target_names"})
_MAX_LISTED = 5
_MAX_TEXT = 40
_MAX_FRAMES_OF_DATA = 20


def name_of(value: Any, frame: FrameType | None) -> str:  # noqa: ANN401
    """Return what the program calls ``value``, without what says that it is data; "" where it has no name."""
    name = variable_name(value, frame)
    return name if name in PLAIN_NAMES else short(name)


def short(name: str) -> str:
    """Return the name of data without what says that it is data: ``test`` for ``X_test``."""
    joined = _JOINED.fullmatch(name)
    return (joined[1] or joined[2]).lower() if joined else _DATA.sub("", name) or name


def label_of(name: str, X: Any, truth: Any, frame: FrameType | None) -> str:  # noqa: ANN401
    """Return what a score of data with that name is called after.

    It is the plain name of the data only where the truth is that of the data: it has the same name, or one that goes
    with it, or equals what has. Otherwise the label says against what the data was judged.
    """
    if truth is None or truth is X:  # as where a clustering is judged by what was clustered
        return name or UNNAMED
    truth_name = name_of(truth, frame)
    if not name:
        return truth_name if truth_name and truth_name not in PLAIN_NAMES else UNNAMED
    if name in PLAIN_NAMES:
        return name if not truth_name or truth_name in PLAIN_NAMES else f"{name}_against_{truth_name}"
    others = list(_truths(name, X, truth, frame))
    if any(other is truth for other in others):
        return name
    if others:
        key = truth_key(truth)
        if any(truth_key(other) == key for other in others):
            return name
    elif truth_name in PLAIN_NAMES or (truth_name and _are_related(name, truth_name)) or _is_column(truth, frame):
        return name
    return f"{name}_against_{truth_name or 'other'}"


def _are_related(first: str, second: str) -> bool:
    return first.startswith(second) or second.startswith(first)


def _truths(name: str, X: Any, truth: Any, frame: FrameType | None) -> Iterator[Any]:  # noqa: ANN401
    """Iterate over what the program calls like the data, and could be the truth about it."""
    expected = np.shape(truth)
    for variable, bound in variables(frame):
        if bound is X or variable in PLAIN_NAMES or short(variable) != name or isinstance(bound, (str, dict)):
            continue
        shape = tuple(getattr(bound, "shape", ())) or ((len(bound),) if isinstance(bound, (list, tuple)) else ())
        if shape[:1] == expected[:1] and shape and (len(shape) == 1 or shape in (expected, (shape[0], 1))):
            yield bound


def _is_column(truth: Any, frame: FrameType | None) -> bool:  # noqa: ANN401
    """Return whether the truth is a whole column of a table that the program holds: ``table["target"]``."""
    column = getattr(truth, "name", None)
    if column is None:
        return False
    tables = [bound for _, bound in variables(frame) if hasattr(bound, "columns") and hasattr(bound, "__getitem__")]
    return any(
        column in table.columns and len(table) == len(truth) and truth_key(table[column]) == truth_key(truth)
        for table in tables[:_MAX_FRAMES_OF_DATA]
    )


# -- arguments -----------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=512)
def signature_of_call(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a function; looking at it costs as much as a small metric."""
    return inspect.signature(function)


def suffix_of(signature: inspect.Signature, arguments: Mapping[str, Any], data: frozenset[str]) -> str:
    """Return what a name says of the arguments other than data that differ from their defaults: ``_max_fpr_0.1``."""
    parts: list[str] = []
    for name, value in arguments.items():
        parameter = signature.parameters.get(name)
        if name in data or name in _SILENT:
            continue
        if parameter is not None and parameter.kind is parameter.VAR_KEYWORD:
            parts.extend(_argument(key, item) for key, item in value.items() if key not in _SILENT)
        elif parameter is None or not _is_default(value, parameter.default):
            parts.append(_argument(name, value))
    return "".join(f"_{part}" for part in parts)


def _is_default(value: Any, default: Any) -> bool:  # noqa: ANN401
    if value is default:
        return True
    return isinstance(value, (str, int, float)) and isinstance(default, (str, int, float)) and value == default


def _argument(name: str, value: Any) -> str:  # noqa: ANN401
    if value is True:
        return name
    if name == "average" and isinstance(value, str):
        return value
    if value is False:
        return f"{name}_false"
    if value is None or isinstance(value, (str, int, float, np.generic)):
        return f"{name}_{value}"[: len(name) + _MAX_TEXT]
    if isinstance(value, (list, tuple, np.ndarray)) and len(value) <= _MAX_LISTED and np.ndim(value) == 1:
        return "_".join([name, *map(str, value)])[: len(name) + _MAX_TEXT]
    if callable(value):
        return f"{name}_{getattr(value, '__name__', type(value).__name__)}"
    return name
