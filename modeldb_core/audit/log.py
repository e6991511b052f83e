"""The first half of an audit: the log by itself, every chain and every head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.audit.order import OrderedLog
from modeldb_core.audit.report import MAX_FINDINGS
from modeldb_core.errors import IntegrityError, InvalidArgumentError
from modeldb_core.log.changes import (
    APPEND,
    DELETE,
    EMPTY_HEAD,
    ERASE,
    GENESIS,
    STREAM,
    UPDATE,
    Change,
    Head,
    OrderDigest,
    advance,
    alters_entity,
    verify_change,
)
from modeldb_core.log.erasures import EntityErasures, Name, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from modeldb_core.audit.checkpoints import Checkpoint
    from modeldb_core.audit.contract import ChangeLog
    from modeldb_core.audit.report import Report

PAGE = 500
_UNREADABLE = 20
"""Where so many changes in a row cannot be read, the rest is not asked for one by one."""


class LogAudit:
    """Reads the whole log once.

    Args:
        store: the log.
        report: gets what is found.
        checkpoint: what the log is held against.
        starts: where streams begin whose first changes were removed, by a log that may do so and says it; looked at when all
            is read, as the log may say it anywhere.

    Attributes:
        names: the entities that changes are about, in the order of their first change.
        erased: those of them of which nothing is kept; anyone who replays them notes it.
        ends: how far each stream was read.
    """

    def __init__(
        self,
        store: ChangeLog,
        report: Report,
        checkpoint: Checkpoint | None,
        *,
        starts: Mapping[str, Head] | None = None,
    ) -> None:
        self._store = store
        self._starts = starts
        self._first: dict[str, Change] = {}  # the first of each stream, where one may begin anywhere
        self._report = report
        self._checkpoint = checkpoint
        self.names: dict[Name, None] = {}
        self.erased: set[Name] = set()
        self.ends: dict[str, Head] = {}
        self._erasures: dict[Name, EntityErasures] = {}  # of what was deleted, or has lost something
        self._missing: dict[Target, Name] = {}  # payloads that are gone
        self._broken: set[str] = set()  # streams whose chain was found broken; said once
        self._withheld: set[Name] = set()  # entities of which something was withheld
        self._bare: set[Name] = set()  # those of which nothing else is here than that there are some
        self._passed: set[str] = set()  # streams that came to where the checkpoint saw them
        self._writers: dict[Name, str] = {}  # the stream that wrote each entity first
        has_order = checkpoint is not None and checkpoint.order
        self._order = _Order(store, report, checkpoint) if checkpoint is not None and has_order else None

    def run(self, progress: Callable[[str, int, int | None], None]) -> None:
        """Verify every change, every chain and every head, and hold them against the checkpoint."""
        before = self._store.heads()
        total = sum(head.seq for head in before.values())
        for change in read_log(self._store, self._report):
            self._take(change)
            self._report.changes += 1
            if self._report.changes % PAGE == 0:
                progress("changes", self._report.changes, max(total, self._report.changes))
        for name in self._bare & self._withheld:
            del self.names[name]
        after = self._store.heads()
        self._check_beginnings()
        self._check_heads(before, after)
        self._check_erasures()
        self._check_checkpoint()
        self._report.streams = len(self.ends)
        self._report.sealed_streams = sum(head.closed for head in self.ends.values())
        self._report.open_streams = sorted(name for name, head in self.ends.items() if not head.closed)

    def _take(self, change: Change) -> None:
        end = self.ends.get(change.stream_id) or self._before(change)
        where = describe(change)
        if change.seq != end.seq + 1:
            if change.stream_id not in self._broken:
                self._broken.add(change.stream_id)
                self._report.add("change", where, f"it follows number {end.seq}: changes between were dropped or moved")
        else:
            try:
                verify_change(change, end.hash if end.seq else GENESIS, may_be_withheld=self._store.is_partial)
            except (IntegrityError, InvalidArgumentError) as error:
                self._report.add("change", where, error)
            except (TypeError, ValueError, AttributeError) as error:
                self._report.add("change", where, f"it has a field that no change can have: {error}")
        try:
            self.ends[change.stream_id] = advance(end, change)
        except (TypeError, ValueError, AttributeError) as error:
            self._report.add("change", where, f"its payload cannot be read: {error}")
            self.ends[change.stream_id] = Head(change.seq, change.hash, change.recorded_at)
        if alters_entity(change):
            if change.withheld:
                self._withheld.add((change.kind, change.entity_id))
            else:
                self._name(change)
        self._follow_erasures(change, where)
        self._follow_order(change)
        if change.withheld:
            self._report.withheld += 1
        elif change.payload is None:
            self._missing[Target.of(change)] = change.kind, change.entity_id
            self._report.erased += 1
        if self._checkpoint is not None:
            seen = self._checkpoint.streams.get(change.stream_id)
            if seen is not None and seen[0] == change.seq:
                self._passed.add(change.stream_id)
                if seen[1] != change.hash:
                    self._report.add("checkpoint", where, f"the checkpoint of {self._checkpoint.time} saw another one")

    def _before(self, change: Change) -> Head:
        """Return what the first change of a stream is to follow."""
        if self._starts is None:
            return EMPTY_HEAD
        self._first[change.stream_id] = change
        return Head(change.seq - 1, change.previous_hash, 0) if change.seq > 1 else EMPTY_HEAD

    def _check_beginnings(self) -> None:
        for stream_id, change in self._first.items():
            start = self._starts_at(stream_id)
            if change.seq != start.seq + 1:
                message = f"it follows number {start.seq}: changes between were dropped or moved"
                self._report.add("change", describe(change), message)
            elif start.seq and change.previous_hash != start.hash:
                message = f"it does not follow number {start.seq} as that was when it was removed"
                self._report.add("change", describe(change), message)

    def _starts_at(self, stream_id: str) -> Head:
        return (self._starts or {}).get(stream_id, EMPTY_HEAD)

    def _follow_order(self, change: Change) -> None:
        if change.kind != STREAM:
            name = (change.kind, change.entity_id)
            if self._writers.setdefault(name, change.stream_id) not in (change.stream_id, ""):
                self._writers[name] = ""  # several
                self._report.shared_entities += 1
        if self._order is not None:
            self._order.take(change)

    def _follow_erasures(self, change: Change, where: str) -> None:
        if change.withheld:
            return  # what it names, if it erases, nobody can tell here
        name = (change.kind, change.entity_id)
        if change.action in (DELETE, ERASE) or change.payload is None:
            self._erasures.setdefault(name, EntityErasures())
        # Of what still has its payload nothing was erased; only whether the entity was made or restored counts.
        if name in self._erasures and (change.payload is None or change.action not in (UPDATE, APPEND)):
            try:
                self._erasures[name].take(change)
            except (InvalidArgumentError, ValueError) as error:
                self._report.add("change", where, error)

    def _name(self, change: Change) -> None:
        name = (change.kind, change.entity_id)
        if name not in self.names and change.payload is None:
            self._bare.add(name)
        elif change.payload is not None:
            self._bare.discard(name)
        self.names.setdefault(name)

    def _check_heads(self, before: Mapping[str, Head], after: Mapping[str, Head]) -> None:
        for stream_id in sorted({*before, *after, *self.ends}):
            end = self.ends.get(stream_id, EMPTY_HEAD)
            first, last = before.get(stream_id, EMPTY_HEAD), after.get(stream_id, EMPTY_HEAD)
            where = f"stream {stream_id}"
            if end.seq < first.seq:
                self._report.add(
                    "stream", where, f"it ends at number {end.seq}, but {first.seq} had arrived: its end is gone"
                )
            elif end.seq > last.seq:
                self._report.add("stream", where, f"it has changes up to {end.seq}, but its head says {last.seq}")
            elif end not in (first, last) and first == last:
                self._report.add("stream", where, f"its head is {last}; its changes say {end}")

    def _check_erasures(self) -> None:
        for target, name in sorted(self._missing.items()):
            if not self._erasures[name].names(target):
                where = f"change {target.seq} of stream {target.stream_id}"
                self._report.add("change", where, "its payload is gone, though no change erased it")
        for (kind, entity_id), history in self._erasures.items():
            self._report.idle_erasures += history.idle
            gone = [target for target in history.there if target in self._missing and history.names(target)]
            taken = [target for target in gone if not history.was_deleted(target)]
            if taken and len(self._report.undeleted) < MAX_FINDINGS:
                actors = ", ".join(sorted({actor for target in taken for actor in history.actors(target)}))
                self._report.undeleted.append(
                    f"{kind} {entity_id}: {len(taken):,} payloads were erased by {actors} without having been deleted before"
                )

    def _check_checkpoint(self) -> None:
        if self._checkpoint is None:
            return
        self._report.checkpoint_made_at = self._checkpoint.time
        for stream_id, (seq, _) in sorted(self._checkpoint.streams.items()):
            if seq and stream_id not in self._passed and seq > self._starts_at(stream_id).seq:
                has = self.ends.get(stream_id, EMPTY_HEAD).seq
                state = f"it ends at number {has}" if has else "it is not there"
                message = f"{state}, but the checkpoint of {self._checkpoint.time} saw {seq} changes: they are gone"
                self._report.add("checkpoint", f"stream {stream_id}", message)
        if (
            self._order is not None
            and not self._starts
            and not any(finding.aspect == "checkpoint" for finding in self._report.findings)
        ):
            self._order.check()
            self._report.later_entities = sum(self._writers.get(name) == "" for name in self._order.later)


class _Order:
    """Holds the order of the changes of different streams against a checkpoint.

    Attributes:
        later: entities of which the log has changes that the checkpoint did not see.
    """

    def __init__(self, store: ChangeLog, report: Report, checkpoint: Checkpoint) -> None:
        self._store = store
        self._report = report
        self._checkpoint = checkpoint
        self._upto = checkpoint.upto
        self._digest = OrderDigest(self._upto)
        self._ordered = store if isinstance(store, OrderedLog) else None
        self.later: set[Name] = set()
        self._preceded: dict[Name, None] = {}  # those of which it has one that the checkpoint saw behind these

    def take(self, change: Change) -> None:
        """Take the next change of the log."""
        self._digest.take(change.stream_id, change.seq, change.hash)
        name = (change.kind, change.entity_id)
        if change.seq > self._upto.get(change.stream_id, 0):
            self.later.add(name)
        elif name in self.later:
            self._preceded[name] = None

    def check(self) -> None:
        """Add what is wrong to the report; called once all changes that the checkpoint saw were taken."""
        self._report.has_order = True
        digest = self._ordered.digest_of_order(self._upto) if self._ordered is not None else self._digest.digest()
        if digest != self._checkpoint.order:
            self._report.add(
                "checkpoint",
                "the order of the log",
                f"the changes that the checkpoint of {self._checkpoint.time} saw count in another order now: where several "
                f"streams wrote one entity, another change may be the last one",
            )
        if self._ordered is not None and not self._ordered.is_read_in_order:
            return
        for kind, entity_id in self._preceded:
            self._report.add(
                "checkpoint",
                f"{kind} {entity_id}",
                f"changes that the checkpoint of {self._checkpoint.time} did not see stand before others that it saw: "
                f"they were put there, unless this store took in a copy of the one that the checkpoint is of",
            )


def read_log(store: ChangeLog, report: Report) -> Iterator[Change]:
    """Iterate over all changes; those that cannot be read are findings."""
    after = unread = 0
    limit = PAGE
    while unread < _UNREADABLE:
        try:
            page = store.read_changes(after=after, limit=limit)
        except Exception as error:  # whatever damaged data makes of the code that reads it
            if limit > 1:  # one by one, to find which it is
                limit = 1
                continue
            report.add("change", f"the change at position {after + 1}", f"it cannot be read: {error}")
            after += 1
            unread += 1
            continue
        unread = 0
        yield from page.changes
        if not page.changes:
            return
        after = page.cursor


def describe(change: Change) -> str:
    """Return the words that name a change."""
    what = f"{change.action} {change.kind} {change.entity_id}"
    return f"change {change.seq} of stream {change.stream_id} ({what})"
