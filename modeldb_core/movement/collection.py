"""The garbage collector: erases what was deleted long ago, and removes blobs that nothing names any more.

Nothing that is referenced ever goes, whatever runs meanwhile and whenever it is killed. What was deleted is erased by
changes, each batch of them whole or not at all, and what is left of an entity is found again by the next one. A blob
goes only if no entity mentions it and nobody has put it for the grace period: anyone who puts a blob that is there makes it
young again, and has the grace period to record what names it.
"""

from __future__ import annotations

from array import array
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.log.changes import DELETE, ERASE, is_understood
from modeldb_core.log.erasures import Target, can_be_erased, window_of
from modeldb_core.log.stream import Entry
from modeldb_core.model.schema import KINDS, parts_of
from modeldb_core.model.values import encode
from modeldb_core.movement.deletion import pages
from modeldb_core.movement.logs import changes_of
from modeldb_core.movement.references import mentioned_in
from modeldb_core.plugins import Places
from modeldb_core.queries import Query, condition
from modeldb_core.stores import REFRESH_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.model.entities import Entity
    from modeldb_core.movement.copying import Progress
    from modeldb_core.stores import ArtifactStore, BlobInfo, MetadataStore
    from modeldb_core.stores.direct import DirectWriter

_DOCUMENTS = 100  # in a page: some are large
_ERASURES = 10_000  # in a batch: the store works an entity out again for each
_BLOBS = 10_000  # that are looked up together
_WORKERS = 4
_LISTED = 1000
_LONGEST_S = 1e12  # that a timedelta holds


@dataclass(slots=True)
class Erased:
    """An entity that was erased, or would be.

    Attributes:
        changes, size_bytes: how many payloads, and their bytes.
    """

    kind: str
    entity_id: str
    name: str
    deleted_at: datetime
    changes: int = 0
    size_bytes: int = 0


@dataclass(slots=True)
class Collected:
    """What a collection did, or with ``dry_run`` would do.

    Attributes:
        erased: the entities, at most 1,000 of them.
        entities, changes, change_bytes: how many there were in all, and of how many changes the payloads.
        held: containers that were deleted long ago but still hold something that was not; they stay.
        blobs, blob_bytes: blobs that nothing named, and which are gone.
        young: blobs that nothing names, but that were put within the grace period.
        ageless: blobs that nothing names, and of which the artifact store does not know when they were put; they stay.
        kept: blobs that something names.
    """

    erased: list[Erased] = field(default_factory=list)
    entities: int = 0
    changes: int = 0
    change_bytes: int = 0
    held: list[str] = field(default_factory=list)
    blobs: int = 0
    blob_bytes: int = 0
    young: int = 0
    ageless: int = 0
    kept: int = 0


def erase_deleted(
    writer: DirectWriter, window: timedelta, done: Collected, *, dry_run: bool = False, progress: Progress | None = None
) -> None:
    """Erase all that was said of entities that were deleted longer ago than ``window``, points included.

    When something was deleted is what its deletion says; anyone who may write could say that it was long ago. So it counts as
    deleted no earlier than anything else was said of it.

    What stays is that there was something, who made it, who deleted it and who erased it, and when. Where more time was
    given for restoring it than ``window``, the deletion is repeated first, with that window and the time that it had:
    stores let nothing be erased before, and so it is on record who has cut it short.
    """
    store, before = writer.store, datetime.now(UTC) - window
    for kind in reversed(list(KINDS)):  # what is contained comes before what contains it
        for entity in pages(store, _deleted_before(kind, before), _DOCUMENTS):
            if (holds := _still_holds(store, entity, before)) is not None:
                done.held.append(f"{kind} {entity.name!r} ({entity.entity_id}) holds {holds}")
                continue
            _erase(writer, entity, done, before, window, dry_run=dry_run)
            if progress is not None:
                progress("deleted entities", done.entities, None)


def remove_blobs(
    store: MetadataStore,
    artifacts: ArtifactStore,
    grace: timedelta,
    done: Collected,
    *,
    window: timedelta | None = None,
    dry_run: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> None:
    """Remove the blobs that no entity mentions and that nobody has put for the time of ``grace`` and a day.

    (The day is how much older than it is a blob may look; see :data:`~modeldb_core.stores.REFRESH_S`.)

    Memory holds 8 bytes for each digest that entities mention, and 10,000 blobs at a time.

    Args:
        window: entities that were deleted longer ago count as erased: for a ``dry_run``, which erases none.
        force: go on where another store keeps files there too, or the store mentions none of the blobs.

    Raises:
        InvalidArgumentError: blobs may be another store's: it has left its name there, or none of them is mentioned; or
            the store shows only a part of what there is.
    """
    _check_alone(store, artifacts, force=force)
    tell = progress or (lambda *_: None)
    mentioned = _mentioned_by(store, datetime.now(UTC) - window if window is not None else None, tell)
    stale: list[BlobInfo] = []
    before = datetime.now(UTC) - grace - timedelta(seconds=REFRESH_S)
    with ThreadPoolExecutor(_WORKERS, "modeldb-gc") as pool:
        for chunk in _chunks(artifacts.list()):
            stale += _sort(chunk, mentioned, before, done)
            tell("blobs", done.kept + done.young + done.ageless + len(stale) + done.blobs, None)
            if not done.kept and not force:
                continue  # perhaps the wrong store: wait for the first blob that it knows
            _remove(pool, artifacts, stale, before, done, dry_run=dry_run)
            stale = []
        if stale and not dry_run and not force:
            msg = (
                f"{store.url} mentions none of the files in {artifacts.url}: they may belong to another store. If they do "
                f"not, and {len(stale):,} files are to go, use force=True, or --force"
            )
            raise InvalidArgumentError(msg)
        _remove(pool, artifacts, stale, before, done, dry_run=dry_run)


def _check_alone(store: MetadataStore, artifacts: ArtifactStore, *, force: bool) -> None:
    """Refuse to collect the garbage of a store that is not whole, or whose artifact store has files of others."""
    if store.is_partial:
        msg = f"{store.url} shows only a part of what there is, and what the rest needs would be removed; open the whole store"
        raise InvalidArgumentError(msg)
    others = sorted(artifacts.owners() - {artifacts.owner, Places().owner_name(store.url, artifacts.url)})
    if others and not force:
        msg = (
            f"{artifacts.url} also holds files of {', '.join(others)}, which {store.url} does not know; nothing is removed. "
            "Give each store an artifact_url of its own; if those are the same store under another name, or gone, use "
            "force=True, or --force"
        )
        raise InvalidArgumentError(msg)


def _mentioned_by(store: MetadataStore, doomed: datetime | None, tell: Progress) -> _Mentioned:
    """Return the digests that the entities of a store mention; those deleted before ``doomed`` do not count."""
    mentioned = _Mentioned()
    for number, entity in enumerate(_documents(store, doomed), 1):
        mentioned.add(mentioned_in(encode(dict(entity.document))))
        if number % _DOCUMENTS == 0:
            tell("entities", number, None)
    if store.carries():  # of kinds and with actions that nobody here knows: what they mention is kept
        for change in changes_of(store):
            if change.payload is not None and not is_understood(change):
                mentioned.add(mentioned_in(change.payload))
    return mentioned


# -- entities ---------------------------------------------------------------------------------------------------------


def _deleted_before(kind: str, time: datetime) -> Query:
    return Query(
        kind, condition("deleted_at < ? and updated_at < ?", time, time), "entity_id", (), include_deleted=True
    )


def _is_over(entity: Entity, before: datetime) -> bool:
    """Return whether an entity was deleted before a time, and nothing was said of it since."""
    times = (entity.deleted_at, entity.updated_at)
    return all(time is not None and time < before for time in times)


def _still_holds(store: MetadataStore, entity: Entity, before: datetime) -> str | None:
    """Return in words what keeps a container: something in it that is not deleted, or not for long enough."""
    for kind in dict.fromkeys(kind for kind, _ in parts_of(entity.KIND) if not KINDS[kind].remark):
        stays = condition("deleted_at is null or deleted_at >= ? or updated_at >= ?", before, before)
        query = Query(kind, stays, limit=0, count=True, within=entity.entity_id, include_deleted=True)
        if count := store.find(query).total:
            return f"{count:,} of kind {kind} that are not deleted, or not for long enough"
    return None


def _erase(
    writer: DirectWriter, entity: Entity, done: Collected, before: datetime, window: timedelta, *, dry_run: bool
) -> None:
    assert entity.deleted_at is not None
    erased = Erased(entity.KIND, entity.entity_id, entity.name, entity.deleted_at)
    targets, promised = [], timedelta(0)  # some 300 bytes for each change
    for change in changes_of(writer.store, entity_id=entity.entity_id):
        if change.kind != entity.KIND:
            continue
        if change.action == DELETE:
            promised = timedelta(seconds=min(window_of(change), _LONGEST_S))
        elif can_be_erased(change) and change.payload is not None:
            erased.changes += 1
            erased.size_bytes += len(change.payload)
            targets.append(Target.of(change))
    if not dry_run:
        if targets and promised > window and not _shorten(writer, entity, before, window):
            return
        for at in range(0, len(targets), _ERASURES):
            some = targets[at : at + _ERASURES]
            entries = [Entry(ERASE, entity.KIND, entity.entity_id, target.payload()) for target in some]
            if not _record(writer, entity, entries, before):
                return
    if len(done.erased) < _LISTED:
        done.erased.append(erased)
    done.entities += 1
    done.changes += erased.changes
    done.change_bytes += erased.size_bytes


def _shorten(writer: DirectWriter, entity: Entity, before: datetime, window: timedelta) -> bool:
    """Delete an entity again, with a shorter window; unless it was restored, or somebody else erased it."""
    entry = Entry(DELETE, entity.KIND, entity.entity_id, {"window_s": window.total_seconds()})
    return _record(writer, entity, [entry], before, recorded_at=entity.document["deleted_at"])


def _record(
    writer: DirectWriter, entity: Entity, entries: list[Entry], before: datetime, *, recorded_at: int | None = None
) -> bool:
    """Record changes of an entity, unless it was restored a moment ago, or somebody else erased it."""
    try:
        if not _is_over(writer.store.get(entity.KIND, entity.entity_id), before):
            return False
    except NotFoundError:
        return False
    writer.apply(entries, recorded_at=recorded_at)
    return True


# -- blobs ------------------------------------------------------------------------------------------------------------


class _Mentioned:
    """The digests that are mentioned, by their first 8 bytes: two that share them keep each other, which does no harm."""

    def __init__(self) -> None:
        self._fresh = array("Q")
        self._sorted: Any = None

    def add(self, digests: list[str]) -> None:
        self._fresh.extend(int(digest[:16], 16) for digest in digests)
        if len(self._fresh) >= 1_000_000:
            self._merge()

    def among(self, digests: list[str]) -> list[bool]:
        """Return of each digest whether it is mentioned."""
        self._merge()
        asked = np.array([int(digest[:16], 16) for digest in digests], np.uint64)
        if not len(self._sorted):
            return [False] * len(digests)
        places = np.searchsorted(self._sorted, asked).clip(max=len(self._sorted) - 1)
        found: list[bool] = (self._sorted[places] == asked).tolist()
        return found

    def _merge(self) -> None:
        fresh = np.frombuffer(self._fresh, np.uint64) if self._fresh else np.empty(0, np.uint64)
        if self._sorted is None or len(fresh):
            known = np.empty(0, np.uint64) if self._sorted is None else self._sorted
            self._sorted = np.unique(np.concatenate([known, fresh]))
        self._fresh = array("Q")


def _documents(store: MetadataStore, doomed: datetime | None) -> Iterator[Entity]:
    for kind in KINDS:
        for entity in pages(store, Query(kind, "", "entity_id", include_deleted=True), _DOCUMENTS):
            if doomed is None or not _is_over(entity, doomed):
                yield entity


def _chunks(blobs: Iterator[BlobInfo]) -> Iterator[list[BlobInfo]]:
    chunk: list[BlobInfo] = []
    for info in blobs:
        chunk.append(info)
        if len(chunk) >= _BLOBS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _sort(chunk: list[BlobInfo], mentioned: _Mentioned, before: datetime, done: Collected) -> list[BlobInfo]:
    """Return those of some blobs that may go."""
    stale = []
    for info, is_mentioned in zip(chunk, mentioned.among([info.digest for info in chunk]), strict=True):
        modified_at = info.modified_at
        if is_mentioned:
            done.kept += 1
        elif modified_at is None:
            done.ageless += 1
        elif modified_at >= before:
            done.young += 1
        else:
            stale.append(info)
    return stale


def _remove(
    pool: ThreadPoolExecutor,
    artifacts: ArtifactStore,
    stale: list[BlobInfo],
    before: datetime,
    done: Collected,
    *,
    dry_run: bool,
) -> None:
    def remove(info: BlobInfo) -> bool:
        return dry_run or artifacts.delete_stale(info.digest, before)

    for info, is_gone in zip(stale, pool.map(remove, stale), strict=True):
        if is_gone:
            done.blobs += 1
            done.blob_bytes += info.size_bytes
        else:
            done.young += 1
