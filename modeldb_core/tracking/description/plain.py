"""Objects of programs as values that can be stored: paths, devices, enumerations, namespaces, configurations, arrays.

Strict, for what users log themselves: what is not known stays as it is, so that anyone who stores it refuses it by name.
Lenient, for what integrations find: everything becomes a value, what is not known by its type and words. A form
``{"type": ..., ...}`` keeps the type of an object; where it is lost, :attr:`Plain.lost` says so.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import enum
import functools
import hashlib
import math
import os
import re
import sys
import types
import uuid
from collections.abc import KeysView, Mapping, ValuesView
from typing import Any

from modeldb_core.errors import InvalidArgumentError
from modeldb_core.model.numbers import nearest
from modeldb_core.model.plain_data import MAX_CONTAINERS
from modeldb_core.model.scalars import scalar_of
from modeldb_core.model.values import MAX_DEPTH, key_text

MAX_LISTED = 1000
"""Arrays and tensors with more elements are described by shape and digest; lists and maps are always kept whole."""

_MAX_DEPTH = 40  # what lies deeper is described by its type
_MAX_CONTAINERS = 100_000  # and so are further maps and lists, such as one that all others share
_MAX_REPR = 10_000
_MAX_NOTE = 1000
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_NAMED_BY_TEXT = frozenset(
    {"device", "Device", "dtype", "DType", "DataType", "layout", "memory_format"}
    | {"Pattern", "slice", "tzinfo", "_IPAddressBase", "ExtensionDtype", "Interval", "NAType", "Period"}
)
"""Classes, by whatever library, of which the text says all that there is."""
_INEXACT = (("decimal", "Decimal"), ("fractions", "Fraction"), ("numpy", "longdouble"))
"""Numbers of which the nearest 64-bit float is kept."""
_TO_DICT = ("transformers.", "ml_collections.")


def type_name(cls: type) -> str:
    """Return the full name of a class; of a built-in one just its name."""
    public = cls.__module__.partition("._")[0]  # pathlib keeps its classes in pathlib._local from Python 3.13 on
    return cls.__qualname__ if public == "builtins" else f"{public}.{cls.__qualname__}"


def _is_a(value: object, module: str, name: str) -> bool:
    """Return whether a value is of a class of a module that only those have imported who use it."""
    cls = getattr(sys.modules.get(module), name, None)
    return cls is not None and isinstance(value, cls)


def described(value: object) -> dict[str, Any]:
    """Return the type and the words of something that cannot be stored."""
    return {"type": type_name(type(value)), "repr": _text_of(value)}


def map_of(value: object) -> Mapping[Any, Any] | None:
    """Return what an object has by name: of a map, a namespace, a dataclass, or a configuration; else ``None``."""
    cls: Any = type(value)
    if isinstance(value, Mapping):
        return value if not cls.__module__.startswith("omegaconf.") else _plain_configuration(value)
    if isinstance(value, types.SimpleNamespace) or _is_a(value, "argparse", "Namespace"):
        return vars(value)
    if isinstance(value, type):
        return None
    if dataclasses.is_dataclass(value):
        return {item.name: getattr(value, item.name, None) for item in dataclasses.fields(value)}
    if hasattr(cls, "__attrs_attrs__"):
        return {item.name: getattr(value, item.name, None) for item in cls.__attrs_attrs__}
    if isinstance(getattr(cls, "model_fields", None), dict) and hasattr(cls, "model_dump"):  # of pydantic
        return {name: getattr(value, name) for name in cls.model_fields} | (getattr(value, "model_extra", None) or {})
    to_dict = getattr(value, "to_dict", None)
    if callable(to_dict) and any(base.__module__.startswith(_TO_DICT) for base in cls.__mro__):
        found = to_dict()
        return found if isinstance(found, Mapping) else None
    return None


class Plain:
    """Turns objects into values.

    Attributes:
        lost: where the type of an object is lost: by place, what it was and how it is kept.
    """

    def __init__(self, *, lenient: bool = False) -> None:
        self._lenient = lenient
        self._around: set[int] = set()  # what the value that is being turned lies within
        self._count = 0
        self.lost: dict[str, str] = {}

    def note(self) -> str:
        """Return in words where types are lost; empty where none is."""
        if not self.lost:
            return ""
        text = "Kept as plain values: " + ", ".join(f"{where} ({how})" for where, how in self.lost.items())
        return text if len(text) <= _MAX_NOTE else f"{text[: _MAX_NOTE - 20].rpartition(', ')[0]}, and others"

    def value(self, value: Any, where: str = "", depth: int = 0) -> Any:  # noqa: ANN401 - any value
        """Return ``value`` as one that can be stored; ``where`` is its place, for :attr:`lost`.

        Raises:
            InvalidArgumentError: it leads back to itself, and this is not lenient.
        """
        if isinstance(value, str):
            return str.__str__(value).encode("utf-8", "replace").decode() if self._lenient else value
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, enum.Enum):
            return {
                "type": type_name(type(value)),
                "name": value.name,
                "value": self.value(value.value, where, depth + 1),
            }
        if isinstance(value, os.PathLike):
            return self.value(self._kept(value, where, "text", os.fspath(value)), where, depth)
        levels, most = (_MAX_DEPTH, _MAX_CONTAINERS) if self._lenient else (MAX_DEPTH, MAX_CONTAINERS)
        if id(value) in self._around and not self._lenient:
            msg = f"{where} leads back to what it lies within; leave that out"
            raise InvalidArgumentError(msg)
        if depth > levels or self._count > most or id(value) in self._around:
            return {"type": type_name(type(value))} if self._lenient else value
        self._count += 1
        self._around.add(id(value))
        try:
            return self._container(value, where, depth)
        finally:
            self._around.discard(id(value))

    def _kept(self, value: object, where: str, how: str, kept: Any) -> Any:  # noqa: ANN401
        self.lost.setdefault(where, f"{type_name(type(value))} as {how}")
        return kept

    def _container(self, value: Any, where: str, depth: int) -> Any:  # noqa: ANN401
        if isinstance(value, (list, tuple, collections.deque, collections.UserList, KeysView, ValuesView)):
            return [self.value(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
        if type(value).__module__.startswith("omegaconf."):
            return self.value(self._kept(value, where, "plain data", _plain_configuration(value)), where, depth)
        items = map_of(value)
        if items is not None:
            if not isinstance(value, dict):
                self._kept(value, where, "map", None)
            return self._items(items, where, depth)
        if isinstance(value, range):
            return {"type": "range", "start": value.start, "stop": value.stop, "step": value.step}
        if isinstance(value, (set, frozenset)):
            in_order = sorted(value, key=lambda item: (type_name(type(item)), _text_of(item)))
            return {"type": type(value).__name__, "items": self.value(in_order, where, depth + 1)}
        if isinstance(value, (bytes, bytearray, memoryview)):
            content = bytes(value)
            return {"type": type(value).__name__, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        if isinstance(value, array.array):
            return self._array(value, "array.array", value.typecode, (len(value),))
        if isinstance(value, functools.partial):
            arguments = {name: self.value(getattr(value, name), where, depth + 1) for name in ("args", "keywords")}
            return {
                "type": "functools.partial",
                "function": self.value(value.func, f"{where}.function", depth + 1),
                **arguments,
            }
        return self._object(value, where)

    def _items(self, items: Mapping[Any, Any], where: str, depth: int) -> dict[Any, Any]:
        values = [self.value(item, f"{where}.{_words(key)}", depth + 1) for key, item in items.items()]
        keys = [self._key(key, where) for key in items]
        if len(set(keys)) == len(keys):
            return dict(zip(keys, values, strict=True))
        pairs = [[self.value(key, where, depth + 1), item] for key, item in zip(items, values, strict=True)]
        return {"type": type(items).__name__, "items": pairs}  # 1 and "1" are both keys

    def _key(self, key: Any, where: str) -> Any:  # noqa: ANN401
        if isinstance(key, enum.Enum) and not isinstance(key, (str, int)):
            return key.name if self._lenient else self._kept(key, f"{where}.{key.name}", "text", key.name)
        if self._lenient:
            return str(self.value(key))
        if key is None or isinstance(key, (str, bool, int, float)):
            return key
        scalar = scalar_of(key)
        return self._kept(key, f"{where}.{key}", "text", str(key)) if scalar is None else scalar

    def _object(self, value: Any, where: str) -> Any:  # noqa: ANN401
        # Another thread may have only begun to import them: what is not there yet, nothing is an instance of.
        numpy: Any = sys.modules.get("numpy")
        torch: Any = sys.modules.get("torch")
        arrays: Any = getattr(numpy, "ndarray", ())
        void: Any = getattr(numpy, "void", ())
        module: Any = getattr(getattr(torch, "nn", None), "Module", ())
        if isinstance(value, (datetime.date, datetime.time)):
            return self._kept(value, where, "text", value.isoformat())
        if not self._lenient and any(_is_a(value, *each) for each in _INEXACT):
            try:
                return self._kept(value, where, "the nearest 64-bit float", nearest(value))
            except (OverflowError, ValueError):  # beyond the range of floats, a signaling NaN
                return self._kept(value, where, "text", str(value))
        if isinstance(value, (complex, uuid.UUID, getattr(numpy, "complexfloating", complex))) and not self._lenient:
            return self._kept(value, where, "text", str(value))
        if isinstance(value, datetime.timedelta):
            return described(value)
        if isinstance(value, getattr(torch, "Tensor", ())):
            return self._tensor(value)
        if isinstance(value, module):
            count = sum(parameter.numel() for parameter in value.parameters() if hasattr(parameter, "numel"))
            return {"type": type_name(type(value)), "parameters": count, "repr": _text_of(value)}
        if isinstance(value, arrays) and value.ndim:
            return self._array(value, "numpy.ndarray", str(value.dtype), value.shape)
        if isinstance(value, void):
            return self._array(numpy.asarray(value), "numpy.void", str(value.dtype), ())
        if numpy is not None and _is_column(value):
            return self._array(numpy.asarray(value), type_name(type(value)), str(value.dtype), (len(value),))
        if isinstance(value, tuple(getattr(numpy, name, ()) for name in ("dtype", "datetime64", "timedelta64"))):
            return self._kept(value, where, "text", str(value))
        scalar = scalar_of(value)
        if scalar is not None:
            return scalar
        if callable(value) and getattr(value, "__qualname__", None):
            name = f"{_module_of(value)}.{value.__qualname__}"
            return self._kept(value, where, "name", name)
        if {cls.__name__ for cls in type(value).__mro__} & _NAMED_BY_TEXT:
            return self._kept(value, where, "text", str(value))
        return described(value) if self._lenient else value

    def _tensor(self, tensor: Any) -> Any:  # noqa: ANN401
        data = tensor.detach()
        found = {"type": "torch.Tensor", "dtype": str(data.dtype), "shape": list(data.shape)}
        if data.device.type == "meta" or data.layout is not sys.modules["torch"].strided:
            return {**found, "device": str(data.device), "layout": str(data.layout)}
        if data.ndim == 0:
            return self.value(data.item())
        if data.numel() <= MAX_LISTED:
            return {**found, "values": self.value(data.tolist())}
        try:
            return self._array(data.cpu().contiguous().numpy(), "torch.Tensor", str(data.dtype), data.shape)
        except TypeError:  # such as bfloat16, which NumPy does not know
            return found

    def _array(self, values: Any, kind: str, dtype: str, shape: tuple[int, ...]) -> dict[str, Any]:  # noqa: ANN401
        found: dict[str, Any] = {"type": kind, "dtype": dtype, "shape": list(shape)}
        held = getattr(values, "dtype", None)
        if held is not None and held.kind in "mM":
            values = values.astype(str)
        if math.prod(shape) <= MAX_LISTED:
            found["values"] = Plain(lenient=True).value(values.tolist())
        elif held is not None and held.hasobject:
            found["repr"] = _text_of(values)
        else:
            found["sha256"] = hashlib.sha256(values.tobytes()).hexdigest()
        return found


def _is_column(value: object) -> bool:
    """Return whether a value is a column or an index of pandas or polars, such as the names of the features."""
    cls = type(value)
    is_theirs = cls.__module__.partition(".")[0] in ("pandas", "polars")
    return is_theirs and any(base.__name__ in ("Series", "Index", "ExtensionArray") for base in cls.__mro__)


def _plain_configuration(value: Any) -> Any:  # noqa: ANN401 - of OmegaConf
    configurations: Any = sys.modules["omegaconf"].OmegaConf
    try:
        return configurations.to_container(value, resolve=True, throw_on_missing=False)
    except Exception:  # an interpolation that leads nowhere: then as it is written
        return configurations.to_container(value, resolve=False, throw_on_missing=False)


def _text_of(value: object) -> str:
    try:
        text = _ADDRESS.sub("", repr(value))
    except Exception:  # whatever a stranger's __repr__ does
        return ""
    return text[:_MAX_REPR].encode("utf-8", "replace").decode()


def _words(key: object) -> str:
    return key_text(key) if key is None or isinstance(key, (str, int, float)) else _text_of(key)


def _module_of(value: Any) -> str:  # noqa: ANN401
    module = getattr(value, "__module__", None)
    return module if isinstance(module, str) else type(value).__module__
