"""Models that were loaded look only at the columns that they were fitted with, in that order."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import IntegrityError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator

_READING = ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform", "score", "score_samples")


def guard(model: object, signature: Mapping[str, Any]) -> None:
    """Have a model put the columns of a table right, or refuse it: many predict by position whatever the names say.

    Its methods are covered by attributes of the object, which another ``fit``, and storing it, take away.
    """
    columns = _columns(signature)
    attributes = getattr(model, "__dict__", None)
    if not columns or attributes is None:
        return
    needed = _needed(model, columns)
    for name in (*_READING, "fit"):
        if callable(getattr(model, name, None)):
            attributes[name] = GuardedMethod(model, name, columns, needed)


def _columns(signature: Mapping[str, Any]) -> list[str]:
    """Return the names of the columns that a model was fitted with; none where it was fitted without.

    Raises:
        IntegrityError: ModelDB writes no such signature.
    """
    said: object = signature
    inputs = said.get("inputs") if isinstance(said, Mapping) else said
    given = (inputs.get("columns") or []) if isinstance(inputs, Mapping) else inputs or []
    columns = given if isinstance(given, (list, tuple)) else [None]
    # Autologging records the type of a column beside its name.
    names = [column.get("name") if isinstance(column, Mapping) else column for column in columns]
    if not all(isinstance(name, (str, int, float)) for name in names):
        msg = f"the signature of the model is {str(signature)[:200]}, which is not one that ModelDB writes"
        raise IntegrityError(msg)
    return [str(name) for name in names]


@contextmanager
def unguarded(model: object) -> Iterator[None]:
    """Give a model as it was before :func:`guard`, for as long as it is stored."""
    attributes = getattr(model, "__dict__", None) or {}
    guards = {name: value for name, value in attributes.items() if isinstance(value, GuardedMethod)}
    for name in guards:
        del attributes[name]
    try:
        yield
    finally:
        attributes.update(guards)


class GuardedMethod:
    """A method of a loaded model."""

    def __init__(self, model: object, name: str, columns: list[str], needed: frozenset[str]) -> None:
        self.model, self.name, self.columns, self.needed = model, name, columns, needed

    def __call__(self, X: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the method has them
        """Call the method: ``fit`` as it is, and from then on all others too."""
        if self.name == "fit":
            for name in [name for name, value in vars(self.model).items() if isinstance(value, GuardedMethod)]:
                delattr(self.model, name)
            return self._method()(X, *args, **kwargs)
        return self._method()(aligned(X, self.columns, self.needed), *args, **kwargs)

    def _method(self) -> Any:  # noqa: ANN401
        """Return the method of the class as it is now: it may have been replaced since."""
        cls = type(self.model)
        found = next(base.__dict__[self.name] for base in cls.__mro__ if self.name in base.__dict__)
        return found.__get__(self.model, cls)


def aligned(table: Any, columns: list[str], needed: frozenset[str]) -> Any:  # noqa: ANN401
    """Return those columns of a table that are among ``columns``, in that order; what has no named columns as it is.

    Columns that the model does not know are left out: a table that is put together for a prediction often has some, such
    as a key, a time or the target.

    Raises:
        InvalidArgumentError: columns are missing that the model needs, or there are several of one name.
    """
    names = getattr(table, "columns", None)
    if names is None or not hasattr(table, "shape"):
        return table
    given = [str(name) for name in names]
    if given == columns:
        return table
    by_name = dict(zip(given, names, strict=True))
    missing = [name for name in columns if name in needed and name not in by_name]
    doubled = [name for name in dict.fromkeys(columns) if given.count(name) > 1 or columns.count(name) > 1]
    if missing:
        more = [name for name in given if name not in columns]
        msg = (
            f"the model was fitted with the columns {columns!r:.500}; missing are {missing!r:.500}, and it does not know "
            f"{more!r:.500}"
        )
        raise InvalidArgumentError(msg)
    if doubled:
        msg = f"the model was fitted with the columns {columns!r:.500}; {doubled!r:.500} cannot be told apart by name"
        raise InvalidArgumentError(msg)
    return table[[by_name[name] for name in columns if name in by_name]]


_PASSING_ON = ("best_estimator_", "regressor_", "estimator_")
"""Attributes of scikit-learn's estimators that hold a fitted one, which is given the table as it came."""
_MAX_DEPTH = 20


def _needed(model: Any, columns: list[str], depth: int = 0) -> frozenset[str]:  # noqa: ANN401
    """Return the columns without which a model cannot predict: all, unless it begins with a choice of columns by name."""
    known = getattr(model, "__dict__", {})
    inner = [known[name] for name in _PASSING_ON if name in known]
    steps = known.get("steps")
    if isinstance(steps, list) and steps and isinstance(steps[0], tuple) and len(steps[0]) == 2:
        inner.append(steps[0][1])
    if inner and depth < _MAX_DEPTH:
        return frozenset().union(*(_needed(part, columns, depth + 1) for part in inner))
    parts = known.get("transformers_")  # of a ColumnTransformer; the last one is what it does with the rest
    if not isinstance(parts, list) or not all(isinstance(part, tuple) and len(part) == 3 for part in parts):
        return frozenset(columns)
    chosen: set[str] = set()
    for _, transformer, selected in parts:
        if isinstance(transformer, str) and transformer == "drop":
            continue
        names = [selected] if isinstance(selected, str) else list(selected) if hasattr(selected, "__iter__") else [None]
        texts = [name for name in names if isinstance(name, str)]
        if len(texts) != len(names):  # by position
            return frozenset(columns)
        chosen.update(texts)
    return frozenset(chosen)
