"""Reads settings from a file, from the environment and from arguments, and checks their types and ranges."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import Field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from modeldb_core.errors import ConfigurationError
from modeldb_core.model.values import MAX_NAME_LENGTH
from modeldb_core.runtime.notices import warn
from modeldb_core.runtime.redaction import redact_value

ENVIRONMENT_PREFIX = "MODELDB_"
CONFIG_VARIABLE = "MODELDB_CONFIG"
ARGUMENT = "argument"
FOLDER_PREFIX = "file://"
"""Makes the absolute path of a folder the URL of an artifact store, where none is given."""


class WrittenURL(NamedTuple):
    """The URL of a store as it was written, and the folder from which a relative path in it is taken."""

    url: str
    base: Path


Source = dict[str, tuple[Any, str]]
"""Values and where they come from, by the name of the setting."""
Specs = list[Field[Any]]
"""The fields of the settings; their metadata says how each is read."""


def key_of(spec: Field[Any]) -> str:
    """Return the key of a setting in ``modeldb.toml``, such as ``server.port``."""
    table = spec.metadata.get("table")
    return f"{table}.{spec.name.removeprefix(table + '_')}" if table else spec.name


def shown(value: object, name: str) -> object:
    """Return the value of a setting as it may be shown."""
    return redact_value(str(value) if isinstance(value, Path) else value, name)


def from_file(path: Path, all_specs: Specs) -> Source:
    """Return what a ``modeldb.toml`` says.

    Raises:
        ConfigurationError: it cannot be read, or a key or a value is wrong.
    """
    import tomllib

    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or an integer of thousands of digits
        msg = f"{path} is not valid TOML: {error}"
        raise ConfigurationError(msg) from error
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise ConfigurationError(msg) from error
    specs = {key_of(spec): spec for spec in all_specs}
    tables = {key.partition(".")[0] for key in specs if "." in key}
    result: Source = {}
    for key, value in _flatten(data, tables):
        if key not in specs:
            msg = f"{path}: the key {key!r} is unknown{_did_you_mean(key, specs)}"
            raise ConfigurationError(msg)
        spec = specs[key]
        result[spec.name] = (_check(spec, value, f"{path}: {key}", path.parent), str(path))
    return result


def _flatten(data: Mapping[str, object], tables: set[str]) -> Iterator[tuple[str, object]]:
    for key, value in data.items():
        if key in tables and isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", item) for inner, item in value.items())
        else:
            yield key, value


def from_environment(environ: Mapping[str, str], base: Path, all_specs: Specs) -> Source:
    """Return what ``MODELDB_*`` variables say; relative paths are relative to ``base``.

    Raises:
        ConfigurationError: a value is wrong.
    """
    specs = {ENVIRONMENT_PREFIX + spec.name.upper(): spec for spec in all_specs if spec.metadata["kind"] != "table"}
    result: Source = {}
    for variable, text in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == CONFIG_VARIABLE:
            continue
        if variable in specs:
            if text:
                spec = specs[variable]
                result[spec.name] = (_check(spec, _parse(spec, text, variable), variable, base), variable)
        elif get_close_matches(variable, specs, 1, 0.85):
            warn(f"the environment variable {variable} is not used{_did_you_mean(variable, specs)}")
    return result


def from_arguments(overrides: Mapping[str, object], base: Path, all_specs: Specs) -> Source:
    """Return what arguments say; ``None`` means not given.

    Raises:
        ConfigurationError: there is no such setting, or its value is wrong.
    """
    specs = {spec.name: spec for spec in all_specs}
    result: Source = {}
    for name, value in overrides.items():
        if name not in specs:
            msg = f"the setting {name!r} is unknown{_did_you_mean(name, specs)}"
            raise ConfigurationError(msg)
        if value is not None:
            result[name] = (_check(specs[name], value, name, base), ARGUMENT)
    return result


def _did_you_mean(name: str, known: Mapping[str, object]) -> str:
    close = get_close_matches(name, known, 1, 0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


# -- values -----------------------------------------------------------------------------------------------------------

_BOOLS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _parse(spec: Field[Any], text: str, where: str) -> object:
    """Return what the text of an environment variable means."""
    kind = spec.metadata["kind"]
    if kind == "list":
        return [item.strip() for item in text.split(",") if item.strip()]
    if kind == "bool":
        if text.strip().lower() not in _BOOLS:
            raise _wrong(spec, text, where, "1, true, yes, on, 0, false, no or off")
        return _BOOLS[text.strip().lower()]
    if kind in ("int", "float"):
        try:
            return int(text) if kind == "int" else float(text)
        except ValueError:
            raise _wrong(spec, text, where, "a whole number" if kind == "int" else "a number") from None
    return text


def _check(spec: Field[Any], value: object, where: str, base: Path) -> object:
    """Return ``value`` in the type of the setting; relative paths are taken from ``base``.

    Raises:
        ConfigurationError: it has another type or lies outside the range.
    """
    kind = spec.metadata["kind"]
    if kind in ("name", "text") and isinstance(value, str) and not _is_unicode(value):
        raise _wrong(spec, value, where, "text: it holds bytes that are not UTF-8")
    if kind in ("int", "float"):
        return _check_number(spec, value, where)
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "list" and isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if kind == "table" and isinstance(value, Mapping) and all(isinstance(item, Mapping) for item in value.values()):
        return MappingProxyType(dict(value))
    if kind == "path" and isinstance(value, (str, os.PathLike)) and str(value):
        return (base / os.path.expanduser(value)).absolute()
    least = 1 if spec.default else 0
    if kind == "name" and isinstance(value, str) and "\0" not in value and least <= len(value) <= MAX_NAME_LENGTH:
        return value
    if isinstance(value, os.PathLike) and kind == "url":
        value = os.fspath(value)
    if isinstance(value, str) and kind in ("text", "url", "choice"):
        choices = spec.metadata.get("choices")
        if choices and value not in choices:
            raise _wrong(spec, value, where, " or ".join(map(repr, choices)))
        return _written(spec, value, base) if kind == "url" else value
    expected = {
        "bool": "true or false",
        "list": "a list of strings",
        "name": f"a string of {least} to {MAX_NAME_LENGTH} characters",
        "table": "a table of tables",
        "path": "a path",
        "url": "a URL",
    }
    raise _wrong(spec, value, where, expected.get(kind, "a string"))


def _is_unicode(text: str) -> bool:
    """Return whether a text can be stored: a variable or an argument of bytes that are no UTF-8 holds lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_number(spec: Field[Any], value: object, where: str) -> int | float:
    whole = spec.metadata["kind"] == "int"
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise _wrong(spec, value, where, "a whole number" if whole else "a number")
    low, high = spec.metadata.get("minimum"), spec.metadata.get("maximum")
    if not ((low is None or value >= low) and (high is None or value <= high) and abs(value) != float("inf")):
        limits = f"from {low} to {high}" if high is not None else f"of at least {low}"
        raise _wrong(spec, value, where, f"a finite number {limits}")
    return value if whole else float(value)


def _written(spec: Field[Any], url: str, base: Path) -> WrittenURL:
    if url and "://" not in url and spec.metadata.get("is_folder"):
        return WrittenURL(f"{FOLDER_PREFIX}{(base / os.path.expanduser(url)).absolute()}", base)
    return WrittenURL(url, base)


def _wrong(spec: Field[Any], value: object, where: str, expected: str) -> ConfigurationError:
    return ConfigurationError(
        f"{where} has the value {shown(value, spec.name)!r} of type {type(value).__name__}; expected {expected}"
    )
