"""The second half of an audit: that every answer of the store follows from its log."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from modeldb_core.audit.blobs import Named, verify_blobs
from modeldb_core.audit.changes_of import ChangesOf
from modeldb_core.audit.differences import differences
from modeldb_core.audit.homes import LogHomes
from modeldb_core.audit.log import LogAudit
from modeldb_core.audit.report import MAX_FINDINGS, Report
from modeldb_core.errors import InvalidArgumentError, ModelDBError, NotFoundError
from modeldb_core.log.replay import Record, replay
from modeldb_core.model.entities import Document, now_us
from modeldb_core.model.schema import HOME_FIELDS, KINDS
from modeldb_core.queries import Query
from modeldb_core.stores.clashes import clashes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from modeldb_core.audit.checkpoints import Checkpoint
    from modeldb_core.audit.report import Progress
    from modeldb_core.log.changes import Head
    from modeldb_core.log.erasures import Name
    from modeldb_core.log.points import PointGroup
    from modeldb_core.model.entities import Entity, SeriesSummary
    from modeldb_core.stores import ArtifactStore, MetadataStore


_ATTEMPTS = 20  # an entity may change while it is compared


class _UnknownThereError(Exception):
    """A server does not know a kind that a plugin declares here."""


@runtime_checkable
class SearchRows(Protocol):
    """What a store may offer beyond its contract, so that an audit sees the rows by which it finds entities."""

    def audit_entity(
        self, kind: str, entity_id: str, document: Document, series: Mapping[str, SeriesSummary]
    ) -> Iterable[str]:
        """Return a sentence on each row of an entity that does not follow from its document and series."""

    def audit_tables(self) -> Iterable[str]:
        """Return a sentence on each row that belongs to nothing, or that contradicts other rows."""


def verify(
    store: MetadataStore,
    artifacts: ArtifactStore | None = None,
    progress: Progress | None = None,
    *,
    checkpoint: Checkpoint | None = None,
) -> Report:
    """Verify a store: its log, and that all its answers follow from it. The store may be in use meanwhile.

    It needs memory for the identifiers of all streams and entities (some 200 bytes each) and for one entity with its
    points; it reads the log twice.

    Args:
        store: what to verify.
        artifacts: where blobs lie; with it, every blob that an entity names is read and checked, every node of the trees
            that one names, and every blob that their entries name: memory for some 100 bytes for each of these.
        progress: called as it goes on.
        checkpoint: how far the streams had come when it was made, so that lost ends and lost streams show.

    Returns:
        What was verified, and everything that is wrong.
    """
    report = Report()
    tell = progress or (lambda *_: None)
    log = LogAudit(store, report, checkpoint)
    log.run(tell)
    named = _verify_entities(store, report, log, tell)
    _find_strangers(store, report, log)
    _guarded(report, "clashes", lambda: report.clashes.extend(islice(clashes(store), MAX_FINDINGS)))
    if isinstance(store, SearchRows):
        report.has_search_rows = True
        report.outdated = getattr(store, "audit_outdated", int)()
        _guarded(report, "the tables", lambda: _verify_tables(store, report))
    if artifacts is not None:
        verify_blobs(artifacts, report, named, tell)
    return report


def _verify_entities(store: MetadataStore, report: Report, log: LogAudit, tell: Progress) -> Named:
    named = Named()
    homes = LogHomes(store)
    for number, name in enumerate(log.names, 1):
        _guarded(
            report,
            " ".join(map(str, name)),
            lambda name=name: _verify_entity(store, report, name, log, homes, named),  # type: ignore[misc]
        )
        report.entities += 1
        if number % 100 == 0 or number == len(log.names):
            tell("entities", number, len(log.names))
    return named


def _verify_entity(
    store: MetadataStore, report: Report, name: Name, log: LogAudit, homes: LogHomes, named: Named
) -> None:
    kind, entity_id = name
    if kind not in KINDS:
        report.carried += 1
    for _ in range(_ATTEMPTS):
        changes = ChangesOf(store, name)
        record = replay(kind, entity_id, changes)
        complaints = list(_compare(store, record, log.ends, homes))
        if not complaints or not changes.have_more():
            break
    else:
        complaints = []
        report.unsettled.append(f"{kind} {entity_id}")
    for aspect, message in complaints:
        report.add(aspect, f"{kind} {entity_id}", message)  # type: ignore[arg-type]  # an aspect
    report.series += len(record.series)
    report.points += sum(len(points) for written in record.series.values() for _, points in written)
    if record.is_erased:
        log.erased.add(name)
    named.add(kind, entity_id, record.document)


def _compare(
    store: MetadataStore, record: Record, heads: Mapping[str, Head], homes: LogHomes
) -> Iterator[tuple[str, str]]:
    if getattr(store, "audit_waits", lambda *_: False)(record.kind, record.entity_id):
        return  # it is answered by what was known of it when it was stored
    if record.kind not in KINDS:
        yield from _compare_rows(store, record, {})
        return
    expected = record.entity(heads, now_us())
    try:
        found = store.get(record.kind, record.entity_id)
    except InvalidArgumentError:
        if KINDS[record.kind].is_own:
            raise
        return  # a server that does not know the kind: it carries its changes, and has no answer to compare
    except NotFoundError:
        if not record.is_erased:
            yield "entity", "it is missing, though changes made it"
            return
        found = expected
    else:
        if record.is_erased:
            yield "entity", "it is shown, though it was deleted and all of it erased"
        yield from (("entity", text) for text in _compare_home(store, record, found, homes))
    for text in differences(found, replace(expected, **{name: getattr(found, name) for name in HOME_FIELDS})):
        # A lease may have run out, or been renewed, between the two.
        if not (text.startswith("status is") and getattr(found, "status", "") in ("running", "lost")):
            yield "entity", text
    for key in record.series:
        yield from (("series", text) for text in _compare_series(store, record, key))
    yield from _compare_rows(store, record, getattr(expected, "series", {}))


def _compare_home(store: MetadataStore, record: Record, found: Entity, homes: LogHomes) -> list[str]:
    if "within_several" not in store.understands:
        return []
    texts = homes.differences(found, record.document)
    if texts:  # a container may have moved meanwhile
        homes.forget()
        texts = homes.differences(store.get(record.kind, record.entity_id), record.document)
    return texts


def _compare_rows(
    store: MetadataStore, record: Record, series: Mapping[str, SeriesSummary]
) -> Iterator[tuple[str, str]]:
    if isinstance(store, SearchRows) and record.document:
        for text in store.audit_entity(record.kind, record.entity_id, dict(record.document), series):
            yield "search", text


def _compare_series(store: MetadataStore, record: Record, key: str) -> Iterator[str]:
    expected: PointGroup = record.points(key)
    try:
        found = store.read_series(record.entity_id, key)
    except NotFoundError:
        yield f"the series {key!r} is missing, though changes made it"
        return
    pairs = (
        ("steps", found.steps, expected.steps),
        ("times", found.times, expected.times),
        ("values", found.values, expected.values[0]),
    )
    for what, one, other in pairs:
        if one.tobytes() != other.tobytes():
            yield f"the {what} of series {key!r} are not the ones that were logged"
    if found.total != len(expected):
        yield f"series {key!r} is said to have {found.total} points; {len(expected)} were logged"


def _find_strangers(store: MetadataStore, report: Report, log: LogAudit) -> None:
    """Look for entities that no change made, and for those that a search does not find."""
    for kind in KINDS:
        with suppress(_UnknownThereError):
            _find_strangers_of(store, report, log, kind)


def _find_strangers_of(store: MetadataStore, report: Report, log: LogAudit, kind: str) -> None:
    unseen = {entity_id for of_kind, entity_id in log.names.keys() - log.erased if of_kind == kind}
    for entity_id in _ids(store, report, kind):
        if entity_id in unseen:
            unseen.discard(entity_id)
        elif (kind, entity_id) not in log.names and not _has_changes(store, (kind, entity_id), report):
            report.add("entity", f"{kind} {entity_id}", "it is there, though no change made it")
    for entity_id in sorted(unseen):
        report.add("search", f"{kind} {entity_id}", "a search for everything does not find it")


def _has_changes(store: MetadataStore, name: Name, report: Report) -> bool:
    try:
        return any(ChangesOf(store, name))
    except Exception as error:  # as in _guarded
        report.add("entity", f"{name[0]} {name[1]}", f"its changes cannot be read: {type(error).__name__}: {error}")
        return True


def _ids(store: MetadataStore, report: Report, kind: str) -> Iterator[str]:
    cursor = None
    while True:
        query = Query(kind, order_by="entity_id", fields=(), limit=1000, cursor=cursor, include_deleted=True)
        try:
            page = store.find(query)
        except InvalidArgumentError as error:
            if not KINDS[kind].is_own:
                raise _UnknownThereError from error
            report.add("search", f"a search for every {kind}", error)
            return
        except Exception as error:  # as in _guarded
            report.add("search", f"a search for every {kind}", f"it fails: {type(error).__name__}: {error}")
            return
        yield from (entity.entity_id for entity in page.entities)
        cursor = page.cursor
        if cursor is None:
            return


def _verify_tables(store: SearchRows, report: Report) -> None:
    for text in store.audit_tables():
        report.add("table", "the tables", text)


def _guarded(report: Report, subject: str, work: Callable[[], object]) -> None:
    """Do part of an audit; what is too damaged to be looked at is a finding, and the audit goes on."""
    try:
        work()
    except ModelDBError as error:
        report.add("entity", subject, error)
    except Exception as error:  # whatever damaged data makes of the code that reads it
        report.add("entity", subject, f"it cannot be read: {type(error).__name__}: {error}")
