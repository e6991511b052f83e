"""Models that were loaded predict only on the columns that they were fitted with, in that order."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_READING = ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform", "score", "score_samples")


def guard(model: object, signature: Mapping[str, Any]) -> None:
    """Have a model put the columns of a table right, or refuse it: many predict by position whatever the names say.

    Its methods are covered by attributes of the object, which another ``fit``, and storing it, take away.
    """
    given = (signature.get("inputs") or {}).get("columns") or ()
    # Autologging records the type of a column beside its name.
    columns = [str(column["name"] if isinstance(column, dict) else column) for column in given]
    attributes = getattr(model, "__dict__", None)
    if not columns or attributes is None:
        return
    for name in (*_READING, "fit"):
        if callable(getattr(model, name, None)):
            attributes[name] = GuardedMethod(model, name, columns)


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

    def __init__(self, model: object, name: str, columns: list[str]) -> None:
        self.model, self.name, self.columns = model, name, columns

    def __call__(self, X: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the method has them
        """Call the method: ``fit`` as it is, and from then on all others too."""
        if self.name == "fit":
            for name in [name for name, value in vars(self.model).items() if isinstance(value, GuardedMethod)]:
                delattr(self.model, name)
            return self._method()(X, *args, **kwargs)
        return self._method()(aligned(X, self.columns), *args, **kwargs)

    def _method(self) -> Any:  # noqa: ANN401
        """Return the method of the class as it is now: it may have been replaced since."""
        cls = type(self.model)
        found = next(base.__dict__[self.name] for base in cls.__mro__ if self.name in base.__dict__)
        return found.__get__(self.model, cls)


def aligned(table: Any, columns: list[str]) -> Any:  # noqa: ANN401
    """Return a table with its columns in the order of ``columns``; what has no named columns as it is.

    Raises:
        InvalidArgumentError: columns are missing, or there are others.
    """
    names = getattr(table, "columns", None)
    if names is None or not hasattr(table, "shape"):
        return table
    given = [str(name) for name in names]
    if given == columns:
        return table
    if sorted(given) != sorted(columns):
        missing = [name for name in columns if name not in given]
        more = [name for name in given if name not in columns]
        msg = (
            f"the model was fitted with the columns {columns!r:.500}; missing are {missing!r:.500}, and it does not know "
            f"{more!r:.500}"
        )
        raise InvalidArgumentError(msg)
    by_name = dict(zip(given, names, strict=True))
    return table[[by_name[name] for name in columns]]
