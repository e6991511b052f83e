"""What lies in the folder of journals: which of it is a journal of this user, and why the rest is left alone.

A journal is a real folder of this user, named by a stream, with a lock and segments whose headers name the same stream.
Whatever else lies there may be anybody's: it is neither shipped nor renamed nor removed, and a sentence says why.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import CorruptJournalError, StoreVersionError
from modeldb_core.journal.segments import LOCK, SPOOL, SegmentReader, is_segment, is_spooled, lock_folder
from modeldb_core.model.entities import is_id
from modeldb_core.runtime.owned import Folder, NotOursError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAMAGED = ".damaged"
"""The end of the name of a journal that recovery set aside; a number follows where there are several."""
_MAX_TEXT = 4096  # of an address or an actor
_MAX_NUMBER = 1 << 62
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """Something in a folder of journals that is not shipped.

    Attributes:
        path: where it is.
        reason: why, and what to do about it.
        is_pending: whether it may hold what this user logged, so that somebody has to look.
        is_newer: whether a newer version of ModelDB wrote it, which will ship it.
    """

    path: Path
    reason: str
    is_pending: bool = False
    is_newer: bool = False

    def __str__(self) -> str:
        return f"{self.path} is left alone: {self.reason}"


@dataclass(slots=True)
class Orphan:
    """The journal of a process that died.

    Attributes:
        path: its folder.
        header: of its first segment; ``None``: its process died before it had written anything.
        size_bytes: what it takes with the files that wait in it.
        written_at: when it was written last, in seconds since 1970-01-01 UTC.
        segments: the names of its segments, in their order.
        files: the names of the files that wait in its spool.
        strange: what lies in it and is not shipped.
    """

    path: Path
    header: dict[str, Any] | None = None
    size_bytes: int = 0
    written_at: float = 0.0
    segments: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    strange: list[LeftAlone] = field(default_factory=list)

    @property
    def store_url(self) -> str:
        """The store that it is for; empty where it names none."""
        return "" if self.header is None else str(self.header["store_url"])

    def _count(self, found: os.stat_result) -> None:
        self.size_bytes += found.st_size
        self.written_at = max(self.written_at, found.st_mtime)


def look(journal_dir: Path) -> Iterator[Orphan | LeftAlone]:
    """Iterate over the journals of dead processes, and over what is left alone; those of living processes are neither.

    Nothing is raised for what lies there.

    Raises:
        OSError: the folder itself cannot be read.
    """
    try:
        root = Folder.open(journal_dir, is_given=True)
    except (FileNotFoundError, NotADirectoryError):
        return
    with root:
        for name in root.names():
            if not name.startswith(".") and not is_set_aside(name) and (found := _examine(root, name)) is not None:
                yield found


def is_set_aside(name: str) -> bool:
    """Return whether a name is that of a journal that recovery set aside."""
    return is_id(name.partition(".")[0]) and name.partition(".")[2].partition("-")[0] == DAMAGED[1:]


def _examine(root: Folder, name: str) -> Orphan | LeftAlone | None:
    path = root.path / name
    if not is_id(name):
        return LeftAlone(path, "it is not named by a stream, so it is not a journal; journal_dir is for journals alone")
    try:
        with root.folder(name) as folder:
            return _examine_journal(folder)
    except FileNotFoundError:  # another process has just finished with it
        return None
    except NotOursError as error:
        return LeftAlone(path, f"{error}; its owner ships it, or copy it to have it under your name")
    except OSError as error:
        return LeftAlone(path, f"it cannot be read ({error.strerror or error})", is_pending=True)


def _examine_journal(folder: Folder) -> Orphan | LeftAlone | None:
    path = folder.path
    try:
        lock = lock_folder(folder)
    except FileNotFoundError:
        return _without_lock(folder)
    except NotOursError as error:
        return LeftAlone(path, f"{error}; so it is not a journal")
    except OSError:
        return None  # locks cannot be had here: `modeldb doctor` says so
    if lock is None:
        return None
    try:
        return examine_locked(folder)
    finally:
        os.close(lock)


def examine_locked(folder: Folder) -> Orphan | LeftAlone:
    """Look at the folder of a stream whose lock is held by the caller."""
    orphan = Orphan(folder.path)
    for name in folder.names():
        if name == SPOOL:
            _examine_spool(folder, orphan)
        elif name == LOCK:
            if folder.stat(LOCK).st_size:
                return LeftAlone(folder.path, f"its {LOCK!r} holds something, so ModelDB did not make it")
        elif not is_segment(name):
            orphan.strange.append(LeftAlone(folder.path / name, "ModelDB made nothing of that name in a journal"))
        else:
            orphan.segments.append(name)
            orphan._count(folder.stat(name))
    try:
        orphan.header = _first_header(folder, orphan.segments)
    except StoreVersionError as error:
        return LeftAlone(folder.path, str(error), is_pending=True, is_newer=True)
    except (CorruptJournalError, NotOursError) as error:
        return LeftAlone(
            folder.path, f"{error}, so it is not a journal that can be shipped; look at it", is_pending=True
        )
    if orphan.header is None and (orphan.files or orphan.strange):
        held = [*(f"{SPOOL}/{name}" for name in orphan.files), *(item.path.name for item in orphan.strange)]
        return LeftAlone(folder.path, f"it holds {_listed(held)} and no journal that says for which store; look at it")
    return orphan


def open_segments(folder: Folder, names: list[str]) -> list[SegmentReader]:
    """Return readers of the segments that were written; their headers agree with the folder and with one another.

    Raises:
        CorruptJournalError: one is not a segment of this journal.
        StoreVersionError: a newer version of ModelDB wrote it.
        NotOursError: one is a link, or not this user's.
    """
    readers = []
    for name in names:
        reader = SegmentReader.open(folder.path / name, folder)
        if reader is not None:
            readers.append(reader)
            check_header(reader.header, reader.path, readers[0].header)
    return readers


def check_header(header: dict[str, Any], path: Path, first: dict[str, Any] | None = None) -> None:
    """Refuse a header that says something else than the folder and the other segments.

    Args:
        path: of its segment.
        first: the header of the first segment.

    Raises:
        CorruptJournalError: the message names what is wrong.
    """
    for name, most in (("stream_id", 64), ("actor", _MAX_TEXT), ("store_url", _MAX_TEXT)):
        value = header.get(name)
        if not isinstance(value, str) or not value or len(value) > most or not _is_text(value):
            msg = f"{path} has a header with {name} = {_shown(value)}; expected a text"
            raise CorruptJournalError(msg)
        if first is not None and value != first.get(name):
            msg = f"{path} has a header with {name} = {_shown(value)}; the segment before it says {_shown(first.get(name))}"
            raise CorruptJournalError(msg)
    if not isinstance(known := header.get("is_actor_known", True), bool):
        msg = f"{path} has a header with is_actor_known = {_shown(known)}; expected true or false"
        raise CorruptJournalError(msg)
    if header["stream_id"] != path.parent.name:
        msg = (
            f"{path} has a header with stream_id = {_shown(header['stream_id'])}; its folder is that of another stream"
        )
        raise CorruptJournalError(msg)
    for name in ("number", "base"):
        value = header.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MAX_NUMBER:
            msg = f"{path} has a header with {name} = {_shown(value)}; expected a whole number"
            raise CorruptJournalError(msg)
    if header["number"] != int(path.name[:8]):
        msg = f"{path} has a header with number = {header['number']}, which is not that of its name"
        raise CorruptJournalError(msg)


def _first_header(folder: Folder, names: list[str]) -> dict[str, Any] | None:
    for name in names:
        reader = SegmentReader.open(folder.path / name, folder, to_seal=False)
        if reader is not None:
            reader.memory.close()
            check_header(reader.header, reader.path)
            return reader.header
    return None


def _examine_spool(folder: Folder, orphan: Orphan) -> None:
    path = folder.path / SPOOL
    try:
        with folder.folder(SPOOL) as spool:
            for name in spool.names():
                if not is_spooled(name):
                    orphan.strange.append(LeftAlone(path / name, "it is not named by its digest"))
                elif (problem := _problem(spool, name)) is not None:
                    orphan.strange.append(LeftAlone(path / name, problem, is_pending=not name.startswith(".")))
                elif not name.startswith("."):  # which a process that died was still writing
                    orphan.files.append(name)
                    orphan._count(spool.stat(name))
    except OSError as error:
        orphan.strange.append(LeftAlone(path, f"{error.strerror or error}", is_pending=True))


def _problem(folder: Folder, name: str) -> str | None:
    try:
        os.close(folder.open_file(name))
    except OSError as error:
        return f"{error.strerror or error}"
    return None


def _without_lock(folder: Folder) -> LeftAlone | None:
    """Say of a folder without a lock what is strange; a process that keeps its journal in memory may use its spool."""
    names = [name for name in folder.names() if name != SPOOL]
    if not names:
        return None
    return LeftAlone(
        folder.path,
        f"it holds {_listed(names)} and no lock, so it is not a journal that can be shipped; look at it",
        is_pending=any(is_segment(name) and stat.S_ISREG(folder.stat(name).st_mode) for name in names),
    )


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(map(repr, names[:_SHOWN])) + (f" and {more:,} more" if more > 0 else "")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, (str, int, float, bool, type(None))) else f"a {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:100]}…"


__all__ = ["DAMAGED", "LeftAlone", "Orphan", "check_header", "examine_locked", "is_set_aside", "look", "open_segments"]
