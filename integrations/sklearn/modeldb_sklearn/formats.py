"""Estimators as skops files, and scikit-learn's own data sets."""

from __future__ import annotations

import functools
import io
import zipfile
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import IntegrityError, InvalidTypeError, MissingDependencyError, UntrustedModelError
from modeldb_core.tracking.description.model_formats import DumpedModel, class_name, versions_of
from modeldb_sklearn.skops_import import import_skops, only_loaded
from modeldb_sklearn.skops_types import HARMLESS, support_pandas

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT = "skops"
FILE = "model.skops"
_MAX_TIMES = 200  # the description in a file is so many times longer than packed
_MAX_REPEATED = 100_000  # containers and objects in a model that are written again, since several parts share them
_BY_NAME = (type, ModuleType, FunctionType, MethodType)  # what they hold is not written
_INSTALL = "pip install 'modeldb-core[sklearn]'"


def dump(model: object, path: Path) -> dict[str, Any] | None:
    """Write an estimator into the folder ``path``; ``None`` for what is not an estimator.

    Raises:
        InvalidTypeError: skops cannot write something in it.
        MissingDependencyError: skops is not installed.
    """
    if not is_estimator(model):
        return None
    data = dump_bytes(model)
    (path / FILE).write_bytes(data)
    return {**describe(model), "untrusted_types": _untrusted(data), "signature": signature_of(model)}


def dump_now(model: object, signature: dict[str, Any]) -> DumpedModel:
    """Return a model as it is at this moment; what takes time besides is left for when it is logged."""
    data = dump_bytes(model)
    return DumpedModel(
        {FILE: data},
        {"class": class_name(model), **describe(model), "signature": signature},
        lambda: {"untrusted_types": _untrusted(data)},
    )


def dump_bytes(model: object) -> bytes:
    """Return an estimator in the skops format; raises as :func:`dump` does."""
    skops_io = _skops()
    support_pandas()
    from skops.io.exceptions import UnsupportedTypeException

    try:
        _check_shared(model)
        data: bytes = skops_io.dumps(model)
    except (UnsupportedTypeException, NotImplementedError, AttributeError, TypeError, RecursionError) as error:
        reason = "something in it leads back to itself" if isinstance(error, RecursionError) else error
        msg = (
            f"skops cannot write the model {class_name(model)} ({reason}); leave out what it cannot, or ask for "
            "log_model(model, model_format='pickle'), which runs code when it is loaded"
        )
        raise InvalidTypeError(msg) from error
    return data


def _check_shared(model: object) -> None:
    """Refuse what skops would write for ever: it writes a shared part once for each way that leads to it."""
    from skops.io.exceptions import UnsupportedTypeException

    counts: dict[int, int] = {}
    if _count_written(model, counts) > _MAX_REPEATED + len(counts):
        msg = "parts that many others share, which it writes again for each of them"
        raise UnsupportedTypeException(msg)


def _count_written(value: object, counts: dict[int, int]) -> int:
    """Return how many containers and objects skops writes for ``value``; each is looked into once, cycles included."""
    held = _held_by(value)
    if held is None:
        return 0
    if id(value) not in counts:
        counts[id(value)] = 1
        counts[id(value)] += sum(_count_written(part, counts) for part in held)
    return counts[id(value)]


def _held_by(value: object) -> Iterable[Any] | None:
    """Return what a container or an object holds, and ``None`` for what holds nothing."""
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, (list, tuple, set, frozenset)):
        return value
    if isinstance(value, _BY_NAME):
        return None
    try:
        return value.__dict__.values() or None
    except Exception:  # whatever an object of others raises; most have none
        return None


def describe(model: object) -> dict[str, Any]:
    """Return what is to be known of the file besides its types."""
    package = type(model).__module__.partition(".")[0]
    return {"format": FORMAT, "file": FILE, "packages": dict(_versions(package))}


@functools.cache
def _versions(package: str) -> dict[str, str]:
    """Return the versions of what a model depends on; looking them up costs milliseconds."""
    return versions_of(*dict.fromkeys(("scikit-learn", "skops", "numpy", "scipy", package)))


def untrusted_types(data: bytes) -> list[str]:
    """Return the types in a skops file that are not known to be harmless, which a reader has to allow."""
    found: list[str] = _skops().get_untrusted_types(data=data)
    return [name for name in found if name not in HARMLESS]


def _untrusted(data: bytes) -> list[str]:
    """Return the same of a model that is in memory, without importing what it does not hold."""
    with only_loaded():
        return untrusted_types(data)


def load(path: Path, trusted: Iterable[str]) -> object:
    """Read an estimator from the folder ``path``.

    Raises:
        UntrustedModelError: it holds types that are neither harmless nor in ``trusted``; nothing of them was built.
        IntegrityError: the file is not one of skops.
        MissingDependencyError: skops is not installed.
    """
    skops_io = _skops()
    from skops.io.exceptions import UntrustedTypesFoundException

    data = (path / FILE).read_bytes()
    allowed = set(trusted)
    try:
        _check_size(data)
        missing = [name for name in untrusted_types(data) if name not in allowed]
        if missing:
            msg = (
                f"the model holds types that are not known to be harmless: {', '.join(missing)}; if you trust them and "
                f"who wrote it, load it with trusted={missing!r}"
            )
            raise UntrustedModelError(msg)
        # Only what is both in the file and allowed: a name that is in neither list would be refused by skops.
        found = skops_io.get_untrusted_types(data=data)
        return skops_io.load(io.BytesIO(data), trusted=[name for name in found if name in allowed | HARMLESS])
    except UntrustedTypesFoundException as error:
        raise UntrustedModelError(str(error)) from error
    except (zipfile.BadZipFile, KeyError, RecursionError) as error:
        msg = f"the model file is not one that skops wrote: {error}"
        raise IntegrityError(msg) from error


def _check_size(data: bytes) -> None:
    """Refuse a file that would fill the memory before anything in it is looked at: skops reads its schema whole."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        schema = archive.getinfo("schema.json")
    if schema.file_size > (1 << 20) + _MAX_TIMES * schema.compress_size:
        msg = f"its description has {schema.file_size:,} bytes, packed into {schema.compress_size:,}"
        raise zipfile.BadZipFile(msg)


def is_estimator(model: object) -> bool:
    """Return whether ``model`` is an instance of an estimator class."""
    from sklearn.base import BaseEstimator

    return isinstance(model, BaseEstimator)


def signature_of(model: Any) -> dict[str, Any]:  # noqa: ANN401 - any estimator
    """Return what a fitted estimator takes: the number of features and, where it saw them, their names."""
    count = getattr(model, "n_features_in_", None)
    names = getattr(model, "feature_names_in_", None)
    inputs: dict[str, Any] = {}
    if count is not None:
        inputs["shape"] = [None, int(count)]
    if names is not None:
        inputs["columns"] = [str(name) for name in names]
    return {"inputs": inputs} if inputs else {}


def describe_bunch(obj: object) -> dict[str, Any] | None:
    """Describe what ``sklearn.datasets.load_...()`` returns as labelled data with its origin."""
    from sklearn.utils import Bunch

    if not isinstance(obj, Bunch) or "data" not in obj:
        return None
    from modeldb_core.tracking.description.datasets import Labelled, describe

    features, target = obj["data"], obj.get("target")
    found = describe(features if target is None else Labelled(features, target))
    if names := obj.get("feature_names"):
        found["schema"] = {**found["schema"], "feature_names": [str(name) for name in names]}
    origin = {"type": "sklearn.datasets"}
    if obj.get("filename"):
        origin["file"] = Path(str(obj["filename"])).name
    return {**found, "origin": origin, "type": "sklearn.utils.Bunch"}


def _skops() -> Any:  # noqa: ANN401 - it has no types
    try:
        return import_skops()
    except ImportError as error:
        msg = f"models of scikit-learn are stored with skops, which is not installed; {_INSTALL}"
        raise MissingDependencyError(msg) from error
