"""SQLAlchemy by its names, imported when the first statement is built: it takes as long as all else that a first run needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import *  # noqa: F403 - its names, for checkers of types
else:

    def __getattr__(name: str) -> object:
        import sqlalchemy

        return getattr(sqlalchemy, name)
