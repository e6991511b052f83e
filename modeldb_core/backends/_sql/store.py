"""The store on an SQL database, whichever it is."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from modeldb_core.backends._sql.chain import check_content, read_head, read_heads, read_heads_after
from modeldb_core.backends._sql.database import VersionChangedError
from modeldb_core.backends._sql.log import end_of_log, read_changes, read_order, read_touches
from modeldb_core.backends._sql.numbers import Remembered
from modeldb_core.errors import ModelDBError, NotFoundError, StoreUnavailableError
from modeldb_core.log.changes import OrderDigest
from modeldb_core.log.conditions import check_form
from modeldb_core.model.entities import now_us
from modeldb_core.model.schema import KINDS, check_kind
from modeldb_core.queries import parse_fields, parse_grouping
from modeldb_core.runtime.notices import warn
from modeldb_core.stores import PARTS_ADDED_TO_QUERY, ChangePage, KeyInfo, MetadataStore, Page, TouchPage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from modeldb_core.backends._sql.database import Database, Transaction
    from modeldb_core.backends._sql.declared import Declared
    from modeldb_core.backends._sql.finders import Finders
    from modeldb_core.backends._sql.schema import SchemaState, Upgrade
    from modeldb_core.log.changes import Change, Head
    from modeldb_core.log.conditions import Condition
    from modeldb_core.log.plots import Canvas, Plot
    from modeldb_core.log.points import Series
    from modeldb_core.model.entities import Document, Entity, SeriesSummary
    from modeldb_core.queries import GroupPage, Query

_MAX_UPGRADES = 5  # by others, between looking at the version and writing


class SQLMetadataStore(MetadataStore):
    """Keeps changes, and the tables that answer questions, in an SQL database whose schema is up to date."""

    understands = PARTS_ADDED_TO_QUERY

    def __init__(self, database: Database) -> None:
        self.url = database.url
        self._database = database
        self._remembered = Remembered()
        self._generation = database.generation
        self._finders: Finders | None = None
        self._declared: Declared | None = None  # nobody has looked: of the kinds that are known here, as they are here

    @property
    def read_only(self) -> bool:
        """Whether this process may only read the store."""
        return self._database.read_only

    @property
    def decides(self) -> bool:
        return not self.read_only

    def apply(self, changes: Sequence[Change], *, expect: Sequence[Condition] = ()) -> None:
        if expect:
            check_form(expect)
        if not changes:
            return
        from modeldb_core.backends._sql.apply import Batch

        wrong = check_content(changes)

        def work(transaction: Transaction) -> Batch:
            if self._generation != self._database.generation:
                self._generation, self._remembered = self._database.generation, Remembered()
            self._enter(transaction)
            batch = Batch(transaction, self._remembered, self._declared)
            batch.apply(changes, wrong, expect)
            return batch

        self._database.write(work).learn()

    def prepare_to_write(self) -> None:
        from modeldb_core.backends._sql import apply, deciding, erasure, points, rebuilding, summaries  # noqa: F401
        from modeldb_core.log import replay  # noqa: F401

    def _expect_rows(self, kind: str) -> None:
        """Called before a search for entities of a kind."""

    def _enter(self, transaction: Transaction) -> None:
        """Called at the beginning of each transaction that applies changes."""

    def get(self, kind: str, entity_id: str) -> Entity:
        from modeldb_core.backends._sql.reading import find_entity, read_entities

        check_kind(kind)

        def work(transaction: Transaction) -> tuple[Entity, ...]:
            entity_pk = find_entity(transaction, kind, entity_id, self.url)
            if entity_pk is None:
                return ()
            return read_entities(transaction, kind, [entity_pk], now=now_us())

        found = self._database.read(work)
        if not found:
            msg = f"there is no {kind} {entity_id!r} in {self.url}"
            raise NotFoundError(msg)
        return found[0]

    def find(self, query: Query) -> Page:
        from modeldb_core.backends._sql.finders import Finders
        from modeldb_core.backends._sql.reading import read_entities

        wanted = None if query.fields is None else parse_fields(query.fields, query.kind)
        self._expect_rows(query.kind)
        finders = self._finders = self._finders or Finders()

        def work(transaction: Transaction) -> Page:
            now = now_us()
            found = finders.find(transaction, query, now)
            entities = read_entities(transaction, query.kind, found.entity_pks, now=now, wanted=wanted)
            return Page(entities, found.cursor, found.total)

        return self._database.read(work)

    def identify(self, *path: tuple[str, str]) -> tuple[str, ...]:
        from modeldb_core.backends._sql.deciding import identify

        return self._database.read(lambda transaction: identify(transaction, path))

    def find_few(self, kind: str, field: str, target_id: str, *, most: int) -> Sequence[Entity] | None:
        from modeldb_core.backends._sql.deciding import find_few

        return self._database.read(lambda transaction: find_few(transaction, kind, field, target_id, most))

    def write_mark(self) -> object:
        return self._database.write_mark()

    def find_keys(self, query: Query) -> tuple[KeyInfo, ...]:
        from modeldb_core.backends._sql.key_counts import read_keys

        self._expect_rows(query.kind)
        return self._database.read(lambda transaction: read_keys(transaction, query, now_us()))

    def find_groups(self, query: Query, by: str, measures: Sequence[str] = ()) -> GroupPage:
        from modeldb_core.backends._sql.groups import read_groups

        field, measured = parse_grouping(query.kind, by, measures)
        self._expect_rows(query.kind)
        return self._database.read(lambda transaction: read_groups(transaction, query, field, measured, now_us()))

    def read_series(
        self, run_id: str, key: str, *, steps: tuple[int, int] | None = None, max_points: int | None = None
    ) -> Series:
        from modeldb_core.backends._sql.series import read_series

        return self._database.read(
            lambda transaction: read_series(transaction, self.url, run_id, key, steps, max_points)
        )

    def plot_series(self, run_id: str, key: str, canvas: Canvas) -> Plot:
        from modeldb_core.backends._sql.plots import plot_series

        return self._database.read(lambda transaction: plot_series(transaction, self.url, run_id, key, canvas))

    def read_changes(
        self, *, after: int = 0, limit: int = 1000, entity_id: str | None = None, stream_id: str | None = None
    ) -> ChangePage:
        return self._database.read(
            lambda transaction: read_changes(
                transaction, after=after, limit=limit, entity_id=entity_id, stream_id=stream_id
            ),
            settled=True,
        )

    def read_touches(self, *, after: int = 0, limit: int = 1000) -> TouchPage:
        return self._database.read(partial(read_touches, after=after, limit=limit), settled=True)

    def end_of_log(self) -> int:
        return self._database.read(end_of_log, settled=True)

    def heads(self) -> Mapping[str, Head]:
        return self._database.read(read_heads, settled=True)

    def heads_after(self, stream_id: str, limit: int = 1000) -> Mapping[str, Head]:
        return self._database.read(partial(read_heads_after, stream_id=stream_id, limit=limit), settled=True)

    def head(self, stream_id: str) -> Head:
        return self._database.read(partial(read_head, stream_id=stream_id), settled=True)

    is_read_in_order = True

    def digest_of_order(self, upto: Mapping[str, int]) -> bytes:
        """Return the digest of the order in which changes count, up to these numbers of streams."""
        digest, after = OrderDigest(upto), 0
        while rows := self._database.read(partial(read_order, after=after), settled=True):
            for _, stream_id, seq, value in rows:
                digest.take(stream_id, seq, value)
            after = rows[-1][0]
        return digest.digest()

    def carries(self) -> bool:
        from modeldb_core.backends._sql.declared import carries

        return self._database.read(carries)

    def audit_entity(
        self, kind: str, entity_id: str, document: Document, series: Mapping[str, SeriesSummary]
    ) -> Sequence[str]:
        """Return a sentence on each row of an entity that does not follow from its document and series."""
        from modeldb_core.backends._sql.audit import check_entity

        return self._database.read(lambda read: list(check_entity(read, kind, entity_id, document, series)))

    def audit_waits(self, kind: str, entity_id: str) -> bool:
        """Return whether changes of an entity wait for somebody who may write and knows more than who stored them."""
        from modeldb_core.backends._sql.declared import waits

        return self._database.read(lambda read: waits(read, kind, entity_id))

    def audit_is_behind(self, kind: str, entity_id: str) -> bool:
        """Return whether code that knew less has made the rows of an entity, or whether that is not known."""
        from modeldb_core.backends._sql.declared import is_behind

        return self._database.read(lambda read: is_behind(read, kind, entity_id))

    def audit_outdated(self) -> int:
        """Return of how many entities the rows are not compared, because code that knew less has made them."""
        from modeldb_core.backends._sql.declared import count_outdated

        return self._database.read(count_outdated)

    def audit_tables(self) -> Sequence[str]:
        """Return a sentence on each row that belongs to nothing, or that contradicts other rows."""
        from modeldb_core.backends._sql.audit import check_tables

        return self._database.read(lambda read: list(check_tables(read)))

    def audit_schema(self) -> Sequence[str]:
        """Return a sentence on each part of the database's schema that is not as ModelDB makes it."""
        from modeldb_core.backends._sql.schema import check

        return self._database.read(lambda read: list(check(read)))

    def close(self) -> None:
        self._database.close()


class MigratedStore(SQLMetadataStore):
    """A store with a database of its own. Reading alters nothing in it; the first write makes sure that it may."""

    def __init__(self, database: Database) -> None:
        from modeldb_core.backends._sql.schema import prepare

        try:
            self._access = prepare(database)
        except BaseException:
            database.close()
            raise
        self._is_admitted = self._has_taken_over = False
        self._expected: set[str] = set()
        super().__init__(database)

    def apply(self, changes: Sequence[Change], *, expect: Sequence[Condition] = ()) -> None:
        if not changes or self._database.read_only:
            super().apply(changes, expect=expect)
            return
        for _ in range(_MAX_UPGRADES):
            if not self._is_admitted:
                self._admit()
            try:
                if expect or not self._apply_shortly(changes):
                    super().apply(changes, expect=expect)
            except VersionChangedError:  # somebody has upgraded the tables meanwhile
                self._is_admitted = False
            else:
                return
        msg = f"the tables of {self.url} are being upgraded; try again"
        raise StoreUnavailableError(msg)

    def _apply_shortly(self, changes: Sequence[Change]) -> bool:
        """Record a batch in a shorter way, where the database has one for it; return whether that was done."""
        del changes
        return False

    def check_usable(self, *, to_write: bool = False) -> None:
        from modeldb_core.backends._sql.schema import check_access

        check_access(self._database, to_write=to_write)

    def refresh_rows(self) -> int:
        return 0 if self._database.read_only else self._admit()

    def _admit(self) -> int:
        """Make sure that this process may write, and that rows are made as it makes them; return how many were not."""
        from modeldb_core.backends._sql.rebuilding import bring_up_to_date
        from modeldb_core.backends._sql.schema import make_writable, prepare

        self._access = make_writable(self._database, prepare(self._database))
        self._declared, done = bring_up_to_date(self._database, takes_over=not self._has_taken_over)
        self._is_admitted = self._has_taken_over = True
        return done

    def _enter(self, transaction: Transaction) -> None:
        assert self._declared is not None
        self._database.expect_version(transaction, self._access.version, self._declared.stamp)

    def _expect_rows(self, kind: str) -> None:
        if kind in self._expected:
            return
        from modeldb_core.backends._sql.declared import may_miss

        self._expected.add(kind)
        if not self._database.read(lambda transaction: may_miss(transaction, kind)):
            return
        if self._database.is_own and not self._database.read_only:  # nobody else reads it
            with suppress(ModelDBError):
                self.refresh_rows()
                return
        warn(
            f"{self.url} was written by a ModelDB that knew less of {KINDS[kind].words} entities: a filter may miss older "
            "ones, until somebody who may write the store does so, or runs: modeldb db upgrade"
        )

    @classmethod
    @abstractmethod
    def database_at(cls, url: str, **options: Any) -> Database:  # noqa: ANN401 - those of the class
        """Return the database that a URL names, as it is."""

    @classmethod
    def schema_state(cls, url: str, **options: Any) -> SchemaState:  # noqa: ANN401 - those of the class
        """Return the version of the tables of a database, and what an upgrade would do; nothing is altered.

        Raises:
            StoreReadOnlyError: there is no database.
            StoreVersionError: the tables are those of a newer version of ModelDB.
            ConfigurationError: the database is not one of ModelDB.
        """
        from modeldb_core.backends._sql.schema import state_of

        with closing(cls.database_at(url, **{**options, "read_only": True})) as database:
            return state_of(database)

    @classmethod
    def upgrade_schema(
        cls,
        url: str,
        *,
        progress: Callable[[int], object] = int,
        **options: Any,  # noqa: ANN401 - those of the class
    ) -> Upgrade:
        """Bring the tables of a database up to date, after a backup, all or nothing; return what was done.

        Then make the rows again that older code made, some at a time: ``progress`` is told of how many entities.

        Raises:
            StoreVersionError: the tables are those of a newer version of ModelDB.
            ConfigurationError: the database is not one of ModelDB.
            StoreReadOnlyError: it may not be altered.
        """
        from modeldb_core.backends._sql.rebuilding import bring_up_to_date
        from modeldb_core.backends._sql.schema import upgrade

        with closing(cls.database_at(url, **options)) as database:
            done = upgrade(database)
            _, made_again = bring_up_to_date(database, takes_over=True, progress=progress)
            return replace(done, made_again=made_again)
