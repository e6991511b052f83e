"""Hyperparameters of any type, as values that can be stored and searched: never cut, never lost, never an error."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import hashlib
import os
import re
import sys
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

import numpy as np

from modeldb_core.values import MAX_KEY_LENGTH, scalar_of

MAX_LISTED = 1000
"""Arrays and tensors with more elements are described by shape and digest; lists and maps are always kept whole."""

_MAX_DEPTH = 40  # deeper nesting is described in words: it is most likely a cycle
_MAX_REPR = 10_000
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def typed_map(parameters: Any) -> tuple[dict[str, Any], list[str]]:  # noqa: ANN401 - a map, a Namespace, a configuration
    """Return hyperparameters by name, and those names that had to be changed, as they were given.

    What is no map at all stands under ``"hyperparameters"``.
    """
    value = typed(parameters)
    if not isinstance(value, dict) or "type" in value:
        return {"hyperparameters": value}, []
    names = {key: fitting_key(key) for key in value}
    return {names[key]: item for key, item in value.items()}, [key for key, name in names.items() if key != name]


def fitting_key(key: object) -> str:
    """Return ``key`` as a name that every store takes; one that cannot be kept is told apart by its digest."""
    text = str(key).replace("\0", "␀").encode("utf-8", "replace").decode()
    if len(text) > MAX_KEY_LENGTH:
        return f"{text[:1000]}…{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return text or "(no name)"


def typed(value: Any, depth: int = 0) -> Any:  # noqa: ANN401 - any value
    """Return ``value`` as one that can be stored; what cannot be is described by its ``type`` and more."""
    if value is None or (isinstance(value, (bool, int, float)) and not isinstance(value, enum.Enum)):
        return value
    if isinstance(value, enum.Enum):
        return {"type": type_name(type(value)), "name": value.name, "value": typed(value.value, depth + 1)}
    if isinstance(value, str):
        return str.__str__(value).encode("utf-8", "replace").decode()
    if isinstance(value, os.PathLike):
        return typed(os.fspath(value), depth)
    if depth > _MAX_DEPTH:
        return described(value)
    return _typed_container(value, depth)


def _typed_container(value: Any, depth: int) -> Any:  # noqa: ANN401
    if type(value).__module__.startswith("omegaconf."):
        return typed(_plain_configuration(value), depth)
    if isinstance(value, Namespace):
        value = vars(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {item.name: getattr(value, item.name, None) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return _typed_items(value, depth)
    if isinstance(value, (list, tuple)):
        return [typed(item, depth + 1) for item in value]
    if isinstance(value, range):
        return {"type": "range", "start": value.start, "stop": value.stop, "step": value.step}
    if isinstance(value, (set, frozenset)):
        return {"type": type(value).__name__, "items": [typed(item, depth + 1) for item in sorted(value, key=repr)]}
    if isinstance(value, (bytes, bytearray)):
        return {"type": type(value).__name__, "size": len(value), "sha256": hashlib.sha256(value).hexdigest()}
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, functools.partial):
        arguments = {"args": typed(value.args, depth + 1), "keywords": typed(value.keywords, depth + 1)}
        return {"type": "functools.partial", "function": typed(value.func, depth + 1), **arguments}
    return _typed_object(value)


def _typed_object(value: Any) -> Any:  # noqa: ANN401
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        if isinstance(value, torch.Tensor):
            return _typed_tensor(value)
        if isinstance(value, torch.nn.Module):
            count = sum(parameter.numel() for parameter in value.parameters() if hasattr(parameter, "numel"))
            return {"type": type_name(type(value)), "parameters": count, "repr": _text_of(value)}
        if isinstance(value, (torch.dtype, torch.device)):
            return str(value)
    if isinstance(value, np.ndarray) and value.ndim:
        return _typed_array(value, "numpy.ndarray", str(value.dtype))
    scalar = scalar_of(value)
    if scalar is not None:
        return scalar
    if callable(value) and getattr(value, "__qualname__", None):
        return f"{_module_of(value)}.{value.__qualname__}"
    return described(value)


def _typed_items(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    keys = [key.name if isinstance(key, enum.Enum) else str(typed(key)) for key in value]
    items = [typed(item, depth + 1) for item in value.values()]
    if len(set(keys)) == len(keys):
        return dict(zip(keys, items, strict=True))
    pairs = [[typed(key, depth + 1), item] for key, item in zip(value, items, strict=True)]
    return {"type": type(value).__name__, "items": pairs}  # 1 and "1" are both keys


def _plain_configuration(value: Any) -> Any:  # noqa: ANN401 - of OmegaConf
    configurations: Any = sys.modules["omegaconf"].OmegaConf
    try:
        return configurations.to_container(value, resolve=True, throw_on_missing=False)
    except Exception:  # an interpolation that leads nowhere: then as it is written
        return configurations.to_container(value, resolve=False, throw_on_missing=False)


def _typed_tensor(tensor: Any) -> Any:  # noqa: ANN401
    data = tensor.detach()
    described_as = {"type": "torch.Tensor", "dtype": str(data.dtype), "shape": list(data.shape)}
    if data.device.type == "meta" or data.layout is not sys.modules["torch"].strided:
        return {**described_as, "device": str(data.device), "layout": str(data.layout)}
    if data.ndim == 0:
        return typed(data.item())
    if data.numel() <= MAX_LISTED:
        return {**described_as, "values": typed(data.tolist())}
    try:
        return _typed_array(data.cpu().contiguous().numpy(), "torch.Tensor", str(data.dtype))
    except TypeError:  # such as bfloat16, which NumPy does not know
        return described_as


def _typed_array(array: Any, kind: str, dtype: str) -> dict[str, Any]:  # noqa: ANN401
    found: dict[str, Any] = {"type": kind, "dtype": dtype, "shape": list(array.shape)}
    if array.size <= MAX_LISTED:
        found["values"] = typed(array.tolist())
    elif array.dtype.hasobject:
        found["repr"] = _text_of(array)
    else:
        found["sha256"] = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return found


def described(value: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the type and the words of something that cannot be stored."""
    return {"type": type_name(type(value)), "repr": _text_of(value)}


def type_name(cls: type) -> str:
    """Return the full name of a class; of a built-in one just its name."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _text_of(value: object) -> str:
    try:
        text = _ADDRESS.sub("", repr(value))
    except Exception:  # whatever a stranger's __repr__ does
        return ""
    return text[:_MAX_REPR].encode("utf-8", "replace").decode()


def _module_of(value: Any) -> str:  # noqa: ANN401
    module = getattr(value, "__module__", None)
    return module if isinstance(module, str) else type(value).__module__
