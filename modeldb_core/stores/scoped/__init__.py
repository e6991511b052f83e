"""A store for one principal: narrowed to what lies in some workspaces and projects.

May import: what ``stores`` may. Begin with ``store.py``, whose methods are those of the contract; ``sight.py`` says what is
seen, ``log.py`` narrows the log, ``gate.py`` and ``names.py`` judge what is written.
"""

from __future__ import annotations

from modeldb_core.stores.scoped.scope import Scope
from modeldb_core.stores.scoped.store import ScopedStore

__all__ = ["Scope", "ScopedStore"]
