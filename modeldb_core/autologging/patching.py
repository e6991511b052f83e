"""Wraps methods of classes and decorated functions, and puts them back.

Methods are wrapped on the classes that define them, and functions inside the closure of their decorator, never names in
modules: so it does not matter who imported what, and when. A wrapper holds nothing but the original and the *name* of
what intercepts it. It can therefore be pickled by value, which happens when a class of a notebook or a script is sent to
a worker process; there, nothing is registered under that name, and the wrapper is the original.
"""

from __future__ import annotations

import copy
import functools
import inspect
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from modeldb_core.autologging.isolation import is_inside

if TYPE_CHECKING:
    import types

Interceptor: TypeAlias = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
"""Called as ``interceptor(original, instance, args, kwargs)`` in place of a wrapped method; returns its result.

In place of a function ``instance`` is ``None``, and the original is called without it.
"""

_interceptors: dict[str, Interceptor] = {}


def intercept(name: str, interceptor: Interceptor | None) -> None:
    """Let ``interceptor`` have the calls of all methods wrapped under ``name``; ``None``: nobody has them any more."""
    if interceptor is None:
        _interceptors.pop(name, None)
    else:
        _interceptors[name] = interceptor


def call(
    name: str,
    original: Callable[..., Any],
    instance: Any,  # noqa: ANN401
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    always: bool = False,
) -> Any:  # noqa: ANN401
    """Call a wrapped method: through its interceptor, or as it is where there is none or a call is under way.

    With ``always`` it goes through the interceptor also while a call is under way.
    """
    interceptor = _interceptors.get(name)
    if interceptor is None or (is_inside() and not always):
        return original(instance, *args, **kwargs)
    return interceptor(original, instance, args, kwargs)


def wrap(original: Callable[..., Any], name: str, *, always: bool = False) -> Callable[..., Any]:
    """Return a function that looks like ``original`` to :mod:`inspect` and hands its calls to what is called ``name``."""

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        return call(name, original, self, args, kwargs, always=always)

    method.__modeldb_name__ = name  # type: ignore[attr-defined]
    return method


def wrap_plain(original: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Do what :func:`wrap` does for a function that is not a method."""

    @functools.wraps(original)
    def function(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        interceptor = _interceptors.get(name)
        if interceptor is None or is_inside():
            return original(*args, **kwargs)
        return interceptor(original, None, args, kwargs)

    function.__modeldb_name__ = name  # type: ignore[attr-defined]
    return function


class Patches:
    """The methods that are wrapped at the moment. Safe for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._done: list[tuple[type, str, Any, Any, bool]] = []
        self._cells: list[tuple[types.CellType, Any, Any]] = []

    def __len__(self) -> int:
        return len(self._done) + len(self._cells)

    def wrap_function(self, function: Callable[..., Any], name: str) -> bool:
        """Wrap a function that a decorator made with :func:`functools.wraps`; False for any other one.

        The function object stays the same one, no matter who holds it: exchanged is what it passes its calls on to.
        """
        inner = getattr(function, "__wrapped__", None)
        with self._lock:
            for cell in getattr(function, "__closure__", None) or ():
                if inner is not None and _content(cell) is inner:
                    replacement = wrap_plain(inner, name)
                    cell.cell_contents = replacement
                    self._cells.append((cell, inner, replacement))
                    return True
        return False

    def wrap_method(self, cls: type, method: str, name: str, *, always: bool = False) -> bool:
        """Wrap a method that ``cls`` itself defines; False where it defines none, or it is wrapped already.

        With ``always`` also calls within a recorded one go through the interceptor.

        Wrapped are plain functions, and descriptors that hold one as ``fn`` and behave as a method where a condition
        holds (scikit-learn's ``available_if``). Class methods, static methods and anything unknown are left alone.
        """
        current = cls.__dict__.get(method)
        replacement: Any
        if inspect.isfunction(current):
            if getattr(current, "__modeldb_name__", None) is not None:
                return False
            replacement = wrap(current, name, always=always)
        elif inspect.isfunction(getattr(current, "fn", None)) and hasattr(type(current), "__get__"):
            assert current is not None
            if getattr(current.fn, "__modeldb_name__", None) is not None:
                return False
            replacement = copy.copy(current)
            replacement.fn = wrap(current.fn, name)
        else:
            return False
        return self.replace(cls, method, replacement)

    def replace(self, cls: type, attribute: str, replacement: Any) -> bool:  # noqa: ANN401
        """Set an attribute of a class so that :meth:`undo` puts it back; False where the class takes none."""
        with self._lock:
            was_there = attribute in cls.__dict__
            original = cls.__dict__.get(attribute)
            try:
                setattr(cls, attribute, replacement)
            except (TypeError, AttributeError):  # a class written in C
                return False
            self._done.append((cls, attribute, original, replacement, was_there))
            return True

    def undo(self) -> None:
        """Put everything back. What somebody else wrapped since is left to them: our wrapper then only passes on."""
        with self._lock:
            while self._done:
                cls, attribute, original, replacement, was_there = self._done.pop()
                if cls.__dict__.get(attribute) is not replacement:
                    continue
                if was_there:
                    setattr(cls, attribute, original)
                else:
                    delattr(cls, attribute)
            while self._cells:
                cell, inner, replacement = self._cells.pop()
                if _content(cell) is replacement:
                    cell.cell_contents = inner


def _content(cell: types.CellType) -> Any:  # noqa: ANN401
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return None
