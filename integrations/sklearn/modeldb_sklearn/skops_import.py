"""Imports skops without what it would bring along: every module of scikit-learn, PyTorch, Dask, pytest.

To know which types are harmless, ``skops.io._trusted_types`` asks ``sklearn.utils.all_estimators()``, which imports all
that lies in scikit-learn's folder, adapters for other array libraries and test support too. The program would have all of
it in memory, and would wait for it. So that one module is loaded with a list that finds the same names, in the public
modules of scikit-learn only, when somebody first asks for them: only who *reads* a model does. Nothing that the program can
see is exchanged for that: the import system lets a loader choose what the code of its module has for ``__import__``.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
import pkgutil
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, SupportsIndex

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterator, Sequence
    from importlib.machinery import ModuleSpec

_only_loaded: ContextVar[list[str] | None] = ContextVar("modeldb_sklearn_estimators", default=None)
_MODULE = "skops.io._trusted_types"
_NAMES = "SKLEARN_ESTIMATOR_TYPE_NAMES"
_NO_ESTIMATORS = frozenset({"conftest", "datasets", "experimental", "externals", "metrics", "tests", "utils"})


def import_skops() -> Any:  # noqa: ANN401 - it has no types
    """Return ``skops.io``; raises ImportError where it is not installed."""
    if _MODULE in sys.modules:
        return importlib.import_module("skops.io")  # which waits where another thread has only begun to import it
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        return importlib.import_module("skops.io")
    finally:
        sys.meta_path.remove(finder)


@contextmanager
def only_loaded() -> Iterator[None]:
    """In the block skops knows the estimators that are imported, as all of a model in memory are; it imports no others."""
    token = _only_loaded.set(loaded_estimators())
    try:
        yield
    finally:
        _only_loaded.reset(token)


def loaded_estimators() -> list[str]:
    """Return the names of scikit-learn's public estimators whose modules are imported, as skops writes them."""
    from sklearn.base import BaseEstimator

    found: dict[type, None] = {}
    waiting: list[type] = [BaseEstimator]
    while waiting:
        derived: list[type] = type.__subclasses__(waiting.pop())
        waiting.extend(cls for cls in derived if cls not in found)
        found.update(dict.fromkeys(derived))
    return sorted(f"{cls.__module__}.{cls.__name__}" for cls in found if _is_public(cls))


def all_estimators() -> list[str]:
    """Return the names of all public estimators of scikit-learn, whose modules are imported for that."""
    import sklearn

    for module in pkgutil.iter_modules(sklearn.__path__, "sklearn."):
        name = module.name.rpartition(".")[2]
        if name in _NO_ESTIMATORS or name.startswith("_"):
            continue
        package = importlib.import_module(module.name)
        for part in pkgutil.iter_modules(getattr(package, "__path__", []), f"{module.name}."):
            last = part.name.rpartition(".")[2]
            if last not in _NO_ESTIMATORS and not last.startswith("_"):
                importlib.import_module(part.name)
    return loaded_estimators()


def _is_public(cls: type) -> bool:
    """Return whether a public module of scikit-learn offers a class that can be instantiated."""
    if not cls.__module__.startswith("sklearn.") or cls.__name__.startswith("_") or inspect.isabstract(cls):
        return False
    parts = cls.__module__.split(".")
    public = [part for part in parts if not part.startswith("_")]
    if "tests" in parts or "utils" in parts or "externals" in parts:
        return False
    return any(
        vars(sys.modules[".".join(parts[:length])]).get(cls.__name__) is cls  # some modules raise in __getattr__
        for length in range(2, len(public) + 1)
        if not any(part.startswith("_") for part in parts[:length])
    )


class _Names(list[str]):
    """The names of all estimators, which are looked up when they are first needed."""

    def __init__(self, look_up: Callable[[], list[str]]) -> None:
        super().__init__()
        self._look_up: Callable[[], list[str]] | None = look_up

    def _fill(self) -> None:
        if self._look_up is not None:
            look_up, self._look_up = self._look_up, None
            self.extend(look_up())

    def __len__(self) -> int:
        self._fill()
        return super().__len__()

    def __iter__(self) -> Iterator[str]:
        self._fill()
        return super().__iter__()

    def __contains__(self, name: object) -> bool:
        self._fill()
        return super().__contains__(name)

    def __getitem__(self, index: SupportsIndex | slice) -> Any:  # noqa: ANN401 - a name, or several
        self._fill()
        return super().__getitem__(index)

    def __add__(self, other: list[str]) -> list[str]:  # type: ignore[override]
        loaded = _only_loaded.get()
        if loaded is not None:
            return [*loaded, *other]
        self._fill()
        return [*self, *other]


class _Finder(MetaPathFinder):
    """Finds the one module, as it would be found anyway."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname == _MODULE else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """Executes the module with an ``__import__`` that has its own answer for one name."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> types.ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": _import}
        self._loader.exec_module(module)
        if hasattr(module, _NAMES):
            setattr(module, _NAMES, _Names(all_estimators))


def _import(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:  # noqa: A002, ANN401
    if name == "sklearn.utils" and tuple(fromlist or ()) == ("all_estimators",):
        return SimpleNamespace(all_estimators=list)
    return builtins.__import__(name, globals, locals, fromlist, level)
