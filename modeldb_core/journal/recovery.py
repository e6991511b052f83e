"""Ships the journals of processes that died, and puts their runs right.

A journal whose lock nobody holds belongs to the dead. Anyone who finds it holds the lock while shipping it, so two that
find it at once do not get in each other's way, and one that dies half way leaves it to the next.
"""

from __future__ import annotations

import logging
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import (
    ConfigurationError,
    CorruptJournalError,
    IntegrityError,
    ModelDBError,
    PermissionDeniedError,
    StoreReadOnlyError,
    StoreUnavailableError,
    StoreVersionError,
)
from modeldb_core.journal.journal_folders import DAMAGED, LeftAlone, Orphan, examine_locked, look, open_segments
from modeldb_core.journal.records import Chain, Plan, Seal
from modeldb_core.journal.sealing import build, read_plans, read_seals
from modeldb_core.journal.segments import SPOOL, Segment, SegmentReader, lock_folder, remove_directory
from modeldb_core.journal.sending import StoppedError, ship
from modeldb_core.log.changes import CLOSE, SALT_BYTES, STREAM, UPDATE, Change
from modeldb_core.log.stream import Entry, StreamWriter
from modeldb_core.model.entities import KILLED, now_us
from modeldb_core.queries import Query, condition
from modeldb_core.runtime.owned import Folder
from modeldb_core.stores.numbering import number_shipped

if TYPE_CHECKING:
    from pathlib import Path

    from modeldb_core.stores import ArtifactStore, MetadataStore

logger = logging.getLogger("modeldb")

Progress = Callable[[str, int, int], None]

_left_alone: set[Path] = set()  # of which it was said
_OF_THE_STORE = (StoreUnavailableError, StoreReadOnlyError, PermissionDeniedError, ConfigurationError)
"""What is raised because of the store and not of a journal: no other journal would be shipped either."""


@dataclass(slots=True)
class Recovered:
    """What :func:`recover` did.

    Attributes:
        streams: identifiers of the streams that were shipped.
        changes: how many changes the store had not seen.
        runs: runs whose process had died, now marked killed.
        damaged: folders that were kept aside, since they hold bytes that no crash leaves behind.
        newer: folders that were left alone, since a newer version of ModelDB wrote them.
        left_alone: what was not shipped and why, ``newer`` included: it is not a journal of this user, or broken.
    """

    streams: list[str] = field(default_factory=list)
    changes: int = 0
    runs: list[str] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    newer: list[Path] = field(default_factory=list)
    left_alone: list[LeftAlone] = field(default_factory=list)


def orphans(journal_dir: Path, store_url: str | None = None) -> Iterator[Path]:
    """Iterate over the folders of streams whose process is gone, of one store or of all.

    A folder is an orphan if it is a journal of this user and nobody holds its lock at this moment.
    """
    for found in look(journal_dir):
        if isinstance(found, Orphan) and (store_url is None or found.store_url in (store_url, "")):
            yield found.path


def recover(
    journal_dir: Path,
    store_url: str,
    store: MetadataStore,
    open_artifacts: Callable[[], ArtifactStore],
    progress: Progress | None = None,
    stopped: threading.Event | None = None,
) -> Recovered:
    """Ship the journals of dead processes that logged to this store, and the files that wait beside them.

    One that cannot be shipped keeps no other from being shipped: it is named in what is returned.

    Args:
        progress: called with (stream, bytes shipped, bytes in all) of each journal, from several threads.
        stopped: calls it off; what is not shipped then stays where it is.

    Raises:
        StoreUnavailableError: the store cannot be reached. What is not shipped stays in the journals.
    """
    done = Recovered()
    target = _Target(store_url, store, open_artifacts, progress, stopped or threading.Event())
    for found in look(journal_dir):
        if target.stopped.is_set():
            break
        if isinstance(found, LeftAlone):
            _leave_alone(found, done)
        elif found.store_url in (store_url, ""):
            try:
                _recover(journal_dir, found.path.name, target, done)
            except StoppedError:
                break
    return done


@dataclass(frozen=True, slots=True)
class _Target:
    """Where journals go."""

    store_url: str
    store: MetadataStore
    open_artifacts: Callable[[], ArtifactStore]
    progress: Progress | None
    stopped: threading.Event


def _recover(journal_dir: Path, name: str, target: _Target, done: Recovered) -> None:
    """Ship one journal and remove it, unless somebody else is doing so."""
    path = journal_dir / name
    try:
        with Folder.open(journal_dir, is_given=True) as root, root.folder(name) as folder:
            lock = lock_folder(folder)
            if lock is None:
                return
            try:
                _recover_stream(folder, target, done)
            except (CorruptJournalError, IntegrityError) as error:
                kept = path.with_name(_set_aside(root, name))
                done.damaged.append(kept)
                logger.warning("A journal is damaged and was kept aside as %s: %s", kept, error)
            finally:
                os.close(lock)
    except FileNotFoundError:
        return  # another process has just finished with it
    except _OF_THE_STORE:
        raise
    except StoreVersionError as error:
        _leave_alone(LeftAlone(path, str(error), is_pending=True, is_newer=True), done)
    except ModelDBError as error:
        reason = f"{target.store_url} refuses what it holds ({error}); look at it"
        _leave_alone(LeftAlone(path, reason, is_pending=True), done)
    except OSError as error:
        _leave_alone(LeftAlone(path, f"it cannot be shipped ({error.strerror or error})", is_pending=True), done)
    except StoppedError:
        raise
    except Exception as error:  # of a store that is somebody else's code, and answers what no store does
        msg = (
            f"{target.store_url} or its artifact store failed as no store should ({type(error).__name__}: {error}); what was "
            f"not shipped stays in {path}"
        )
        raise StoreUnavailableError(msg) from error


def _set_aside(root: Folder, name: str) -> str:
    """Rename a damaged journal, over nothing; return its new name."""
    taken, kept, number = set(root.names()), f"{name}{DAMAGED}", 1
    while kept in taken:
        number += 1
        kept = f"{name}{DAMAGED}-{number}"
    root.rename(name, kept)
    return kept


def _leave_alone(found: LeftAlone, done: Recovered) -> None:
    done.left_alone.append(found)
    if found.is_newer:
        done.newer.append(found.path)
    if found.is_pending and found.path not in _left_alone:
        _left_alone.add(found.path)
        logger.warning("%s", found.reason if found.is_newer else found)


def _recover_stream(folder: Folder, target: _Target, done: Recovered) -> None:
    found = examine_locked(folder)
    if isinstance(found, LeftAlone):
        _leave_alone(found, done)
        return
    readers = open_segments(folder, found.segments)
    if readers and readers[0].header["store_url"] != target.store_url:
        return
    for strange in found.strange:
        _leave_alone(strange, done)
    shipped = 0
    lock = threading.Lock()

    def advance(size: int) -> None:
        nonlocal shipped
        with lock:
            shipped += size
            if target.progress is not None:
                target.progress(folder.path.name, shipped, found.size_bytes)

    for reader in readers:
        if reader.used > 0:
            done.changes += _ship_segment(reader, target.store)
            advance(reader.used)
    if readers:
        done.runs += _put_right(readers[-1].header, target.store)
    if found.files:
        with folder.folder(SPOOL) as spool:
            paths = [spool.path / name for name in found.files]
            ship(paths, target.open_artifacts(), advance, target.stopped, folder=spool)
    if readers:
        done.streams.append(folder.path.name)
    damaged = [reader.path for reader in readers if reader.damaged]
    for reader in readers:
        reader.memory.close()
    if damaged:
        msg = f"{damaged[0].name} holds records after one that cannot be read; everything before it was shipped"
        raise CorruptJournalError(msg)
    remove_directory(folder.path)


def _ship_segment(reader: SegmentReader, store: MetadataStore) -> int:
    """Apply what the store has not seen of a segment, sealing what its process had not; return how many changes."""
    segment = reader.segment()
    with _reading(reader):
        plans, seals = read_plans(segment, segment.used), read_seals(segment)
    actor = seals[-1].actor if seals else _actor_of(reader.header, store)
    head = store.head(reader.header["stream_id"])
    chain = Chain(head.seq, head.hash)
    applied, at = 0, 0

    def apply(changes: list[Change]) -> None:
        nonlocal applied, chain
        store.apply(changes)
        number_shipped(store, changes, actor)
        applied += sum(change.seq > chain.seq for change in changes)
        chain = Chain(changes[-1].seq, changes[-1].hash)

    for mark in _in_force(reader, seals):
        if mark.last_seq > chain.seq:
            changes = _sealed(reader, segment, mark, plans)
            if not _continues(changes, mark.first, chain):
                # It was sealed after records that lived in memory only and died with it: the store has seen nothing of
                # it, nor of what was sealed later, so all of that may be numbered again.
                break
            apply(changes)
        at = mark.end
    made = _new_seal(reader, segment, at, chain, actor) if at < segment.used else None
    if made is not None:
        apply(_sealed(reader, segment, made, plans))
    return applied


def _in_force(reader: SegmentReader, seals: list[Seal]) -> list[Seal]:
    """Return the seals that say which records became which changes: a recovery may have sealed some anew."""
    kept: list[Seal] = []
    for mark in reversed(seals):
        if not mark.start <= mark.end <= reader.used:
            msg = f"{reader.path.name} has a seal of bytes {mark.start} to {mark.end}, and has {reader.used}"
            raise CorruptJournalError(msg)
        if not kept or mark.end <= kept[-1].start:
            kept.append(mark)
    return kept[::-1]


def _sealed(reader: SegmentReader, segment: Segment, mark: Seal, plans: dict[int, Plan]) -> list[Change]:
    """Return the changes that a seal stands for, as they were when it was made."""
    with _reading(reader):
        changes, _ = build(
            segment,
            mark.start,
            mark.end,
            stream_id=reader.header["stream_id"],
            actor=mark.actor,
            first=mark.first,
            sealed_at=mark.sealed_at,
            salt=mark.salt,
            plans=plans,
        )
    if not changes or changes[-1].hash != mark.last_hash:
        msg = f"what {reader.path.name} holds from {mark.start} to {mark.end} is not what was sealed there"
        raise CorruptJournalError(msg)
    return changes


def _continues(changes: list[Change], first: Chain, chain: Chain) -> bool:
    """Return whether changes that begin after ``first`` go on from where a stream stands, which may be among them."""
    places = [(first.seq, first.hash), *((change.seq, change.hash) for change in changes)]
    return (chain.seq, chain.hash) in places


def _actor_of(header: dict[str, Any], store: MetadataStore) -> str:
    """Return who acts in a stream of which nothing is sealed: where its process did not know, the store does."""
    actor: str = header["actor"]
    return actor if header.get("is_actor_known", True) else store.user or actor


def _new_seal(reader: SegmentReader, segment: Segment, start: int, first: Chain, actor: str) -> Seal | None:
    """Seal the last records of a dead process, in its segment, before they are sent: so that a crash now repeats nothing."""
    sealed_at, salt, end = _last_write_us(reader), os.urandom(SALT_BYTES), segment.used
    with _reading(reader):
        changes, chain = build(
            segment,
            start,
            end,
            stream_id=reader.header["stream_id"],
            actor=actor,
            first=first,
            sealed_at=sealed_at,
            salt=salt,
            plans=read_plans(segment, start),
        )
    if not changes:
        return None
    mark = Seal(start, end, first, sealed_at, salt, chain.seq, chain.hash, actor)
    record = mark.record()
    if segment.used + len(record) <= segment.size:
        segment.memory[segment.used : segment.used + len(record)] = record
        segment.memory.flush()
        segment.used += len(record)
    return mark


def _put_right(header: dict[str, Any], store: MetadataStore) -> list[str]:
    """Mark the runs killed that the stream left running, and close it."""
    stream_id = header["stream_id"]
    head = store.head(stream_id)
    if head.seq == 0 or head.closed:
        return []
    left = condition("stream_id = ? and status in ?", stream_id, ("running", "lost"))
    query = Query(kind="run", filter=left, limit=1000)
    runs = store.find(query).entities
    now = now_us()
    note = f"The process that logged this run ended without a word; its journal was recovered at {_clock(now)}."
    entries = []
    for run in runs:
        began_at = run.document.get("started_at")
        ended_at = max(
            head.recorded_at, began_at if isinstance(began_at, int) else 0
        )  # the clock may have been set back
        update = {"set": {"status": KILLED, "finished_at": ended_at}, "add": {"notes": [note]}}
        entries.append(Entry(UPDATE, "run", run.entity_id, update))
    entries.append(Entry(CLOSE, STREAM, stream_id, {"recovered": True}))
    stream = StreamWriter(stream_id, _actor_of(header, store), head.seq, head.hash)
    at = max(now, head.recorded_at)
    store.apply([stream.write(entry, at) for entry in entries])
    return [run.entity_id for run in runs]


@contextmanager
def _reading(reader: SegmentReader) -> Iterator[None]:
    """Say of records that are whole and make no sense that the journal is damaged."""
    try:
        yield
    except ModelDBError:
        raise
    except (ValueError, TypeError, LookupError, RecursionError, OverflowError, AttributeError, struct.error) as error:
        msg = f"{reader.path.name} holds a record that means nothing ({type(error).__name__}: {error})"
        raise CorruptJournalError(msg) from error


def _last_write_us(reader: SegmentReader) -> int:
    return int(reader.path.stat().st_mtime * 1_000_000)


def _clock(time_us: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time_us / 1_000_000))


__all__ = ["Change", "Recovered", "orphans", "recover"]
