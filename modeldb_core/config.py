"""The settings: argument > ``MODELDB_*`` environment variable > ``modeldb.toml`` > default.

Every value knows where it came from, and secrets are hidden wherever settings are shown. ``docs/configuration.md``
lists the settings.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote

from modeldb_core.errors import ConfigurationError
from modeldb_core.notices import warn
from modeldb_core.owners import folder_beside
from modeldb_core.redaction import redact_value
from modeldb_core.values import MAX_NAME_LENGTH

FILE_NAME = "modeldb.toml"
ENVIRONMENT_PREFIX = "MODELDB_"
CONFIG_VARIABLE = "MODELDB_CONFIG"
DEFAULT_URL = "sqlite:///modeldb.db"


def _setting(kind: str, default: object, help_text: str, **more: object) -> Any:  # noqa: ANN401
    """Return a dataclass field that knows how its text is read; ``table`` is its table in ``modeldb.toml``."""
    metadata = {"kind": kind, "help": help_text, **more}
    if isinstance(default, Mapping):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """The settings in force. Get one from :func:`load_settings`.

    Times are in seconds. URLs and paths are absolute: a later ``os.chdir`` does not move the store.
    """

    url: str = _setting("url", DEFAULT_URL, "where runs are kept")
    artifact_url: str = _setting("url", "", "where files and models are kept; default: beside the store")
    workspace: str = _setting("name", "default", "the workspace that projects belong to")
    project: str = _setting("name", "default", "the project of a run that names none")
    experiment: str = _setting("name", "default", "the experiment of a run that names none")
    user: str = _setting("text", "", "who is recorded as the author of changes; default: the login name")
    journal_dir: Path = _setting(  # noqa: RUF009
        "path", Path(), "folder of the crash-safe journals; default: in the user's state folder"
    )
    cache_dir: Path = _setting(  # noqa: RUF009
        "path", Path(), "folder of what can be fetched again; default: in the user's cache folder"
    )
    token: str = _setting("text", "", "what this process shows a server to be let in")
    durability: str = _setting(
        "choice",
        "process",
        'what a log call outlives once it returned: "process" (the process), "fsync" (a power failure too)',
        choices=("process", "fsync"),
    )
    lease_s: float = _setting("float", 30.0, "a run whose writer was silent for so long reads as lost", minimum=1.0)
    flush_interval_s: float = _setting("float", 1.0, "how often what was logged is shipped", minimum=0.01)
    exit_timeout_s: float = _setting("float", 30.0, "how long a process waits at exit for a slow store", minimum=0.0)
    restore_window_days: float = _setting(
        "float", 30.0, "for how many days what was deleted can be restored, whatever `modeldb gc` does", minimum=0.0
    )
    gc_grace_days: float = _setting(
        "float", 30.0, "`modeldb gc` spares files that were stored within so many days, and one more", minimum=0.0
    )
    disable_plugins: tuple[str, ...] = _setting(
        "list", (), "plugins to leave out, by name, or * for all third-party ones"
    )
    capture_enabled: bool = _setting("bool", True, "record the circumstances of a run at all", table="capture")
    capture_git: bool = _setting("bool", True, "commit, branch, remote and state of the working tree", table="capture")
    capture_diff: bool = _setting("bool", True, "the uncommitted changes themselves, as a diff", table="capture")
    capture_diff_limit_bytes: int = _setting(
        "int", 1_000_000, "of a longer diff only so much is recorded", table="capture", minimum=0
    )
    capture_command: bool = _setting("bool", True, "script, arguments and working folder", table="capture")
    capture_packages: bool = _setting("bool", True, "versions of the installed packages", table="capture")
    capture_host: bool = _setting("bool", True, "machine, operating system, processor, memory, GPU", table="capture")
    capture_timeout_s: float = _setting("float", 2.0, "what takes longer is left out", table="capture", minimum=0.05)
    server_host: str = _setting("text", "127.0.0.1", "address the server listens on", table="server")
    server_port: int = _setting(
        "int", 5000, "port the server listens on; 0: any", table="server", minimum=0, maximum=65535
    )
    server_threads: int = _setting("int", 8, "threads that answer requests", table="server", minimum=1)
    server_tokens: tuple[str, ...] = _setting(
        "list",
        (),
        "who shows the server one of these may read and write; needed to listen beyond loopback",
        table="server",
    )
    server_read_tokens: tuple[str, ...] = _setting(
        "list", (), "who shows the server one of these may read", table="server"
    )
    server_allowed_hosts: tuple[str, ...] = _setting(
        "list", (), "host names, beside those of this machine, under which the server may be asked", table="server"
    )
    stores: Mapping[str, Any] = _setting(
        "table", MappingProxyType({}), "options of stores, a table for each scheme, such as [stores.s3]"
    )
    plugins: Mapping[str, Any] = _setting("table", MappingProxyType({}), "settings of plugins, a table for each")
    origins: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), compare=False)

    def origin(self, name: str) -> str:
        """Return where the value of ``name`` came from: "argument", "MODELDB_URL", the path of a file, or "default"."""
        return self.origins.get(name, "default")

    def describe(self) -> Iterator[tuple[str, object, str, str]]:
        """Iterate over (key, value, origin, help) of every setting, with secrets hidden."""
        for spec in _specs():
            yield (
                key_of(spec),
                _shown(getattr(self, spec.name), spec.name),
                self.origin(spec.name),
                spec.metadata["help"],
            )

    def __repr__(self) -> str:
        changed = (spec.name for spec in _specs() if spec.name in self.origins)
        return f"Settings({', '.join(f'{name}={_shown(getattr(self, name), name)!r}' for name in changed)})"


def load_settings(
    *,
    directory: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    **overrides: Any,  # noqa: ANN401
) -> Settings:
    """Return the settings in force.

    Args:
        directory: where the search for ``modeldb.toml`` begins, and what relative paths of arguments and variables are
            relative to; default: the current folder. (Paths in a file are relative to the file.)
        environ: the environment; default: that of this process.
        overrides: settings by name, such as ``url`` or ``server_port``; ``None`` means not given.

    Raises:
        ConfigurationError: a key is unknown, or a value has the wrong type or is out of its range.
    """
    base = Path(directory) if directory is not None else working_folder()
    environ = os.environ if environ is None else environ
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    sources = [*(_from_file(path) for path in reversed(config_files(base, environ)))]
    sources.append(_from_environment(environ, base))
    sources.append(_from_arguments(overrides, base))
    for source in sources:
        for name, (value, origin) in source.items():
            values[name], origins[name] = value, origin
    values["url"] = _absolute_url(str(values.get("url", DEFAULT_URL)), base)
    if not values.get("artifact_url"):
        values["artifact_url"] = artifacts_beside(str(values["url"]), base)
    if "journal_dir" not in values:
        values["journal_dir"] = default_journal_dir()
    if "cache_dir" not in values:
        values["cache_dir"] = default_cache_dir()
    return Settings(**values, origins=MappingProxyType(origins))  # type: ignore[arg-type]


def working_folder() -> Path:
    """Return the current folder; where it was deleted meanwhile, the path that it had."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/", os.environ.get("PWD", ""))


def default_journal_dir() -> Path:
    """Return the folder for journals in the state folder of the user."""
    from platformdirs import user_state_path

    return user_state_path("modeldb", appauthor=False) / "journals"


def default_cache_dir() -> Path:
    """Return the folder in the cache folder of the user for what can be fetched again."""
    from platformdirs import user_cache_path

    return user_cache_path("modeldb", appauthor=False)


def user_config_file() -> Path:
    """Return the path of the user's own ``modeldb.toml``, which need not exist."""
    from platformdirs import user_config_path

    return user_config_path("modeldb", appauthor=False) / FILE_NAME


def config_files(directory: Path, environ: Mapping[str, str]) -> list[Path]:
    """Return the files that apply, the first one first: the nearest one upwards, then the user's own.

    ``MODELDB_CONFIG`` names a file to use in place of both.

    Raises:
        ConfigurationError: it names a file that does not exist.
    """
    if named := environ.get(CONFIG_VARIABLE):
        path = directory / named
        if not path.is_file():
            msg = (
                f"{CONFIG_VARIABLE} names the file {str(path)!r}, which does not exist; create it or unset the variable"
            )
            raise ConfigurationError(msg)
        return [path]
    resolved = directory.absolute()
    nearest = next((path for folder in (resolved, *resolved.parents) if _is_file(path := folder / FILE_NAME)), None)
    own = user_config_file()
    return [path for path in dict.fromkeys((nearest, own)) if path is not None and _is_file(path)]


def key_of(spec: Field[Any]) -> str:
    """Return the key of a setting in ``modeldb.toml``, such as ``server.port``."""
    table = spec.metadata.get("table")
    return f"{table}.{spec.name.removeprefix(table + '_')}" if table else spec.name


def _specs() -> list[Field[Any]]:
    return [spec for spec in fields(Settings) if spec.metadata]


def _shown(value: object, name: str) -> object:
    return redact_value(str(value) if isinstance(value, Path) else value, name)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that may not be looked into
        return False


_Source = dict[str, tuple[object, str]]


def _from_file(path: Path) -> _Source:
    import tomllib

    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path} is not valid TOML: {error}"
        raise ConfigurationError(msg) from error
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise ConfigurationError(msg) from error
    specs = {key_of(spec): spec for spec in _specs()}
    tables = {key.partition(".")[0] for key in specs if "." in key}
    result: _Source = {}
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


def _from_environment(environ: Mapping[str, str], base: Path) -> _Source:
    specs = {ENVIRONMENT_PREFIX + spec.name.upper(): spec for spec in _specs() if spec.metadata["kind"] != "table"}
    result: _Source = {}
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


def _from_arguments(overrides: Mapping[str, object], base: Path) -> _Source:
    specs = {spec.name: spec for spec in _specs()}
    result: _Source = {}
    for name, value in overrides.items():
        if name not in specs:
            msg = f"the setting {name!r} is unknown{_did_you_mean(name, specs)}"
            raise ConfigurationError(msg)
        if value is not None:
            result[name] = (_check(specs[name], value, name, base), "argument")
    return result


def _did_you_mean(name: str, known: Mapping[str, object]) -> str:
    close = get_close_matches(name, known, 1, 0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


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
    """Return ``value`` in the type of the setting; relative paths are made absolute against ``base``.

    Raises:
        ConfigurationError: it has another type or lies outside the range.
    """
    kind = spec.metadata["kind"]
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
    if kind == "name" and isinstance(value, str) and 0 < len(value) <= MAX_NAME_LENGTH and "\0" not in value:
        return value
    if isinstance(value, os.PathLike) and kind == "url":
        value = os.fspath(value)
    if isinstance(value, str) and kind in ("text", "url", "choice"):
        choices = spec.metadata.get("choices")
        if choices and value not in choices:
            raise _wrong(spec, value, where, " or ".join(map(repr, choices)))
        return _absolute_url(value, base, bare_path=spec.name == "artifact_url") if kind == "url" else value
    expected = {
        "bool": "true or false",
        "list": "a list of strings",
        "name": f"a string of 1 to {MAX_NAME_LENGTH} characters",
        "table": "a table of tables",
        "path": "a path",
        "url": "a URL",
    }
    raise _wrong(spec, value, where, expected.get(kind, "a string"))


def _check_number(spec: Field[Any], value: object, where: str) -> int | float:
    whole = spec.metadata["kind"] == "int"
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise _wrong(spec, value, where, "a whole number" if whole else "a number")
    low, high = spec.metadata.get("minimum"), spec.metadata.get("maximum")
    if not ((low is None or value >= low) and (high is None or value <= high) and abs(value) != float("inf")):
        limits = f"from {low} to {high}" if high is not None else f"of at least {low}"
        raise _wrong(spec, value, where, f"a finite number {limits}")
    return value if whole else float(value)


def _wrong(spec: Field[Any], value: object, where: str, expected: str) -> ConfigurationError:
    shown = _shown(value, spec.name)
    return ConfigurationError(f"{where} has the value {shown!r} of type {type(value).__name__}; expected {expected}")


def _absolute_url(url: str, base: Path, *, bare_path: bool = False) -> str:
    """Return ``url`` with a relative path of a local file made absolute."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return f"file://{(base / Path(url).expanduser()).absolute()}" if bare_path and url else url
    if scheme == "sqlite" and rest.startswith("/"):
        path, question, options = rest[1:].partition("?")
        if path and not path.startswith((":", "/")) and not Path(path).drive:
            whole = (base / Path(unquote(path)).expanduser()).absolute()
            return f"sqlite:///{quote(str(whole))}{question}{options}"
    if scheme == "file" and rest and not rest.startswith("/"):
        return f"file://{(base / rest).absolute()}"
    return url


def artifacts_beside(url: str, base: Path) -> str:
    """Return where artifacts are kept unless something else is said.

    That is a folder beside a SQLite file. Another store is asked whether it keeps artifacts as well: the URL is its own.
    """
    scheme, _, rest = url.partition("://")
    if scheme != "sqlite":
        return url
    path = unquote(rest.removeprefix("/").partition("?")[0])
    if not path or path.startswith(":"):
        return "memory://"
    return f"file://{folder_beside(str((base / path).absolute()))}"
