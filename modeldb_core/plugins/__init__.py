"""Plugins: found, guarded, and asked for stores. Built-in backends and integrations come through the same door as anyone else's.

May import: ``config``, ``hookspecs``, ``stores`` and below. Begin with ``manager.py`` (finding and calling plugins) and ``registry.py`` (opening stores); their
names can be imported from here.
"""

from __future__ import annotations

from modeldb_core.plugins.isolation import BLOCK_ALL, BLOCK_VARIABLE, OWN_DISTRIBUTION, PluginInfo
from modeldb_core.plugins.manager import PluginManager, list_plugins, plugin_manager
from modeldb_core.plugins.registry import (
    find_backend,
    load_target,
    open_artifacts,
    open_store,
    project_options,
    store_options,
)

__all__ = [
    "BLOCK_ALL",
    "BLOCK_VARIABLE",
    "OWN_DISTRIBUTION",
    "PluginInfo",
    "PluginManager",
    "find_backend",
    "list_plugins",
    "load_target",
    "open_artifacts",
    "open_store",
    "plugin_manager",
    "project_options",
    "store_options",
]
