"""Describes torch's data sets and data loaders without reading what is not in memory, and without touching their order."""

from __future__ import annotations

import sys
from typing import Any

from modeldb_core.errors import InvalidTypeError
from modeldb_core.tracking.description.datasets import describe as describe_data
from modeldb_core.tracking.description.digests import ContentHash
from modeldb_lightning.hyperparameters import type_name, typed

MAX_BYTES = 1 << 30
"""Tensors of more bytes than this are not hashed."""

_PLAIN = (str, int, float, bool, type(None))


def describe(obj: object) -> dict[str, Any] | None:
    """Return a description of a data set, a data loader, or a list of them; ``None`` for anything else."""
    torch: Any = sys.modules["torch"]
    data: Any = getattr(torch.utils, "data", None)
    if data is None:
        return None
    loader: dict[str, Any] = {}
    if isinstance(obj, data.DataLoader):
        loader = {
            "batch_size": obj.batch_size,
            "sampler": type_name(type(obj.sampler)),
            "workers": obj.num_workers,
            "drop_last": obj.drop_last,
        }
        obj = obj.dataset
    if not isinstance(obj, data.Dataset):
        return None
    described = _of_dataset(obj, data)
    if loader:
        described["loader"] = loader
    return described


def _of_dataset(dataset: Any, data: Any) -> dict[str, Any]:  # noqa: ANN401
    length = _length(dataset)
    found: dict[str, Any] = {"kind": "dataset", "type": type_name(type(dataset))}
    found["shape"] = None if length is None else [length]
    facts = {
        name: typed(value)
        for name, value in vars(dataset).items()
        if not name.startswith("_") and (isinstance(value, _PLAIN) or hasattr(value, "__fspath__"))
    }
    if facts:
        found["attributes"] = facts
    if isinstance(dataset, data.TensorDataset):
        found |= _of_tensors(dataset.tensors)
    elif isinstance(dataset, data.Subset):
        found |= _of_parts("subset", [dataset.dataset], data, getattr(dataset, "indices", ()))
    elif isinstance(dataset, data.ConcatDataset):
        found |= _of_parts("concatenation", dataset.datasets, data)
    # A class of the program's own may give other items than these.
    if "digest" in found and type(dataset).__module__.partition(".")[0] != "torch":
        del found["digest"]
        found["note"] = f"it has no digest: what a {found['type']} makes of its data is not known"
    return found


def _of_tensors(tensors: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return shape and schema of tensors; the digest too, where they lie in main memory and are not too large."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    schema = {"tensors": [{"dtype": str(tensor.dtype), "shape": list(tensor.shape)} for tensor in tensors]}
    found = {"kind": "tensors", "size_bytes": size, "schema": schema}
    if size > MAX_BYTES or any(tensor.device.type != "cpu" for tensor in tensors):
        return found
    try:
        digests = [describe_data(tensor)["digest"] for tensor in tensors]
    except InvalidTypeError:  # such as bfloat16, which NumPy does not know
        return found
    return {**found, **_digest_of("tensors", digests)}


def _of_parts(kind: str, parts: Any, data: Any, indices: Any = ()) -> dict[str, Any]:  # noqa: ANN401
    described = [_of_dataset(part, data) for part in parts]
    found: dict[str, Any] = {"parts": described}
    return {**found, **_digest_of(kind, [part.get("digest", "") for part in described], indices)}


def _digest_of(kind: str, digests: list[str], indices: Any = None) -> dict[str, str]:  # noqa: ANN401
    """Return the digest of what is made of parts, nothing where one of them has none."""
    if not all(digests):
        return {}
    content = ContentHash()
    content.text(kind)
    for digest in digests:
        content.raw(bytes.fromhex(digest))
    if indices is not None:
        content.sequence(indices.tolist() if hasattr(indices, "tolist") else list(indices))
    return {"digest": content.hexdigest()}


def _length(dataset: Any) -> int | None:  # noqa: ANN401
    try:
        return len(dataset)
    except (TypeError, NotImplementedError):  # an iterable one
        return None


def loaders_of(found: Any) -> list[Any]:  # noqa: ANN401 - a loader, or a list, a tuple or a map of them
    """Return the data loaders in what a trainer was given."""
    if found is None:
        return []
    if isinstance(found, dict):
        return [loader for value in found.values() for loader in loaders_of(value)]
    if isinstance(found, (list, tuple)):
        return [loader for value in found for loader in loaders_of(value)]
    inner = getattr(found, "iterables", None)  # Lightning's CombinedLoader
    return loaders_of(inner) if inner is not None else [found]
