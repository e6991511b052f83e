"""Plugins: found, guarded, and asked for stores. Built-in backends and integrations come through the same door as anyone else's.

May import: ``config``, ``hookspecs``, ``stores`` and below. Begin with ``manager.py``, whose names can be imported from here.
"""

from __future__ import annotations

from modeldb_core.plugins.manager import (
    BLOCK_ALL,
    BLOCK_VARIABLE,
    OWN_DISTRIBUTION,
    PluginInfo,
    PluginManager,
    find_backend,
    list_plugins,
    load_target,
    open_artifacts,
    open_store,
    plugin_manager,
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
