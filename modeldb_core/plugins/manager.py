"""Finds plugins, keeps broken ones from doing harm, and opens stores by the scheme of their URL.

ModelDB's own backends and integrations come through the same door as anyone else's: the entry points of the group
``modeldb``. They are looked for when a plugin is first needed, not when ``modeldb_core`` is imported.
"""

from __future__ import annotations

import functools
import os
import threading
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import pluggy

from modeldb_core import hookspecs
from modeldb_core.config import trust
from modeldb_core.errors import (
    ConfigurationError,
    InvalidArgumentError,
    MissingDependencyError,
    ModelDBError,
    UnknownSchemeError,
)
from modeldb_core.runtime import forks
from modeldb_core.runtime.notices import warn
from modeldb_core.runtime.redaction import redact_url
from modeldb_core.stores import ArtifactStore, Backend, MetadataStore
from modeldb_core.stores.owners import owner_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from importlib.metadata import EntryPoint

    from modeldb_core.config import Settings

BLOCK_VARIABLE = "MODELDB_DISABLE_PLUGINS"
BLOCK_ALL = "*"
OWN_DISTRIBUTION = "modeldb-core"

_MAX_TOLD = 10  # warnings of one plugin in one hook
_HARMLESS = ("modeldb_run_", "modeldb_configure", "modeldb_describe_object")
"""Hooks that training scripts meet: there, even an error in ModelDB's own plugins is only a warning."""
_ERRORS_PASS = ("modeldb_dump_model", "modeldb_load_model")
"""Hooks whose typed errors are their answer."""


@dataclass(slots=True)
class PluginInfo:
    """What is known of a plugin.

    Attributes:
        name: the name of its entry point, which is the import name of its module.
        distribution: the installed package that brought it; empty for one that was registered by hand.
        version: of that package.
        state: "loaded", "blocked" (by the settings) or "broken".
        error: why it is broken, in a sentence.
        hooks: the hooks that it implements.
        backends: the storage backends that it provides.
    """

    name: str
    distribution: str = ""
    version: str = ""
    state: Literal["loaded", "blocked", "broken"] = "loaded"
    error: str = ""
    hooks: tuple[str, ...] = ()
    backends: tuple[Backend, ...] = field(default=())

    @property
    def is_own(self) -> bool:
        """Whether it comes with ModelDB itself."""
        return self.distribution == OWN_DISTRIBUTION

    def __str__(self) -> str:
        return f"{self.name!r} ({self.distribution} {self.version})" if self.distribution else repr(self.name)


class PluginManager(pluggy.PluginManager):
    """pluggy's manager with isolation: no plugin's mistake reaches the caller.

    Most callers want :func:`plugin_manager`, which returns the one of this process.
    """

    def __init__(self) -> None:
        super().__init__(hookspecs.PROJECT)
        self.add_hookspecs(hookspecs)
        self.infos: dict[str, PluginInfo] = {}
        self._backends: dict[tuple[str, str], tuple[Backend, PluginInfo]] | None = None
        self._backends_lock = threading.RLock()

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:  # noqa: ANN401
        """Look at hooks only: reading other names of a module could import the framework that it loads lazily."""
        return super().parse_hookimpl_opts(plugin, name) if name.startswith("modeldb_") else None

    def load_entry_points(self, blocked: Iterable[str] = ()) -> None:
        """Load the plugins that are installed, ModelDB's own ones first; ``"*"`` blocks all others."""
        from importlib.metadata import entry_points

        names = frozenset(blocked)
        found = [(_info(point), point) for point in entry_points(group=hookspecs.PROJECT)]
        found.sort(key=lambda pair: (not pair[0].is_own, pair[0].distribution, pair[0].name))
        for info, point in found:
            if info.name in self.infos:
                first = self.infos[info.name]
                warn(f"plugin {info} is left out: its name is taken by {first}; rename its entry point")
                continue
            self.infos[info.name] = info
            if info.name in names or (BLOCK_ALL in names and not info.is_own):
                info.state = "blocked"
                continue
            self._load(info, point)

    def add(self, plugin: object, name: str) -> PluginInfo:
        """Register a plugin that is not installed: for tests, and for programs that extend ModelDB themselves."""
        info = self.infos[name] = PluginInfo(name)
        self._register(info, plugin)
        self._backends = None
        return info

    def call(self, hook: str, /, **arguments: object) -> Any:  # noqa: ANN401
        """Call a hook; returns a list of results, or the first result where the hook stops at it.

        What a plugin raises becomes a warning and its result is left out, except errors that are the hook's answer.
        """
        caller = getattr(self.hook, hook)
        try:
            return caller(**arguments)
        except ModelDBError:
            raise
        except Exception as error:
            if not hook.startswith(_HARMLESS):
                raise
            warn(f"the hook {hook} failed: {_describe(error)}")
            return None if (caller.spec and caller.spec.opts["firstresult"]) else []

    def backends(self) -> Mapping[tuple[str, str], tuple[Backend, PluginInfo]]:
        """Return the backends, by kind and scheme, with the plugin that provides each."""
        with self._backends_lock:
            if self._backends is None:
                self._backends = self._collect_backends()
            return self._backends

    def _load(self, info: PluginInfo, point: EntryPoint) -> None:
        try:
            plugin = point.load()
        except (Exception, SystemExit) as error:
            _leave_out(info, f"it cannot be imported: {_describe(error)}")
            return
        self._register(info, plugin)

    def _register(self, info: PluginInfo, plugin: object) -> None:
        try:
            self.register(plugin, info.name)
        except (pluggy.PluginValidationError, ValueError, TypeError) as error:
            if self.get_plugin(info.name) is plugin:
                self.unregister(plugin)
            _leave_out(info, str(error).replace("\n", " "))
            return
        callers = self.get_hookcallers(plugin) or []
        info.hooks = tuple(sorted(caller.name for caller in callers))
        for caller in callers:
            if not caller.has_spec():
                warn(f"plugin {info} implements {caller.name}, which this version of ModelDB does not know")
            for implementation in caller.get_hookimpls():
                if implementation.plugin is plugin and not (implementation.wrapper or implementation.hookwrapper):
                    # Declared final, but the one place where a plugin's function can be told from another's.
                    implementation.function = _guarded(  # type: ignore[misc]
                        implementation.function, caller.name, info
                    )

    def _collect_backends(self) -> dict[tuple[str, str], tuple[Backend, PluginInfo]]:
        table: dict[tuple[str, str], tuple[Backend, PluginInfo]] = {}
        for implementation in self._implementations("modeldb_register_backends"):
            info = self.infos[implementation.plugin_name]
            provided = implementation.function() or []
            if not isinstance(provided, (list, tuple)) or not all(isinstance(item, Backend) for item in provided):
                warn(f"plugin {info} returned {provided!r:.200} as its backends; expected a list of Backend")
                continue
            kept = []
            for backend in provided:
                key = backend.kind, backend.scheme
                if key in table:
                    warn(f"{info} also provides {backend.kind} for {backend.scheme!r}; {table[key][1]} keeps it")
                    continue
                table[key] = backend, info
                kept.append(backend)
            info.backends = tuple(kept)
        return table

    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        """Return the implementations of a hook in the order of loading, so that ModelDB's own come first."""
        order = list(self.infos)
        found: list[pluggy.HookImpl] = getattr(self.hook, hook).get_hookimpls()
        return sorted(
            (item for item in found if item.plugin_name in self.infos), key=lambda item: order.index(item.plugin_name)
        )


def plugin_manager(settings: Settings | None = None) -> PluginManager:
    """Return the manager of this process, with all installed plugins loaded.

    Blocked are the plugins that ``settings.disable_plugins`` and the variable ``MODELDB_DISABLE_PLUGINS`` name.
    """
    blocked = {name.strip() for name in os.environ.get(BLOCK_VARIABLE, "").split(",")} - {""}
    if settings is not None:
        blocked.update(settings.disable_plugins)
    key = frozenset(blocked)
    with _lock:
        if key not in _managers:
            manager = PluginManager()
            manager.load_entry_points(key)
            _managers[key] = manager
        return _managers[key]


def list_plugins(settings: Settings | None = None) -> list[PluginInfo]:
    """Return all installed plugins with what they provide, also the blocked and the broken ones."""
    manager = plugin_manager(settings)
    manager.backends()
    return list(manager.infos.values())


def find_backend(url: str, kind: Literal["metadata", "artifacts"], settings: Settings | None = None) -> Backend:
    """Return the backend that serves the scheme of ``url``.

    Raises:
        InvalidArgumentError: ``url`` has no scheme.
        UnknownSchemeError: no plugin provides one; the message lists the known schemes.
    """
    scheme, mark, _ = url.partition("://")
    what, example = (
        ("store", "sqlite:///modeldb.db") if kind == "metadata" else ("artifact store", "file:///data/files")
    )
    if not mark or not scheme:
        msg = f"{redact_url(url)!r} is not the URL of a {what}; expected one such as {example!r}"
        raise InvalidArgumentError(msg)
    table = plugin_manager(settings).backends()
    if found := table.get((kind, scheme.lower())):
        return found[0]
    known = sorted(name for backend_kind, name in table if backend_kind == kind)
    hint = f"; did you mean {close[0]!r}?" if (close := get_close_matches(scheme, known, 1)) else ""
    advice = "install or enable a plugin that provides it" if known else f"install {OWN_DISTRIBUTION} with pip first"
    if kind == "artifacts" and ("metadata", scheme.lower()) in table:
        advice = "set artifact_url (MODELDB_ARTIFACT_URL) to where files and models are to be kept"
    msg = f"no {what} for {scheme!r}{hint}; known: {', '.join(known) or 'none'}; {advice}"
    raise UnknownSchemeError(msg)


def open_store(url: str, settings: Settings | None = None) -> MetadataStore:
    """Open the store at ``url``; raises what :func:`find_backend` and the store raise, and MissingDependencyError."""
    store = _open(url, "metadata", settings)
    if not isinstance(store, MetadataStore):
        msg = f"the backend for {redact_url(url)!r} is a {type(store).__name__}; expected a MetadataStore"
        raise ConfigurationError(msg)
    return store


def open_artifacts(url: str, settings: Settings | None = None) -> ArtifactStore:
    """Open the artifact store at ``url``; raises as :func:`open_store` does."""
    store = _open(url, "artifacts", settings)
    if not isinstance(store, ArtifactStore):
        msg = f"the backend for {redact_url(url)!r} is a {type(store).__name__}; expected an ArtifactStore"
        raise ConfigurationError(msg)
    if settings is not None:
        store.owner = owner_name(settings.url, url, settings.stores.get(settings.url.partition("://")[0]))
    return store


def store_options(
    url: str, kind: Literal["metadata", "artifacts"], settings: Settings | None = None
) -> dict[str, object]:
    """Return the options, secret ones too, with which the store at ``url`` is opened; raises as opening it does."""
    backend = find_backend(url, kind, settings)
    return {} if settings is None else _options(url, backend, load_target(backend, settings), settings)


def project_options(settings: Settings) -> tuple[dict[str, dict[str, object]], list[trust.Refusal]]:
    """Return the options of stores that a project's file sets and may set, by scheme, and those that it may not set."""
    kept: dict[str, dict[str, object]] = {}
    refused: list[trust.Refusal] = []
    backends = [backend for backend, _ in plugin_manager(settings).backends().values()]
    for scheme, options in settings.project_stores.items():
        harmless = frozenset().union(*(one.harmless for one in backends if scheme in (one.scheme, one.table)))
        kept[scheme] = {name: value for name, value in options.items() if name in harmless}
        reason = "a project's file does not decide how a store is reached or trusted; set it in your own modeldb.toml"
        file = settings.project_file
        refused += [trust.Refusal(file, f"stores.{scheme}.{name}", reason) for name in options if name not in harmless]
    return kept, refused


def load_target(backend: Backend, settings: Settings | None = None) -> Callable[..., object]:
    """Import the class of a backend.

    Raises:
        MissingDependencyError: something it needs is not installed; the message says what to install.
        ConfigurationError: the class does not exist.
    """
    _, info = plugin_manager(settings).backends()[backend.kind, backend.scheme]
    module_name, _, class_name = backend.target.partition(":")
    try:
        target = getattr(import_module(module_name), class_name)
    except ImportError as error:
        wanted = f"{OWN_DISTRIBUTION}[{backend.extra}]" if info.is_own else backend.extra
        advice = f"pip install '{wanted}'" if backend.extra else f"see to plugin {info}, which provides it"
        msg = f"the backend for {backend.scheme!r} cannot be imported ({error}); {advice}"
        raise MissingDependencyError(msg) from error
    except AttributeError as error:
        msg = f"plugin {info} names {backend.target!r} for {backend.scheme!r}, which does not exist; update the plugin"
        raise ConfigurationError(msg) from error
    result: Callable[..., object] = target
    return result


# -- inside -----------------------------------------------------------------------------------------------------------

_managers: dict[frozenset[str], PluginManager] = {}
_lock = threading.RLock()


def _replace_lock() -> None:
    """Give a forked child a lock of its own: a thread of the parent may have held it."""
    global _lock
    _lock = threading.RLock()
    for manager in _managers.values():
        manager._backends_lock = threading.RLock()


forks.after_in_child(_replace_lock)


def _open(url: str, kind: Literal["metadata", "artifacts"], settings: Settings | None) -> object:
    backend = find_backend(url, kind, settings)
    target = load_target(backend, settings)
    return target(url, **({} if settings is None else _options(url, backend, target, settings)))


def _options(url: str, backend: Backend, target: Callable[..., object], settings: Settings) -> dict[str, object]:
    """Return the options of a store: its table in ``settings.stores``, and the settings that it asks for by name.

    Raises:
        ConfigurationError: the table holds an option that neither kind of store for the scheme takes, or only a
            project's file asks for the store and for an option that it may not set.
    """
    own, takes_any = _parameters(target)
    options: dict[str, object] = {}
    names = (backend.table, backend.scheme)
    tables = [settings.stores.get(table, {}) for table in names]
    tables.append(_of_project(url, backend, names, settings))
    for name, value in dict(chain.from_iterable(table.items() for table in tables)).items():
        if takes_any or name in own:
            options[name] = value
        elif name not in (known := own | _other_parameters(backend, settings)):
            close = get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known)) or 'none'}"
            msg = f"stores.{backend.scheme}.{name} ({settings.origin('stores')}) is no option of that store; {hint}"
            raise ConfigurationError(msg)
    if "is_named_by_project" in own:
        options["is_named_by_project"] = url in settings.project_urls
    if settings.durability == "fsync" and "durability" in own:
        options["durability"] = settings.durability  # a journal is let go once the store has it: so it must not lose it
    if "token" in own:
        options["token"] = settings.token_for(url)
    if "cache_dir" in own:
        options.setdefault("cache_dir", settings.cache_dir)
    return options


def _of_project(url: str, backend: Backend, tables: tuple[str, ...], settings: Settings) -> dict[str, object]:
    """Return what a project's file says of a store, as far as it may.

    A store that only the project's file names is not opened in another way than the file asks for: what was logged would
    go somewhere else. For a store of the user's own the rest is left out.
    """
    said = {name: value for table in tables for name, value in settings.project_stores.get(table, {}).items()}
    options = {name: value for name, value in said.items() if name in backend.harmless}
    if url in settings.project_urls:
        refused = [name for name in (*said, *trust.options_in(url)) if name not in backend.harmless]
        known = {name: settings.stores.get(table, {}).get(name) for table in tables for name in refused}
        if wrong := next((name for name in refused if known[name] is None), None):
            msg = (
                f"the modeldb.toml of this project asks to open {redact_url(url)} with the option {wrong!r}, which a"
                f" project's file does not decide; set it under [stores.{backend.scheme}] in {trust.user_config_file()}, or set"
                " MODELDB_URL yourself, or name the project's folder in MODELDB_TRUSTED_FOLDERS"
            )
            raise ConfigurationError(msg)
    return options


def _other_parameters(backend: Backend, settings: Settings) -> frozenset[str]:
    """Return the options of the store of the other kind that serves the same scheme."""
    kind: Literal["metadata", "artifacts"] = "artifacts" if backend.kind == "metadata" else "metadata"
    other = plugin_manager(settings).backends().get((kind, backend.scheme))
    return frozenset() if other is None else _parameters(load_target(other[0], settings))[0]


def _parameters(target: Callable[..., object]) -> tuple[frozenset[str], bool]:
    """Return the names of the options that a class takes, and whether it takes others too."""
    import inspect

    try:
        _url, *parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):  # a class of an extension module without a signature
        return frozenset(), False
    named = {item.name for item in parameters if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)}
    return frozenset(named), any(item.kind is item.VAR_KEYWORD for item in parameters)


def _info(point: EntryPoint) -> PluginInfo:
    distribution = point.dist
    if distribution is None:
        return PluginInfo(point.name)
    name = distribution.metadata["Name"] or ""
    return PluginInfo(point.name, name.lower().replace("_", "-"), distribution.version)


def _guarded(function: Callable[..., object], hook: str, info: PluginInfo) -> Callable[..., object]:
    """Return ``function`` such that what it raises becomes a warning where it must not reach the caller."""
    if info.is_own and not hook.startswith(_HARMLESS):
        return function

    told: set[str] = set()

    @functools.wraps(function)
    def guarded(*arguments: object) -> object:
        try:
            return function(*arguments)
        except Exception as error:
            if hook in _ERRORS_PASS and isinstance(error, ModelDBError):
                raise
            said = f"plugin {info} failed in {hook} and is left out of it: {_describe(error)}"
            if said not in told and len(told) < _MAX_TOLD:  # once, and not again for every run
                told.add(said)
                warn(said)
            return None

    return guarded


def _leave_out(info: PluginInfo, reason: str) -> None:
    info.state, info.error = "broken", reason
    warn(f"plugin {info} is left out: {reason}; update or uninstall it, or set {BLOCK_VARIABLE}={info.name}")


def _describe(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
