"""What lies in the folder of journals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Orphan:
    """The journal of a process that died.

    Attributes:
        store_url: what it is for; empty where that cannot be read.
        size_bytes: what it takes with the files that wait in it.
        files: how many files those are.
        written_at: when it was written last.
    """

    path: Path
    store_url: str
    size_bytes: int
    files: int
    written_at: datetime


def orphaned_journals(journal_dir: Path) -> list[Orphan]:
    """Return the journals of dead processes, of every store; an unreadable one has an empty store."""
    from modeldb_core.recovery import orphans

    return [_orphan(path) for path in orphans(journal_dir)]


def _orphan(directory: Path) -> Orphan:
    files = [path for path in directory.glob("spool/*") if not path.name.startswith(".")]
    found = [_stat(path) for path in (*directory.glob("*.journal"), *files)]
    written_at = datetime.fromtimestamp(max((time for _, time in found), default=0.0), UTC)
    return Orphan(directory, _store_url(directory), sum(size for size, _ in found), len(files), written_at)


def _stat(path: Path) -> tuple[int, float]:
    try:
        found = path.stat()
    except FileNotFoundError:  # another process has just delivered it
        return 0, 0.0
    return found.st_size, found.st_mtime


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
