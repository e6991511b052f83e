"""Wraps methods of classes and puts them back.

Methods are wrapped on the classes that define them, never names in modules: so it does not matter who imported what,
and when. A wrapper holds nothing but the original and the *name* of what intercepts it. It can therefore be pickled by
value, which happens when a class of a notebook or a script is sent to a worker process; there, nothing is registered
under that name, and the wrapper is the original.
"""

from __future__ import annotations

import copy
import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

from modeldb_core.autolog.isolation import is_inside

Interceptor: TypeAlias = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
"""Called as ``interceptor(original, instance, args, kwargs)`` in place of a wrapped method; returns its result."""

_interceptors: dict[str, Interceptor] = {}


def intercept(name: str, interceptor: Interceptor | None) -> None:
    """Let ``interceptor`` have the calls of all methods wrapped under ``name``; ``None``: nobody has them any more."""
    if interceptor is None:
        _interceptors.pop(name, None)
    else:
        _interceptors[name] = interceptor


def call(name: str, original: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    """Call a wrapped method: through its interceptor, or as it is where there is none or a call is under way."""
    interceptor = _interceptors.get(name)
    if interceptor is None or is_inside():
        return original(instance, *args, **kwargs)
    return interceptor(original, instance, args, kwargs)


def wrap(original: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return a function that looks like ``original`` to :mod:`inspect` and hands its calls to what is called ``name``."""

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        return call(name, original, self, args, kwargs)

    method.__modeldb_name__ = name  # type: ignore[attr-defined]
    return method


class Patches:
    """The methods that are wrapped at the moment. Safe for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._done: list[tuple[type, str, Any, Any, bool]] = []

    def __len__(self) -> int:
        return len(self._done)

    def wrap_method(self, cls: type, method: str, name: str) -> bool:
        """Wrap a method that ``cls`` itself defines; False where it defines none, or it is wrapped already.

        Wrapped are plain functions, and descriptors that hold one as ``fn`` and behave as a method where a condition
        holds (scikit-learn's ``available_if``). Class methods, static methods and anything unknown are left alone.
        """
        current = cls.__dict__.get(method)
        replacement: Any
        if inspect.isfunction(current):
            if getattr(current, "__modeldb_name__", None) is not None:
                return False
            replacement = wrap(current, name)
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
            self._done.append((cls, attribute, original, cls.__dict__[attribute], was_there))
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
