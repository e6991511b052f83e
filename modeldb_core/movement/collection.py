"""The garbage collector: erases what was deleted long ago, and removes blobs that nothing names any more.

Nothing that is referenced ever goes, whatever runs meanwhile and whenever it is killed. What was deleted is erased by
changes, each batch of them whole or not at all, and what is left of an entity is found again by the next one. A blob
goes only if no entity mentions it, nor a tree that one names, and nobody has put it for the grace period: anyone who puts a blob that is there makes it
young again, and has the grace period to record what names it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from modeldb_core.errors import IntegrityError, InvalidArgumentError
from modeldb_core.log.changes import DELETE, ERASE
from modeldb_core.log.erasures import Target, can_be_erased, window_of
from modeldb_core.log.stream import Entry
from modeldb_core.model.schema import KINDS, parts_of
from modeldb_core.movement.deletion import held_by, pages
from modeldb_core.movement.logs import changes_of
from modeldb_core.movement.marking import Marking, Mentioned
from modeldb_core.plugins import Places
from modeldb_core.queries import Linked, Query, condition, portions
from modeldb_core.runtime.workers import Workers
from modeldb_core.stores import REFRESH_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.model.entities import Entity
    from modeldb_core.movement.copying import Progress
    from modeldb_core.stores import ArtifactStore, BlobInfo, MetadataStore
    from modeldb_core.stores.direct import DirectWriter

_DOCUMENTS = 100  # in a page: some are large
_ERASURES = 10_000  # in a batch
_TOGETHER = 500  # entities in a batch: the store works each out again
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
        unreadable: a sentence on each node of a tree that is missing or damaged.
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
    unreadable: list[str] = field(default_factory=list)


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
    erasing = _Erasing(writer, done, before, window)
    for kind in reversed(list(KINDS)):  # what is contained comes before what contains it
        for entity in pages(store, _deleted_before(kind, before), _DOCUMENTS):
            if (holds := _still_holds(store, entity, before)) is not None:
                done.held.append(f"{kind} {entity.name!r} ({entity.entity_id}) holds {holds}")
                continue
            erasing.erase(entity, dry_run=dry_run)
            if progress is not None:
                progress("deleted entities", done.entities, None)
        erasing.flush()


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
    """Remove the blobs that no entity and none of their trees mention, and that nobody has put for ``grace`` and a day.

    (The day is how much older than it is a blob may look; see :data:`~modeldb_core.stores.REFRESH_S`.)

    Memory holds 8 bytes for each digest that entities and trees mention, some 100 for each node of a tree, and 10,000 blobs
    at a time.

    Args:
        window: entities that were deleted longer ago count as erased: for a ``dry_run``, which erases none.
        force: go on where another store keeps files there too, the store mentions none of the blobs, or a tree cannot be
            read: what lies below the node that is missing may then go.

    Raises:
        InvalidArgumentError: blobs may be another store's: it has left its name there, or none of them is mentioned; or
            the store shows only a part of what there is.
        IntegrityError: a tree that an entity names is not whole, so that nobody knows what else it needs.
    """
    _check_alone(store, artifacts, force=force)
    if next(artifacts.list(), None) is None:
        return  # what the store mentions need not be read
    tell = progress or (lambda *_: None)
    before = datetime.now(UTC) - grace - timedelta(seconds=REFRESH_S)
    marking = Marking(store, artifacts, before, tell)
    marking.run(datetime.now(UTC) - window if window is not None else None)
    done.unreadable = marking.unreadable
    if marking.unreadable and not dry_run and not force:
        msg = (
            f"{marking.unreadable[0]}. What lies below it cannot be known, so nothing is removed: it may still be on its "
            "way, or is lost, which `modeldb audit verify` says. If it is, use force=True, or --force"
        )
        raise IntegrityError(msg)
    mentioned = marking.mentioned
    stale: list[BlobInfo] = []
    workers = Workers(_WORKERS, "modeldb-gc")
    for chunk in _chunks(artifacts.list()):
        stale += _sort(chunk, mentioned, before, done)
        tell("blobs", done.kept + done.young + done.ageless + len(stale) + done.blobs, None)
        if not done.kept and not force:
            continue  # perhaps the wrong store: wait for the first blob that it knows
        _remove(workers, artifacts, stale, before, done, dry_run=dry_run)
        stale = []
    if stale and not dry_run and not force:
        msg = (
            f"{store.url} mentions none of the files in {artifacts.url}: they may belong to another store. If they do "
            f"not, and {len(stale):,} files are to go, use force=True, or --force"
        )
        raise InvalidArgumentError(msg)
    _remove(workers, artifacts, stale, before, done, dry_run=dry_run)


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


# -- entities ---------------------------------------------------------------------------------------------------------


def _deleted_before(kind: str, time: datetime) -> Query:
    return Query(
        kind, condition("deleted_at < ? and updated_at < ?", time, time), "entity_id", (), include_deleted=True
    )


def _still_holds(store: MetadataStore, entity: Entity, before: datetime) -> str | None:
    """Return in words what keeps an entity: something in it, or that cannot do without it, which is not deleted for long enough."""
    stays = condition("deleted_at is null or deleted_at >= ? or updated_at >= ?", before, before)
    for kind in dict.fromkeys(kind for kind, _ in parts_of(entity.KIND) if not KINDS[kind].remark):
        query = Query(kind, stays, limit=0, count=True, within=entity.entity_id, include_deleted=True)
        if count := store.find(query).total:
            return f"{count:,} of kind {kind} that are not deleted, or not for long enough"
    for kind, place in held_by(entity.KIND):
        link = Linked(entity.KIND, entity.entity_id, field=place)
        query = Query(kind, stays, fields=("name",), limit=1, linked=link, include_deleted=True)
        for holder in store.find(query).entities:
            return f"its place in the {place} of the {KINDS[kind].words} {holder.name!r:.80}"
    return None


class _Erasing:
    """Erases entities of one kind, several in one batch.

    A transaction for each would write the same pages of a database again and again: four times the bytes, for runs of 35
    values.
    """

    def __init__(self, writer: DirectWriter, done: Collected, before: datetime, window: timedelta) -> None:
        self._writer, self._done, self._before, self._window = writer, done, before, window
        self._waiting: list[tuple[Entity, Erased]] = []
        self._entries: list[Entry] = []  # some 300 bytes each

    def erase(self, entity: Entity, *, dry_run: bool) -> None:
        """Erase an entity, or with ``dry_run`` count what would be erased; :meth:`flush` ends it."""
        assert entity.deleted_at is not None
        erased = Erased(entity.KIND, entity.entity_id, entity.name, entity.deleted_at)
        targets, promised = [], timedelta(0)
        for change in changes_of(self._writer.store, entity_id=entity.entity_id):
            if change.kind != entity.KIND:
                continue
            if change.action == DELETE:
                promised = timedelta(seconds=min(window_of(change), _LONGEST_S))
            elif can_be_erased(change) and change.payload is not None:
                erased.changes += 1
                erased.size_bytes += len(change.payload)
                targets.append(Target.of(change))
        if dry_run:
            self._count(erased)
            return
        if targets and promised > self._window and not self._shorten(entity):
            return
        self._waiting.append((entity, erased))
        self._entries += [Entry(ERASE, entity.KIND, entity.entity_id, target.payload()) for target in targets]
        if len(self._waiting) >= _TOGETHER or len(self._entries) >= _ERASURES:
            self.flush()

    def flush(self) -> None:
        """Record what waits, but for what was restored a moment ago, or what somebody else erased."""
        waiting, entries = self._waiting, self._entries
        self._waiting, self._entries = [], []
        gone: set[str] = set()
        for at in range(0, len(entries), _ERASURES):
            some = entries[at : at + _ERASURES]
            asked = {entry.entity_id for entry in some}
            over = self._still_over(some[0].kind, asked)
            self._writer.apply([entry for entry in some if entry.entity_id in over])
            gone |= asked - over
        for entity, erased in waiting:
            if entity.entity_id not in gone:
                self._count(erased)

    def _count(self, erased: Erased) -> None:
        done = self._done
        if len(done.erased) < _LISTED:
            done.erased.append(erased)
        done.entities += 1
        done.changes += erased.changes
        done.change_bytes += erased.size_bytes

    def _shorten(self, entity: Entity) -> bool:
        """Delete an entity again, with a shorter window; unless it was restored, or somebody else erased it."""
        if not self._still_over(entity.KIND, {entity.entity_id}):
            return False
        entry = Entry(DELETE, entity.KIND, entity.entity_id, {"window_s": self._window.total_seconds()})
        self._writer.apply([entry], recorded_at=entity.document["deleted_at"])
        return True

    def _still_over(self, kind: str, entity_ids: set[str]) -> set[str]:
        """Return those of some entities that are deleted as long as they should be, and not erased."""
        over: set[str] = set()
        for some in portions(sorted(entity_ids)):
            chosen = condition("entity_id in ? and deleted_at < ? and updated_at < ?", some, self._before, self._before)
            query = Query(kind, chosen, fields=(), limit=len(some), include_deleted=True)
            over.update(entity.entity_id for entity in self._writer.store.find(query).entities)
        return over


# -- blobs ------------------------------------------------------------------------------------------------------------


def _chunks(blobs: Iterator[BlobInfo]) -> Iterator[list[BlobInfo]]:
    chunk: list[BlobInfo] = []
    for info in blobs:
        chunk.append(info)
        if len(chunk) >= _BLOBS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _sort(chunk: list[BlobInfo], mentioned: Mentioned, before: datetime, done: Collected) -> list[BlobInfo]:
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
    workers: Workers,
    artifacts: ArtifactStore,
    stale: list[BlobInfo],
    before: datetime,
    done: Collected,
    *,
    dry_run: bool,
) -> None:
    def remove(info: BlobInfo) -> bool:
        return dry_run or artifacts.delete_stale(info.digest, before)

    for info, is_gone in zip(stale, workers.map(remove, stale), strict=True):
        if is_gone:
            done.blobs += 1
            done.blob_bytes += info.size_bytes
        else:
            done.young += 1
