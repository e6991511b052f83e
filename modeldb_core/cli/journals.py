"""What lies in the folder of journals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Orphan:
    """The journal of a process that died: of which store, and how many bytes it takes with the files that wait in it."""

    path: Path
    store_url: str
    size_bytes: int


def orphaned_journals(journal_dir: Path) -> list[Orphan]:
    """Return the journals of dead processes, of every store; an unreadable one has an empty store."""
    from modeldb_core.recovery import orphans

    return [
        Orphan(path, _store_url(path), sum(map(_size, [*path.glob("*.journal"), *path.glob("spool/*")])))
        for path in orphans(journal_dir)
    ]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # another process has just delivered it
        return 0


def damaged_journals(journal_dir: Path) -> list[Path]:
    """Return the journals that recovery set aside."""
    return sorted(journal_dir.glob("*.damaged*")) if journal_dir.is_dir() else []


def _store_url(directory: Path) -> str:
    from modeldb_core.errors import CorruptJournalError, StoreVersionError
    from modeldb_core.segments import SegmentReader

    for path in sorted(directory.glob("*.journal")):
        try:
            reader = SegmentReader.open(path)
        except (OSError, CorruptJournalError, StoreVersionError):
            return ""
        if reader is not None:
            reader.memory.close()
            return str(reader.header.get("store_url", ""))
    return ""
