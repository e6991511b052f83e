"""Calls back when a module has been imported, and imports nothing itself."""

from __future__ import annotations

import importlib.abc
import sys
import threading
from typing import TYPE_CHECKING, Any

from modeldb_core.runtime import forks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_lock = threading.RLock()
_waiting: dict[str, list[Callable[[], None]]] = {}


def when_imported(name: str, then: Callable[[], None]) -> None:
    """Call ``then`` once, right after the module ``name`` has been imported, in the thread that imports it.

    A module that is there already does not count, and an import that fails does not either: the next one does. ``then`` must
    not raise.
    """
    with _lock:
        _waiting.setdefault(name, []).append(then)
        if _FINDER not in sys.meta_path:
            sys.meta_path.insert(0, _FINDER)


def forget(then: Callable[[], None]) -> None:
    """Do not call ``then`` any more; when nothing is waited for, imports are what they were."""
    with _lock:
        for name, waiting in list(_waiting.items()):
            waiting[:] = [each for each in waiting if each != then]
            if not waiting:
                del _waiting[name]
        _leave_if_idle()


def _leave_if_idle() -> None:
    if not _waiting and _FINDER in sys.meta_path:
        sys.meta_path.remove(_FINDER)


def _imported(name: str) -> None:
    with _lock:
        waiting = _waiting.pop(name, ())
        _leave_if_idle()
    for then in waiting:
        then()


class _Finder(importlib.abc.MetaPathFinder):
    """Finds modules that are waited for where the other finders find them, and wraps their loader."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _waiting:
            return None
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(fullname, path, target) if find and finder is not self else None
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader(importlib.abc.Loader):
    """A module's loader that says when the module is there; the module itself never sees it."""

    def __init__(self, loader: Any) -> None:  # noqa: ANN401
        self._loader = loader

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        _imported(module.__name__)


_FINDER = _Finder()


def _replace_lock() -> None:
    """Give a forked child a lock of its own: a thread of the parent may have held it."""
    global _lock
    _lock = threading.RLock()


forks.after_in_child(_replace_lock)
