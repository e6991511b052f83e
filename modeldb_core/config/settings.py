"""The settings: argument > ``MODELDB_*`` environment variable > ``modeldb.toml`` > default.

Every value knows where it came from, and secrets are hidden wherever settings are shown. ``docs/configuration.md``
lists the settings.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from modeldb_core.config import trust
from modeldb_core.config.audit import AuditOptions
from modeldb_core.config.credentials import stored_token
from modeldb_core.config.fields import setting
from modeldb_core.config.locations import (
    config_files,
    default_cache_dir,
    default_journal_dir,
    working_folder,
)
from modeldb_core.config.server import ServerOptions
from modeldb_core.config.sources import (
    ARGUMENT,
    ENVIRONMENT_PREFIX,
    Source,
    from_arguments,
    from_environment,
    from_file,
    key_of,
    shown,
)
from modeldb_core.runtime.notices import warn

if TYPE_CHECKING:
    from modeldb_core.stores.backend import StoreKind

DEFAULT_URL = "sqlite:///modeldb.db"
FINAL_VARIABLE = "MODELDB_STORE_IS_FINAL"
"""Set for a program that repeats a run: it logs where its environment says, whatever store it names itself."""
_FINAL = ("url", "artifact_url", "journal_dir")


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings(ServerOptions, AuditOptions):
    """The settings in force. Get one from :func:`modeldb_core.plugins.load_settings`.

    Times are in seconds. URLs and paths are absolute: a later ``os.chdir`` does not move the store.
    """

    url: str = setting("url", DEFAULT_URL, "where runs are kept")
    artifact_url: str = setting("url", "", "where files and models are kept; default: beside the store", is_folder=True)
    workspace: str = setting("name", "default", "the workspace that projects belong to")
    project: str = setting("name", "default", "the project of a run that names none")
    experiment: str = setting("name", "default", "the experiment of a run that names none")
    user: str = setting(
        "name", "", "who is recorded as the author of changes; default: the login name", trust=trust.USER
    )
    journal_dir: Path = setting(  # noqa: RUF009
        "path", Path(), "folder of the crash-safe journals; default: in the user's state folder", trust=trust.USER
    )
    cache_dir: Path = setting(  # noqa: RUF009
        "path", Path(), "folder of what can be fetched again; default: in the user's cache folder", trust=trust.USER
    )
    token: str = setting("text", "", "what this process shows a server to be let in", trust=trust.USER)
    durability: str = setting(
        "choice",
        "process",
        'what a log call outlives once it returned: "process" (the process), "fsync" (a power failure too)',
        choices=("process", "fsync"),
    )
    lease_s: float = setting(
        "float", 30.0, "a run whose writer was silent for so long reads as lost", minimum=1.0, maximum=3e7
    )
    flush_interval_s: float = setting("float", 1.0, "how often what was logged is shipped", minimum=0.01)
    exit_timeout_s: float = setting("float", 30.0, "how long a process waits at exit for a slow store", minimum=0.0)
    restore_window_days: float = setting(
        "float",
        30.0,
        "for how many days what was deleted can be restored, whatever `modeldb gc` does",
        minimum=0.0,
        trust=trust.USER,
    )
    gc_grace_days: float = setting(
        "float",
        30.0,
        "`modeldb gc` spares files that were stored within so many days, and one more",
        minimum=0.0,
        trust=trust.USER,
    )
    model_stages: tuple[str, ...] = setting(
        "list", (), "the stages of a model that is registered from now on; default: development to archived"
    )
    announce: bool = setting(
        "bool", True, "say in a terminal or a notebook where the first run can be seen", trust=trust.LESS
    )
    ui_url: str = setting(
        "text", "", "address of the web pages that show this store, for links to runs", trust=trust.USER
    )
    disable_plugins: tuple[str, ...] = setting(
        "list", (), "plugins to leave out, by name, or * for all third-party ones"
    )
    capture_enabled: bool = setting(
        "bool", True, "record the circumstances of a run at all", table="capture", trust=trust.LESS
    )
    capture_git: bool = setting(
        "bool", True, "commit, branch, remote and state of the working tree", table="capture", trust=trust.LESS
    )
    capture_diff: bool = setting(
        "bool", True, "the uncommitted changes themselves, as a diff", table="capture", trust=trust.LESS
    )
    capture_diff_limit_bytes: int = setting(
        "int", 1_000_000, "of a longer diff only so much is recorded", table="capture", minimum=0
    )
    capture_command: bool = setting(
        "bool", True, "script, arguments and working folder", table="capture", trust=trust.LESS
    )
    capture_packages: bool = setting(
        "bool", True, "versions of the installed packages", table="capture", trust=trust.LESS
    )
    capture_host: bool = setting(
        "bool", True, "machine, operating system, processor, memory, GPU", table="capture", trust=trust.LESS
    )
    capture_timeout_s: float = setting("float", 2.0, "what takes longer is left out", table="capture", minimum=0.05)
    stores: Mapping[str, Any] = setting(
        "table", MappingProxyType({}), "options of stores, a table for each scheme, such as [stores.s3]"
    )
    plugins: Mapping[str, Any] = setting("table", MappingProxyType({}), "settings of plugins, a table for each")
    trusted_folders: tuple[str, ...] = setting(
        "list", (), "folders whose modeldb.toml is obeyed like your own", trust=trust.USER
    )
    origins: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    token_address: str = field(default="", compare=False)
    """The server that ``token`` was given for (``trust.address_of``); empty: whichever the user names."""
    project_urls: frozenset[str] = field(default=frozenset(), compare=False)
    """What only a project's file names: no secret goes there that was not given for that address."""
    project_stores: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    """Options of stores in a project's file, of which a backend takes those that it declares to be harmless."""
    project_file: str = field(default="", compare=False)
    """The project's file that was read; empty where there is none."""
    refusals: tuple[trust.Refusal, ...] = field(default=(), compare=False)
    """What files say and what is not obeyed."""

    def origin(self, name: str) -> str:
        """Return where the value of ``name`` came from: "argument", "MODELDB_URL", the path of a file, or "default"."""
        return self.origins.get(name, "default")

    def token_for(self, url: str) -> str:
        """Return the token to show to the server at ``url``: the setting where it was given for it, else a stored one.

        ``modeldb login`` stores tokens. Empty where there is none.
        """
        address = trust.address_of(url)
        theirs = {trust.address_of(one) or one for one in self.project_urls}
        is_given_for_it = bool(address) and self.token_address == address
        if self.token and (is_given_for_it or not (self.token_address or (address or url) in theirs)):
            return self.token
        return stored_token(address) if address else ""

    def describe(self) -> Iterator[tuple[str, object, str, str]]:
        """Iterate over (key, value, origin, help) of every setting, with secrets hidden."""
        for spec in _specs():
            yield (
                key_of(spec),
                shown(getattr(self, spec.name), spec.name),
                self.origin(spec.name),
                spec.metadata["help"],
            )

    def __repr__(self) -> str:
        changed = (spec.name for spec in _specs() if spec.name in self.origins)
        return f"Settings({', '.join(f'{name}={shown(getattr(self, name), name)!r}' for name in changed)})"


class Places(Protocol):
    """What knows where stores are: the backends that plugins register."""

    def absolute(self, url: str, base: Path, kind: StoreKind) -> str:
        """Return ``url``; a relative path in it is taken from ``base``."""

    def artifacts_of(self, url: str) -> str:
        """Return where the store at ``url`` keeps its artifacts unless something else is said."""


def read_settings(
    places: Callable[[Sequence[str]], Places],
    *,
    directory: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    **overrides: Any,  # noqa: ANN401
) -> Settings:
    """Return the settings in force; see :func:`modeldb_core.plugins.load_settings`, which says what the places are.

    Args:
        places: called with the names of the plugins to leave out.
        directory, environ, overrides: as there.

    Raises:
        ConfigurationError: as there.
    """
    base = Path(directory) if directory is not None else working_folder()
    environ = os.environ if environ is None else environ
    inherited = frozenset(str(overrides.pop("project_urls", "")).split())
    final = _FINAL if environ.get(FINAL_VARIABLE) else ()
    arguments = from_arguments({name: overrides[name] for name in overrides if name not in final}, base, _specs())
    environment = from_environment(environ, base, _specs())
    files = _read_files(base, environ, environment | arguments)
    sources = (files.own, files.project, environment, arguments)
    known = places(
        next((source["disable_plugins"][0] for source in reversed(sources) if "disable_plugins" in source), ())
    )
    for source in sources:
        _locate(source, known)
    values = {name: value for source in sources for name, (value, _) in source.items()}
    origins = {name: origin for source in sources for name, (_, origin) in source.items()}
    values.setdefault("url", known.absolute(DEFAULT_URL, base, "metadata"))
    values["artifact_url"] = values.get("artifact_url") or known.artifacts_of(values["url"])
    if "journal_dir" not in values:
        values["journal_dir"] = default_journal_dir()
    if "cache_dir" not in values:
        values["cache_dir"] = default_cache_dir()
    values.setdefault("server_access_log_dir", values["journal_dir"].parent / "access")
    _warn_of(files.refusals)
    named = _urls_in(files.project)
    trusted = _urls_in(files.own) | _urls_in(environment) | _urls_in(arguments)
    return Settings(
        **values,
        origins=MappingProxyType(origins),
        token_address=_token_address(origins.get("token", ""), files.own, environment, arguments),
        project_urls=(named - trusted) | inherited,
        project_stores=files.project_stores,
        project_file=files.project_file,
        refusals=tuple(files.refusals),
    )


_URLS: dict[str, StoreKind] = {"url": "metadata", "artifact_url": "artifacts"}


def _locate(source: Source, places: Places) -> None:
    """Make the URLs of a source absolute."""
    for name, kind in _URLS.items():
        if name in source:
            written, origin = source[name]
            source[name] = (places.absolute(written.url, written.base, kind), origin)


def _urls_in(source: Source) -> frozenset[str]:
    return frozenset(source[name][0] for name in _URLS if name in source)


@dataclass(slots=True)
class _Files:
    """What the files say: the user's own and the system's, and the project's as far as it is obeyed."""

    own: Source = field(default_factory=dict)
    project: Source = field(default_factory=dict)
    project_stores: Mapping[str, Any] = field(default_factory=dict)
    project_file: str = ""
    refusals: list[trust.Refusal] = field(default_factory=list)


def _read_files(directory: Path, environ: Mapping[str, str], given: Source) -> _Files:
    """Read the files that apply, and leave out what a project's file may not say (``trust.py``)."""
    result = _Files()
    projects: list[Path] = []
    for path, is_project in reversed(config_files(directory, environ)):
        if is_project:
            projects.append(path)
        else:
            result.own |= from_file(path, _specs())
    folders, _ = given.get("trusted_folders") or result.own.get("trusted_folders") or ((), "")
    assert isinstance(folders, tuple)
    for path in projects:
        if trust.is_trusted_folder(path.parent, folders):
            result.own |= from_file(path, _specs())
        elif doubt := trust.doubt_about(path):
            result.refusals.append(trust.Refusal(str(path), "", doubt))
        else:
            _obey_project(result, from_file(path, _specs()), path)
    return result


def _obey_project(result: _Files, source: Source, path: Path) -> None:
    result.project_file = str(path)
    for spec in _specs():
        if spec.name not in source:
            continue
        value, origin = source[spec.name]
        before, _ = result.own.get(spec.name, (None, ""))
        if spec.name == "plugins" and isinstance(before, Mapping) and isinstance(value, Mapping):
            value = MappingProxyType({**value, **before})  # what the user says of a plugin is said
        elif spec.name == "disable_plugins" and isinstance(before, tuple) and isinstance(value, tuple):
            value = tuple(dict.fromkeys((*before, *value)))  # none that the user has left out comes back
        if spec.name == "stores":
            assert isinstance(value, Mapping)
            result.project_stores = value
        elif reason := trust.refuse_setting(spec.metadata.get("trust", ""), value, before):
            result.refusals.append(trust.Refusal(str(path), key_of(spec), reason))
        else:
            result.project[spec.name] = (value, origin)


def _token_address(origin: str, own: Source, environment: Source, arguments: Source) -> str:
    """Return the server that the token was given for: the one named beside it; empty where none is."""
    beside = {ARGUMENT: (arguments,), f"{ENVIRONMENT_PREFIX}TOKEN": (environment, own)}.get(origin, (own,))
    for source in beside:
        for name in ("url", "artifact_url"):
            if address := trust.address_of(str(source.get(name, ("",))[0])):
                return address
    return ""


_warned: set[tuple[str, tuple[str, ...]]] = set()


def _warn_of(refusals: list[trust.Refusal]) -> None:
    """Warn once of what each file says and is not obeyed."""
    for file in dict.fromkeys(refusal.file for refusal in refusals):
        first, *others = (refusal for refusal in refusals if refusal.file == file)
        mark = (file, tuple(refusal.key for refusal in (first, *others)))
        if mark not in _warned:
            _warned.add(mark)
            more = f"; neither are {', '.join(refusal.key for refusal in others)}" if others else ""
            warn(f"{first}{more}; `modeldb config` shows everything that is not obeyed")


def _specs() -> list[Field[Any]]:
    return [spec for spec in fields(Settings) if spec.metadata]
