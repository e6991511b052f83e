"""What an estimator was set to, as values that can be stored and searched."""

from __future__ import annotations

import enum
import hashlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.model.scalars import scalar_of
from modeldb_sklearn.calls import is_sklearn

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LISTED = 1000
"""Arrays with more elements are described by their digest; lists and maps are always kept whole."""

MAX_VALUES = 100_000
"""What is found again and again, such as a part that all steps share, is repeated until there are so many values."""

_MAX_DEPTH = 40  # what lies deeper is described by its type
_MAX_ESTIMATORS = 10_000  # a ``get_params`` that makes new ones each time would never come to an end
_MAX_REPR = 10_000
_MAX_STRUCTURE = 500  # a longer description of a part is given once
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_TRUSTED_CALLABLES = frozenset({"sklearn", "numpy", "scipy", "builtins", "operator", "math"})
_TRUSTED_ESTIMATORS = frozenset({"sklearn", "lightgbm", "xgboost", "catboost"})
"""Packages whose estimators change nothing when they predict; all others are code of the program."""
_COPY_NAMES = frozenset({"copy", "copy_X", "copy_x", "copy_X_train"})


@dataclass(slots=True)
class Settings:
    """What an estimator was set to.

    Attributes:
        values: the hyperparameters; an estimator within is a map with its ``class`` and its own hyperparameters. The
            steps of a pipeline, and named parts of other compositions, stand under their names.
        estimators: the estimator itself and all those within.
        foreign_code: the names of what in it is neither scikit-learn's nor of a library that is known.
        changes_data: whether it was told to work in place, so that the training data may not be what it was.
    """

    values: dict[str, Any] = field(default_factory=dict)
    estimators: list[Any] = field(default_factory=list)
    foreign_code: list[str] = field(default_factory=list)
    changes_data: bool = False
    seen: dict[int, tuple[Any, Any, int]] = field(default_factory=dict)
    size: int = 0

    def once(self, value: Any, build: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Return what ``build`` makes of ``value``, which is called once for each object, however often it is found.

        An object that leads back to itself, and one whose values would be too many again, is described by its type.
        """
        known = self.seen.get(id(value))
        if known is None:
            self.seen[id(value)] = (value, None, 0)
            before = self.size
            self.size += 1 + (len(value) if isinstance(value, (list, tuple, Mapping)) else 0)
            result = build()
            self.seen[id(value)] = (value, result, self.size - before)
            return result
        _, result, size = known
        if result is None or self.size + size > MAX_VALUES:
            return {"class" if _is_estimator(value) else "type": public_name(type(value))}
        self.size += size
        return result


def settings_of(estimator: Any) -> Settings:  # noqa: ANN401 - any estimator
    """Return what ``estimator`` was set to; nothing of it is called but ``get_params``."""
    settings = Settings()
    found = settings.once(estimator, lambda: _parameters(estimator, settings, 0))
    settings.values = {name: value for name, value in found.items() if name != "class"}
    return settings


def public_name(cls: type) -> str:
    """Return the name by which users import a class: ``sklearn.linear_model.LogisticRegression``."""
    if cls.__module__ == "builtins":
        return cls.__qualname__
    parts = cls.__module__.split(".")
    for length in range(1, len(parts) + 1):
        name = ".".join(parts[:length])
        module = sys.modules.get(name)
        if getattr(module, "__dict__", {}).get(cls.__qualname__) is cls:  # a module's __getattr__ may import, or raise
            return f"{name}.{cls.__qualname__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def typed(value: object) -> Any:  # noqa: ANN401 - a value
    """Return ``value`` as one that can be stored; what cannot be is described by its ``type`` and ``repr``."""
    return _typed(value, Settings(), 0)


def nested(flat: Mapping[str, object]) -> dict[str, Any]:
    """Return parameters named as ``set_params`` takes them (``clf__C``) as nested maps (``{"clf": {"C": …}}``)."""
    result: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split("__")
        place = result
        for part in path:
            inner = place.get(part)
            if not isinstance(inner, dict):
                inner = place[part] = {} if inner is None else {"estimator": inner}
            place = inner
        found = typed(value)
        if isinstance(place.get(last), dict) and not isinstance(found, dict):
            place[last]["estimator"] = found
        else:
            place[last] = found
    return result


def _parameters(estimator: Any, settings: Settings, depth: int) -> dict[str, Any]:  # noqa: ANN401
    settings.estimators.append(estimator)
    cls = type(estimator)
    package = cls.__module__.partition(".")[0]
    if package not in _TRUSTED_ESTIMATORS or (package == "sklearn" and not is_sklearn(cls.__module__)):
        settings.foreign_code.append(public_name(cls))
    found: dict[str, Any] = {"class": public_name(cls)}
    for name, value in estimator.get_params(deep=False).items():
        if name in _COPY_NAMES and value is False:
            settings.changes_data = True
        parts = _named_parts(value)
        if parts is None:
            found[name] = _typed(value, settings, depth + 1)
            continue
        found[name] = [part[0] for part in parts]
        for part_name, part, *more in parts:
            described = _typed(part, settings, depth + 1)
            if more and isinstance(described, dict):  # a ColumnTransformer says for which columns
                described = {**described, "columns": _typed(more[0], settings, depth + 1)}
            found[part_name] = described
    return found


def _named_parts(value: object) -> list[tuple[Any, ...]] | None:
    """Return ``value`` if it is the list of named parts of a composition: (name, estimator) or (name, estimator, …)."""
    if not isinstance(value, (list, tuple)) or not value:
        return None
    for part in value:
        if not (isinstance(part, tuple) and len(part) in (2, 3) and isinstance(part[0], str)):
            return None
        if not (_is_estimator(part[1]) or part[1] is None or isinstance(part[1], str)):
            return None
    return list(value) if any(_is_estimator(part[1]) for part in value) else None


def _is_estimator(value: object) -> bool:
    return hasattr(value, "get_params") and not isinstance(value, type)


def _typed(value: Any, settings: Settings, depth: int) -> Any:  # noqa: ANN401
    if isinstance(value, enum.Enum):
        return {"type": public_name(type(value)), "repr": value.name}
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return str.__str__(value).encode("utf-8", "replace").decode()
    if _is_estimator(value) and (depth > _MAX_DEPTH or len(settings.estimators) >= _MAX_ESTIMATORS):
        settings.foreign_code.append(f"what lies {depth} levels deep")  # nobody has looked at it
        return {"class": public_name(type(value))}
    if depth > _MAX_DEPTH:
        return {"type": public_name(type(value))}
    if _is_estimator(value):
        return settings.once(value, lambda: _parameters(value, settings, depth))
    if isinstance(value, Mapping):
        return settings.once(value, lambda: _typed_map(value, settings, depth))
    if isinstance(value, (list, tuple)):
        return settings.once(value, lambda: [_typed(item, settings, depth + 1) for item in value])
    if isinstance(value, np.ndarray) and value.ndim:
        return _described_array(value)
    scalar = scalar_of(value)
    if scalar is not None:
        return scalar
    if isinstance(value, (set, frozenset)):
        items = [_typed(item, settings, depth + 1) for item in sorted(value, key=repr)]
        return {"type": type(value).__name__, "items": items}
    if callable(value):
        described = _described_callable(value)
        if _module_of(value).partition(".")[0] not in _TRUSTED_CALLABLES:
            settings.foreign_code.append(described.get("repr", described["type"]))
        return described
    if (hasattr(value, "predict") or hasattr(value, "transform")) and not _is_table(value):
        settings.foreign_code.append(public_name(type(value)))
    return _described(value)


def _is_table(value: object) -> bool:
    """Return whether ``value`` is data that happens to have a method ``transform``, such as a column of pandas."""
    return type(value).__module__.partition(".")[0] in {"pandas", "polars"}


def _typed_map(value: Mapping[Any, Any], settings: Settings, depth: int) -> dict[str, Any]:
    keys = [key if isinstance(key, str) else _key_text(key) for key in value]
    items = [_typed(item, settings, depth + 1) for item in value.values()]
    if len(set(keys)) == len(keys):
        return dict(zip(keys, items, strict=True))
    pairs = [[_typed(key, settings, depth + 1), item] for key, item in zip(value, items, strict=True)]
    return {"type": type(value).__name__, "items": pairs}  # 1 and "1" are both keys


def _key_text(key: object) -> str:
    scalar = scalar_of(key)
    return str(key if scalar is None else scalar)


def _described_array(array: Any) -> dict[str, Any]:  # noqa: ANN401
    found: dict[str, Any] = {"type": "numpy.ndarray", "dtype": str(array.dtype), "shape": list(array.shape)}
    if array.size <= MAX_LISTED:
        found["values"] = typed(array.tolist())
    elif array.dtype.hasobject:
        found["repr"] = repr(array)[:_MAX_REPR]
    else:
        found["digest"] = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return found


def _described_callable(value: Any) -> dict[str, Any]:  # noqa: ANN401
    kind = "class" if isinstance(value, type) else type(value).__name__
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if name is None:
        return _described(value)
    return {"type": kind, "repr": f"{_module_of(value)}.{name}"}


def _module_of(value: Any) -> str:  # noqa: ANN401
    module = getattr(value, "__module__", None) or type(value).__module__
    return module if isinstance(module, str) else ""


def _described(value: Any) -> dict[str, Any]:  # noqa: ANN401
    found = {"type": public_name(type(value))}
    distribution: Any = getattr(value, "dist", None)
    if hasattr(value, "rvs") and hasattr(distribution, "name"):  # a frozen distribution of SciPy
        given = [repr(item) for item in getattr(value, "args", ())]
        given += [f"{key}={item!r}" for key, item in getattr(value, "kwds", {}).items()]
        return {**found, "repr": f"{distribution.name}({', '.join(given)})"}
    try:
        text = _ADDRESS.sub("", repr(value))
    except Exception:  # whatever a stranger's __repr__ does
        return found
    return {**found, "repr": text[:_MAX_REPR].encode("utf-8", "replace").decode()}


def structure_of(estimator: Any) -> str:  # noqa: ANN401
    """Return how estimators are put together, in one line: ``Pipeline(scale=StandardScaler, clf=SVC)``."""
    return _structure_of(estimator, {}, 0)


def _structure_of(estimator: Any, seen: dict[int, str], depth: int) -> str:  # noqa: ANN401
    name = type(estimator).__name__
    if id(estimator) in seen:
        return seen[id(estimator)]
    if depth > _MAX_DEPTH or len(seen) >= _MAX_ESTIMATORS:
        return name
    seen[id(estimator)] = name  # for what leads back to it
    parts = []
    for key, value in estimator.get_params(deep=False).items():
        named = value if isinstance(value, (list, tuple)) else [(key, value)]
        for part in named:
            if isinstance(part, tuple) and len(part) >= 2 and _is_estimator(part[1]):
                parts.append(f"{part[0]}={_structure_of(part[1], seen, depth + 1)}")
            elif _is_estimator(part):
                parts.append(_structure_of(part, seen, depth + 1))
    text = f"{name}({', '.join(parts)})" if parts else name
    seen[id(estimator)] = text if len(text) <= _MAX_STRUCTURE else name
    return text[:_MAX_REPR]
