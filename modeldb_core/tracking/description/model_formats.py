"""Model formats: how a model becomes files, and a model again.

Formats are plugins (``modeldb_dump_model``, ``modeldb_load_model``); scikit-learn's, skops, comes with ModelDB. Loading a
model builds only types that are known to be harmless or that the caller allows by name. Pickle runs whatever code it
carries when it is loaded: it is written only when asked for, ``log_model(model, model_format="pickle")``, and read only by
somebody who says ``trusted=["pickle"]``.
"""

from __future__ import annotations

import pickle
import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import (
    InvalidArgumentError,
    InvalidTypeError,
    MissingDependencyError,
    ModelDBError,
    ModelLoadError,
    UntrustedModelError,
)
from modeldb_core.plugins import plugin_manager
from modeldb_core.tracking.description.model_types import NotingPickler, names_in, packages_of, problems_of
from modeldb_core.tracking.description.signatures import guard, unguarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from modeldb_core.config import Settings

PICKLE = "pickle"
PICKLE_FILE = "model.pkl"


@dataclass(slots=True)
class DumpedModel:
    """A model as it was at some moment, to be logged later: ``run.log_model(DumpedModel(...))``.

    Attributes:
        files: the content of its files by name.
        description: as :func:`dump_model` returns it.
        complete: works out the rest of the description when the model is logged.
    """

    files: Mapping[str, bytes]
    description: dict[str, Any]
    complete: Callable[[], Mapping[str, Any]] | None = field(default=None)


def dump_model(
    model: object,
    folder: Path,
    *,
    settings: Settings | None = None,
    model_format: str = "",
    signature: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a model into an empty folder.

    Args:
        model: the model, or a :class:`DumpedModel`.
        folder: where its files go.
        settings: whose plugins are asked; default: all.
        model_format: the name of the format that it must be; default: the first that a plugin offers, never pickle.
        signature: what goes in and comes out, where the caller knows it better than the format.

    Returns:
        Its description: ``format``, ``file``, ``class``, ``python``, ``packages`` (versions by name) and, where known,
        ``untrusted_types`` (what a reader has to allow), ``signature``, and ``problems``: in sentences, what a reader
        will not find.

    Raises:
        InvalidTypeError: no plugin knows how to write such a model in this format.
        InvalidArgumentError: the plugin that wrote it broke its contract.
    """
    if isinstance(model, DumpedModel):
        for name, content in model.files.items():
            (folder / name).write_bytes(content)
        completed = model.complete() if model.complete is not None else {}
        return _with_needs(folder, {"python": platform.python_version(), **model.description, **completed})
    with unguarded(model):
        if model_format == PICKLE:
            description = _dump_pickle(model, folder)
        else:
            result = plugin_manager(settings).call("modeldb_dump_model", model=model, path=folder)
            description = _with_needs(folder, _checked(model, result, model_format))
    if signature is not None:
        description["signature"] = dict(signature)
    return description


def load_model(
    folder: Path, description: Mapping[str, Any], *, trusted: Iterable[str] = (), settings: Settings | None = None
) -> object:
    """Return the model that :func:`dump_model` wrote into ``folder``.

    Args:
        folder: its files.
        description: what :func:`dump_model` returned.
        trusted: names of types that may be built beyond the harmless ones; ``"pickle"``: any code may be run.
        settings: whose plugins are asked; default: all.

    A model that was fitted with named columns takes those from a table, in order, and refuses one that lacks any of them,
    except such as a ``ColumnTransformer`` at its beginning never looks at.

    Raises:
        UntrustedModelError: it holds types that ``trusted`` does not name, which the message lists.
        ModelLoadError: something that it needs is not here; the message says what.
        MissingDependencyError: no installed plugin reads its format.
        InvalidTypeError: ``trusted`` is not a list of names.
    """
    names = list(trusted)
    if isinstance(trusted, str) or not all(isinstance(name, str) for name in names):
        msg = f"trusted = {trusted!r}; expected a list of names of types"
        raise InvalidTypeError(msg)
    model_format = str(description.get("format", ""))
    try:
        if model_format == PICKLE:
            model = _load_pickle(folder, description, names)
        else:
            call = plugin_manager(settings).call
            model = call("modeldb_load_model", path=folder, model_format=model_format, trusted=names)
    except ModelDBError:
        raise
    except Exception as error:  # whatever the classes of the model raise, or the lack of them
        raise _not_loadable(description, error) from error
    if model is None:
        packages = description.get("packages") or {}
        advice = f"it was written with {', '.join(packages)}" if packages else "install the plugin that wrote it"
        msg = f"no installed plugin reads models of the format {model_format!r}; {advice}"
        raise MissingDependencyError(msg)
    guard(model, description.get("signature") or {})
    return model


def _not_loadable(description: Mapping[str, Any], error: Exception) -> ModelLoadError:
    """Return the error that says why a model cannot be loaded: what was known when it was stored, and what differs."""
    reasons = [str(problem) for problem in description.get("problems") or ()]
    written = {str(name): str(found) for name, found in (description.get("packages") or {}).items()}
    here = versions_of(*written)
    for name, version in written.items():
        if here.get(name) != version:
            reasons.append(f"it was written with {name} {version}, here is {here.get(name, 'none')}")
    if (python := str(description.get("python", ""))) and python != platform.python_version():
        reasons.append(f"it was written by Python {python}, this is {platform.python_version()}")
    known = "; ".join(reasons) or "nothing about it was noted when it was stored"
    return ModelLoadError(
        f"the model ({description.get('class', 'of unknown class')}) cannot be loaded here: {type(error).__name__}: {error}. "
        f"What is known: {known}"
    )


def _with_needs(folder: Path, description: dict[str, Any], names: set[str] | None = None) -> dict[str, Any]:
    """Return a description with the packages of all parts of the model, and with what a reader will not find."""
    file = description.get("file")
    if names is None:
        names = names_in(folder / file) if isinstance(file, str) else set()
    packages = {**versions_of(*packages_of(names)), **(description.get("packages") or {})}
    problems = problems_of(names)
    return {**description, "packages": packages, **({"problems": problems} if problems else {})}


def class_name(value: object) -> str:
    """Return the full name of a value's class."""
    cls = type(value)
    return f"{cls.__module__}.{cls.__qualname__}"


def versions_of(*distributions: str) -> dict[str, str]:
    """Return the versions of those of ``distributions`` that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _checked(model: object, result: object, model_format: str) -> dict[str, Any]:
    if result is None:
        msg = (
            f"no installed plugin knows how to write a model of type {class_name(model)}; "
            "log its files with log_artifact, or ask for model_format='pickle', which runs code when it is loaded"
        )
        raise InvalidTypeError(msg)
    if not isinstance(result, dict) or not isinstance(result.get("format"), str):
        msg = f"a plugin described the model {class_name(model)} as {result!r:.200}; expected a map with 'format'"
        raise InvalidArgumentError(msg)
    if model_format and result["format"] != model_format:
        msg = (
            f"no installed plugin writes a model of type {class_name(model)} as {model_format!r}; "
            f"one offers {result['format']!r}"
        )
        raise InvalidTypeError(msg)
    return {"class": class_name(model), "python": platform.python_version(), **result}


def _dump_pickle(model: object, folder: Path) -> dict[str, Any]:
    with (folder / PICKLE_FILE).open("wb") as stream:
        pickler = NotingPickler(stream)
        try:
            pickler.dump(model)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            msg = f"model of type {class_name(model)} cannot be pickled: {error}"
            raise InvalidTypeError(msg) from error
    package = type(model).__module__.partition(".")[0]
    description = {
        "format": PICKLE,
        "file": PICKLE_FILE,
        "class": class_name(model),
        "python": platform.python_version(),
        "packages": versions_of(package, "scikit-learn", "numpy") if package == "sklearn" else versions_of(package),
        "untrusted_types": [PICKLE],
    }
    return _with_needs(folder, description, pickler.names)


def _load_pickle(folder: Path, description: Mapping[str, Any], trusted: list[str]) -> object:
    if PICKLE not in trusted:
        msg = (
            f"the model ({description.get('class', 'of unknown class')}) is a pickle, which runs whatever code it "
            "carries; if you trust who wrote it, load it with trusted=['pickle']"
        )
        raise UntrustedModelError(msg)
    with (folder / PICKLE_FILE).open("rb") as stream:
        return pickle.load(stream)  # noqa: S301 - the caller asked for it by name
