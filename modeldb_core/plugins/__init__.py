"""Plugins: found, guarded, and asked for stores. Built-in backends and integrations come through the same door as anyone else's.

May import: ``config``, ``hookspecs``, ``stores`` and below. Begin with ``manager.py`` (finding and calling plugins), ``registry.py`` (opening stores) and ``places.py`` (where stores are); their
names can be imported from here.
"""

from __future__ import annotations

from modeldb_core.plugins.isolation import BLOCK_ALL, BLOCK_VARIABLE, OWN_DISTRIBUTION, PluginInfo
from modeldb_core.plugins.manager import PluginManager, list_plugins, plugin_manager
from modeldb_core.plugins.places import Places, load_settings, places_for
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
    "Places",
    "PluginInfo",
    "PluginManager",
    "find_backend",
    "list_plugins",
    "load_settings",
    "load_target",
    "open_artifacts",
    "open_store",
    "places_for",
    "plugin_manager",
    "project_options",
    "store_options",
]
