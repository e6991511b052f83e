"""What lies in the folder of journals."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from modeldb_core.journal.journal_folders import LeftAlone, Orphan, is_set_aside, look

if TYPE_CHECKING:
    from pathlib import Path


def orphaned_journals(journal_dir: Path) -> list[Orphan]:
    """Return the journals of dead processes, of every store; one in which nothing was written has an empty store."""
    return [found for found in look(journal_dir) if isinstance(found, Orphan)]


def left_alone(journal_dir: Path) -> list[LeftAlone]:
    """Return what lies among the journals and is not shipped, because it is not a journal of this user or is broken."""
    found = list(look(journal_dir))
    alone = [item for item in found if isinstance(item, LeftAlone)]
    return alone + [strange for item in found if not isinstance(item, LeftAlone) for strange in item.strange]


def damaged_journals(journal_dir: Path) -> list[Path]:
    """Return the journals that recovery set aside."""
    return sorted(path for path in journal_dir.iterdir() if is_set_aside(path.name)) if journal_dir.is_dir() else []


def written_at(orphan: Orphan) -> datetime:
    """Return when a journal was written last."""
    return datetime.fromtimestamp(orphan.written_at, UTC)
