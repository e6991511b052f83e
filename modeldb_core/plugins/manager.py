"""Finds plugins and calls their hooks; a broken one does no harm.

ModelDB's own backends and integrations come through the same door as anyone else's: the entry points of the group
``modeldb``. They are looked for when a plugin is first needed, not when ``modeldb_core`` is imported.
"""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pluggy

from modeldb_core import hookspecs
from modeldb_core.errors import InvalidArgumentError, ModelDBError
from modeldb_core.model.schema import KindDeclaration, declare
from modeldb_core.plugins.isolation import (
    BLOCK_ALL,
    BLOCK_VARIABLE,
    HARMLESS,
    GuardedPlugin,
    PluginInfo,
    describe,
    guarded,
    leave_out,
)
from modeldb_core.runtime import forks
from modeldb_core.runtime.interruptions import is_of_a_signal_handler
from modeldb_core.runtime.notices import warn
from modeldb_core.stores import Backend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from importlib.metadata import EntryPoint

    from modeldb_core.config import Settings


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

    def load_entry_points(self, blocked: Iterable[str] = ()) -> None:
        """Load the plugins that are installed, ModelDB's own ones first; ``"*"`` blocks all others."""
        from importlib.metadata import entry_points

        names = frozenset(blocked)
        known: dict[int, tuple[str, str]] = {}
        found = [(_info(point, known), point) for point in entry_points(group=hookspecs.PROJECT)]
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
        self._declare_kinds(info)
        self._backends = None
        return info

    def call(self, hook: str, /, **arguments: object) -> Any:  # noqa: ANN401
        """Call a hook; returns a list of results, or the first result where the hook stops at it.

        What a plugin raises becomes a warning and its result is left out, except errors that are the hook's answer.
        """
        return _call(getattr(self.hook, hook), arguments)

    def call_each(self, hook: str, /, **arguments: object) -> Iterator[tuple[PluginInfo, Any]]:
        """Call a hook one plugin after another, ModelDB's own first; yields each plugin with its list of results.

        Wrappers are around each of these calls. For callers that take back what a plugin did which raised:
        ``info.failed_in`` has the hook then.
        """
        answering = {
            each.plugin_name: each.plugin
            for each in self._implementations(hook)
            if not (each.wrapper or each.hookwrapper)
        }
        for name, plugin in answering.items():
            info = self.infos[name]
            info.failed_in.discard(hook)
            others = [other for other in answering.values() if other is not plugin]
            yield info, _call(self.subset_hook_caller(hook, others), arguments)

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
            leave_out(info, f"it cannot be imported: {describe(error)}")
            return
        self._register(info, plugin)
        self._declare_kinds(info)

    def _declare_kinds(self, info: PluginInfo) -> None:
        """Make the kinds known that a plugin declares."""
        for implementation in self._implementations("modeldb_register_kinds"):
            if implementation.plugin_name != info.name:
                continue
            declared = implementation.function() or []
            if not isinstance(declared, (list, tuple)) or not all(isinstance(one, KindDeclaration) for one in declared):
                warn(f"plugin {info} returned {declared!r:.200} as its kinds; expected a list of KindDeclaration")
                continue
            for declaration in declared:
                try:
                    declare(replace(declaration, is_own=info.is_own))
                except InvalidArgumentError as error:
                    warn(f"a kind of plugin {info} is left out: {error}")

    def _register(self, info: PluginInfo, plugin: object) -> None:
        hooks = GuardedPlugin(self._hooks_of(plugin, info))
        try:
            self.register(hooks, info.name)
        except (pluggy.PluginValidationError, ValueError, TypeError) as error:
            if self.get_plugin(info.name) is hooks:
                self.unregister(hooks)
            leave_out(info, str(error).replace("\n", " "))
            return
        callers = self.get_hookcallers(hooks) or []
        info.hooks = tuple(sorted(caller.name for caller in callers))
        for caller in callers:
            if not caller.has_spec():
                warn(f"plugin {info} implements {caller.name}, which this version of ModelDB does not know")

    def _hooks_of(self, plugin: object, info: PluginInfo) -> Iterator[tuple[str, Callable[..., object]]]:
        """Iterate over the hooks that a plugin implements, guarded, by the names of their functions.

        Other names are not read: that could import the framework that a module loads lazily.
        """
        for name in dir(plugin):
            options = self.parse_hookimpl_opts(plugin, name) if name.startswith("modeldb_") else None
            if options is None:
                continue
            function = getattr(plugin, name)
            if not (options.get("wrapper") or options.get("hookwrapper")):  # those see what others raise
                guard = guarded(function, options.get("specname") or name, info)
                function = function if guard is function else hookspecs.hookimpl(**options)(guard)
            yield name, function

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


def plugin_manager(settings: Settings | None = None, *, disabled: Iterable[str] = ()) -> PluginManager:
    """Return the manager of this process, with all installed plugins loaded.

    Blocked are the plugins that ``settings.disable_plugins``, ``disabled`` and the variable ``MODELDB_DISABLE_PLUGINS``
    name.
    """
    blocked = {name.strip() for name in os.environ.get(BLOCK_VARIABLE, "").split(",")} - {""}
    blocked.update(disabled, settings.disable_plugins if settings is not None else ())
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


def _call(caller: pluggy.HookCaller, arguments: Mapping[str, object]) -> Any:  # noqa: ANN401 - what the hook returns
    try:
        return caller(**arguments)
    except ModelDBError:
        raise
    except Exception as error:
        if not caller.name.startswith(HARMLESS) or is_of_a_signal_handler(error):
            raise
        warn(f"the hook {caller.name} failed: {describe(error)}")
        return None if (caller.spec and caller.spec.opts["firstresult"]) else []


def _info(point: EntryPoint, known: dict[int, tuple[str, str]]) -> PluginInfo:
    """Return what is known of a plugin before it is loaded.

    Args:
        point: its entry point.
        known: name and version of distributions that were read before: each question parses a file, and ours has six plugins.
    """
    distribution = point.dist
    if distribution is None:
        return PluginInfo(point.name)
    if id(distribution) not in known:
        metadata = distribution.metadata
        known[id(distribution)] = ((metadata["Name"] or "").lower().replace("_", "-"), metadata["Version"] or "")
    return PluginInfo(point.name, *known[id(distribution)])
