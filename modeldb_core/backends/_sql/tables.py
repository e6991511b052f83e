"""The tables by their names: each is defined, and SQLAlchemy imported for it, when somebody builds a statement with it.

What only writes finds its statements prepared (``prepared.py``), and needs none. ``table_definitions.py`` has the tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modeldb_core.backends._sql.table_definitions import *  # noqa: F403 - the tables, for checkers of types
else:

    def __getattr__(name: str) -> object:
        from modeldb_core.backends._sql import table_definitions

        return getattr(table_definitions, name)
