"""Ships the journals of processes that died, and puts their runs right.

A journal whose lock nobody holds belongs to the dead. Whoever finds it holds the lock while shipping it, so two that
find it at once do not get in each other's way, and one that dies half way leaves it to the next.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modeldb_core.changes import CLOSE, EMPTY_HEAD, SALT_BYTES, STREAM, UPDATE, Change, payload_of, seal
from modeldb_core.entities import KILLED, now_us
from modeldb_core.errors import CorruptJournalError, IntegrityError, StoreVersionError
from modeldb_core.queries import Query
from modeldb_core.records import Chain, Seal
from modeldb_core.sealing import build, read_plans, read_seals
from modeldb_core.segments import Segment, SegmentReader, is_locked, lock_directory, remove_directory
from modeldb_core.uploads import StoppedError, ship, waiting_files

if TYPE_CHECKING:
    from pathlib import Path

    from modeldb_core.stores import ArtifactStore, MetadataStore

logger = logging.getLogger("modeldb")

Progress = Callable[[str, int, int], None]

_left_alone: set[Path] = set()  # of which it was said


@dataclass(slots=True)
class Recovered:
    """What :func:`recover` did.

    Attributes:
        streams: identifiers of the streams that were shipped.
        changes: how many changes the store had not seen.
        runs: runs whose process had died, now marked killed.
        damaged: folders that were kept aside, since they hold bytes that no crash leaves behind.
        newer: folders that were left alone, since a newer version of ModelDB wrote them.
    """

    streams: list[str] = field(default_factory=list)
    changes: int = 0
    runs: list[str] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    newer: list[Path] = field(default_factory=list)


def orphans(journal_dir: Path, store_url: str | None = None) -> Iterator[Path]:
    """Iterate over the folders of streams whose process is gone, of one store or of all.

    A folder is an orphan if nobody holds its lock at this moment.
    """
    if not journal_dir.is_dir():
        return
    for directory in sorted(journal_dir.iterdir()):
        if directory.name.startswith(".") or directory.suffix or not directory.is_dir() or is_locked(directory):
            continue
        header = _first_header(directory)
        if store_url is None or header is None or header.get("store_url") == store_url:
            yield directory


def recover(
    journal_dir: Path,
    store_url: str,
    store: MetadataStore,
    open_artifacts: Callable[[], ArtifactStore],
    progress: Progress | None = None,
    stopped: threading.Event | None = None,
) -> Recovered:
    """Ship the journals of dead processes that logged to this store, and the files that wait beside them.

    Args:
        progress: called with (stream, bytes shipped, bytes in all) of each journal, from several threads.
        stopped: calls it off; what is not shipped then stays where it is.

    Raises:
        StoreUnavailableError: the store cannot be reached. What is not shipped stays in the journals.
    """
    done = Recovered()
    for directory in orphans(journal_dir, store_url):
        if stopped is not None and stopped.is_set():
            break
        try:
            lock = lock_directory(directory)
        except OSError:
            continue  # another process has just finished with it
        if lock is None:
            continue
        try:
            _recover_stream(directory, store_url, store, open_artifacts, done, progress, stopped or threading.Event())
        except StoppedError:
            break
        except (CorruptJournalError, IntegrityError) as error:
            kept = directory.with_suffix(".damaged")
            directory.rename(kept)
            done.damaged.append(kept)
            logger.warning("A journal is damaged and was kept aside as %s: %s", kept, error)
        except StoreVersionError as error:
            done.newer.append(directory)
            if directory not in _left_alone:
                _left_alone.add(directory)
                logger.warning("%s", error)
        finally:
            os.close(lock)
    return done


def _recover_stream(
    directory: Path,
    store_url: str,
    store: MetadataStore,
    open_artifacts: Callable[[], ArtifactStore],
    done: Recovered,
    progress: Progress | None,
    stopped: threading.Event,
) -> None:
    readers = [reader for path in sorted(directory.glob("*.journal")) if (reader := SegmentReader.open(path))]
    if readers and readers[0].header.get("store_url") != store_url:
        return
    files = waiting_files(directory / "spool")
    total = sum(reader.used for reader in readers) + sum(path.stat().st_size for path in files)
    shipped = 0
    lock = threading.Lock()

    def advance(size: int) -> None:
        nonlocal shipped
        with lock:
            shipped += size
            if progress is not None:
                progress(directory.name, shipped, total)

    for reader in readers:
        if reader.used > 0:
            done.changes += _ship_segment(reader, store)
            advance(reader.used)
    if readers:
        done.runs += _put_right(readers[-1].header, store)
    if files:
        ship(files, open_artifacts(), advance, stopped)
    if readers:
        done.streams.append(directory.name)
    damaged = [reader.path for reader in readers if reader.damaged]
    for reader in readers:
        reader.memory.close()
    if damaged:
        msg = f"{damaged[0].name} holds records after one that cannot be read; everything before it was shipped"
        raise CorruptJournalError(msg)
    remove_directory(directory)


def _ship_segment(reader: SegmentReader, store: MetadataStore) -> int:
    """Apply what the store has not seen of a segment, sealing what its process had not; return how many changes."""
    segment = reader.segment()
    stream_id = reader.header["stream_id"]
    plans = read_plans(segment, segment.used)
    head = store.heads().get(stream_id, EMPTY_HEAD)
    applied, at = 0, 0
    for mark in [*read_seals(segment), None]:
        start, end = (mark.start, mark.end) if mark else (at, segment.used)
        at = end
        if start >= end or (mark and mark.last_seq <= head.seq):
            continue
        if mark is None or mark.first.seq != head.seq or mark.first.hash != head.hash:
            # Never sealed; or sealed after records that lived in memory only and died with it: the store has seen
            # nothing of it, so it may be numbered anew.
            mark = _new_seal(reader, segment, start, end, Chain(head.seq, head.hash))
            if mark is None:
                continue
        changes, _ = build(
            *(segment, start, end),
            stream_id=stream_id,
            actor=reader.header["actor"],
            first=mark.first,
            sealed_at=mark.sealed_at,
            salt=mark.salt,
            plans=plans,
        )
        if not changes or changes[-1].hash != mark.last_hash:
            msg = f"what {reader.path.name} holds from {start} to {end} is not what was sealed there"
            raise CorruptJournalError(msg)
        store.apply(changes)
        applied += len(changes)
        head = store.heads()[stream_id]
    return applied


def _new_seal(reader: SegmentReader, segment: Segment, start: int, end: int, first: Chain) -> Seal | None:
    """Seal records of a dead process, in its segment, before they are sent: so that a crash now repeats nothing."""
    sealed_at, salt = _last_write_us(reader), os.urandom(SALT_BYTES)
    changes, chain = build(
        *(segment, start, end),
        stream_id=reader.header["stream_id"],
        actor=reader.header["actor"],
        first=first,
        sealed_at=sealed_at,
        salt=salt,
        plans=read_plans(segment, start),
    )
    if not changes:
        return None
    mark = Seal(start, end, first, sealed_at, salt, chain.seq, chain.hash)
    record = mark.record()
    if segment.used + len(record) <= segment.size:
        segment.memory[segment.used : segment.used + len(record)] = record
        segment.memory.flush()
        segment.used += len(record)
    return mark


def _put_right(header: dict[str, str], store: MetadataStore) -> list[str]:
    """Mark the runs killed that the stream left running, and close it."""
    stream_id = header["stream_id"]
    head = store.heads().get(stream_id)
    if head is None or head.closed:
        return []
    query = Query(kind="run", filter=f"stream_id = '{stream_id}' and status in ('running', 'lost')", limit=1000)
    runs = store.find(query).entities
    now = now_us()
    note = f"The process that logged this run ended without a word; its journal was recovered at {_clock(now)}."
    drafts = []
    for run in runs:
        update = {"set": {"status": KILLED, "finished_at": head.recorded_at}, "add": {"notes": [note]}}
        drafts.append((UPDATE, "run", run.entity_id, payload_of(update)))
    drafts.append((CLOSE, STREAM, stream_id, payload_of({"recovered": True})))
    changes: list[Change] = []
    seq, previous = head.seq, head.hash
    for action, kind, entity_id, payload in drafts:
        seq += 1
        change = seal(
            *(stream_id, seq, previous),
            recorded_at=max(now, head.recorded_at),
            actor=header["actor"],
            action=action,
            kind=kind,
            entity_id=entity_id,
            payload=payload,
            salt=os.urandom(SALT_BYTES),
        )
        previous = change.hash
        changes.append(change)
    store.apply(changes)
    return [run.entity_id for run in runs]


def _first_header(directory: Path) -> dict[str, str] | None:
    for path in sorted(directory.glob("*.journal")):
        try:
            reader = SegmentReader.open(path)
        except (OSError, CorruptJournalError, StoreVersionError):
            return None
        if reader is not None:
            reader.memory.close()
            return reader.header
    return None


def _last_write_us(reader: SegmentReader) -> int:
    return int(reader.path.stat().st_mtime * 1_000_000)


def _clock(time_us: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time_us / 1_000_000))


__all__ = ["Change", "Recovered", "orphans", "recover"]
