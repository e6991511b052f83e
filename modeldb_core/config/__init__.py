"""The settings: where they come from, what a file may decide by whose it is, and stored tokens.

May import: ``stores`` and below. Begin with ``settings.py``, whose names (and those of
``locations.py``) can be imported from here; ``trust.py`` says what a file of
somebody else may not decide.
"""

from __future__ import annotations

from modeldb_core.config.locations import (
    config_files,
    default_cache_dir,
    default_journal_dir,
    system_config_file,
    working_folder,
)
from modeldb_core.config.settings import DEFAULT_URL, FINAL_VARIABLE, Settings, read_settings

__all__ = [
    "DEFAULT_URL",
    "FINAL_VARIABLE",
    "Settings",
    "config_files",
    "default_cache_dir",
    "default_journal_dir",
    "read_settings",
    "system_config_file",
    "working_folder",
]
