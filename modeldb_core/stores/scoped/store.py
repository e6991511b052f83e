"""The narrowed store."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from modeldb_core.errors import NotFoundError, PreconditionError, QueryUnsupportedError
from modeldb_core.log.changes import is_understood
from modeldb_core.model.schema import check_kind
from modeldb_core.stores.contract import PARTS_ADDED_TO_QUERY, MetadataStore
from modeldb_core.stores.scoped.gate import Gate
from modeldb_core.stores.scoped.log import PAGE, NarrowedLog
from modeldb_core.stores.scoped.sight import Sight

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from modeldb_core.log.changes import Change, Head
    from modeldb_core.log.conditions import Condition
    from modeldb_core.log.plots import Canvas, Plot
    from modeldb_core.log.points import Series
    from modeldb_core.model.entities import Entity
    from modeldb_core.queries import GroupPage, Query
    from modeldb_core.stores.direct import Applies
    from modeldb_core.stores.pages import ChangePage, KeyInfo, Page, TouchPage
    from modeldb_core.stores.scoped.scope import Scope

Answer = TypeVar("Answer")


class ScopedStore(MetadataStore):
    """A store as a principal may see and change it: what is outside of its scope is as if it were not there.

    It is one more way into a store that somebody else opened and closes, and as cheap to make as an object: only the log is
    read once before something of it is answered, so keep one for each scope. Any number of threads may use it.

    Args:
        store: the whole store.
        scope: what may be seen of it.
        door: takes the changes that pass, where that is not the store itself.
        on_hidden: called with kind and identifier when somebody asks for an entity that is there and outside of the scope.

    Raises:
        QueryUnsupportedError: the store does not say where entities lie.
    """

    is_partial = True
    understands = PARTS_ADDED_TO_QUERY  # what the store below does not, it refuses by itself

    def __init__(
        self,
        store: MetadataStore,
        scope: Scope,
        *,
        door: Applies | None = None,
        on_hidden: Callable[[str, str], object] | None = None,
    ) -> None:
        if "within_several" not in store.understands:
            msg = (
                f"{store.url} does not say in which workspace and project entities lie, so nobody can be shown a part of it; "
                "update the plugin that provides it"
            )
            raise QueryUnsupportedError(msg)
        self.scope = scope
        self._store = store
        self._door: Applies = door or store
        self._on_hidden = on_hidden
        self._sight = Sight(store, scope)
        self._log = NarrowedLog(store, self._sight)
        self._gate = Gate(store, self._sight, self._log, scope)

    @property
    def url(self) -> str:  # type: ignore[override]
        return self._store.url

    @property
    def is_local(self) -> bool:  # type: ignore[override]
        return self._store.is_local

    @property
    def user(self) -> str:  # type: ignore[override]
        return self._store.user

    @property
    def workspaces(self) -> frozenset[str]:
        """The workspaces of the scope, and those that its projects lie in."""
        return self.scope.workspaces | self._sight.above()

    @property
    def decides(self) -> bool:
        return self._store.decides

    def prepare_to_write(self) -> None:
        self._store.prepare_to_write()

    def check_usable(self, *, to_write: bool = False) -> None:
        self._store.check_usable(to_write=to_write)

    def refresh_rows(self) -> int:
        """Do nothing: that is for anyone who may see the whole store, and how many there are would tell of others."""
        return 0

    def apply(self, changes: Sequence[Change], *, expect: Sequence[Condition] = ()) -> None:
        """Record changes of what lies in the scope; others are refused before the store is asked.

        Raises:
            PermissionDeniedError: a change is about something outside, or would put something there, or its stream is
                somebody else's. Nothing of the batch is applied.
        """
        left = self._gate.check(changes, expect)
        try:
            if left:
                self._door.apply(changes, expect=left)
            else:
                self._door.apply(changes)
        except PreconditionError as error:
            raise self._gate.without_strangers(error) from None

    def get(self, kind: str, entity_id: str) -> Entity:
        check_kind(kind)
        try:
            entity = self._store.get(kind, entity_id)
        except NotFoundError:
            pass
        else:
            if self._sight.shows(entity):
                return entity
            if self._on_hidden is not None:
                self._on_hidden(kind, entity_id)
        msg = f"there is no {kind} {entity_id!r} in {self.url}"
        raise NotFoundError(msg)

    def find(self, query: Query) -> Page:
        return self._store.find(self._sight.narrowed(query))

    def identify(self, *path: tuple[str, str]) -> tuple[str, ...]:
        return super().identify(*path)  # by what is found here

    def find_few(self, kind: str, field: str, target_id: str, *, most: int) -> Sequence[Entity] | None:
        return super().find_few(kind, field, target_id, most=most)  # find() tells, which is narrowed

    def write_mark(self) -> object:
        """Return nothing: a mark would tell when others write."""
        return None

    def find_keys(self, query: Query) -> tuple[KeyInfo, ...]:
        return self._store.find_keys(self._sight.narrowed(query))

    def find_groups(self, query: Query, by: str, measures: Sequence[str] = ()) -> GroupPage:
        return self._store.find_groups(self._sight.narrowed(query), by, measures)

    def read_series(
        self, run_id: str, key: str, *, steps: tuple[int, int] | None = None, max_points: int | None = None
    ) -> Series:
        return self._of_series(
            run_id, key, lambda: self._store.read_series(run_id, key, steps=steps, max_points=max_points)
        )

    def plot_series(self, run_id: str, key: str, canvas: Canvas) -> Plot:
        return self._of_series(run_id, key, lambda: self._store.plot_series(run_id, key, canvas))

    def _of_series(self, run_id: str, key: str, ask: Callable[[], Answer]) -> Answer:
        """Return an answer on a series of a run that is seen; of any other there is no series."""
        if self._sight.held_of([("run", run_id)]):
            try:
                return ask()
            except NotFoundError:
                pass
        msg = f"run {run_id!r} in {self.url} has no series {key!r}"
        raise NotFoundError(msg)

    def read_changes(
        self, *, after: int = 0, limit: int = 1000, entity_id: str | None = None, stream_id: str | None = None
    ) -> ChangePage:
        """Return changes of the streams that say something of what is seen, each stream whole.

        What they say of others is withheld (:attr:`~modeldb_core.log.changes.Change.withheld`). With ``entity_id``, only
        changes of what is seen.
        """
        return self._log.read(after, limit, entity_id, stream_id)

    def read_touches(self, *, after: int = 0, limit: int = 1000) -> TouchPage:
        return super().read_touches(after=after, limit=limit)  # of the changes that are seen

    def end_of_log(self) -> int:
        """Return the cursor after the last change that is seen."""
        return self._log.end()

    def carries(self) -> bool:
        after = 0
        while (page := self.read_changes(after=after, limit=PAGE)).changes:
            if not all(change.withheld or is_understood(change) for change in page.changes):
                return True
            after = page.cursor
        return False

    def heads(self) -> Mapping[str, Head]:
        return self._log.heads()

    def heads_after(self, stream_id: str, limit: int = 1000) -> Mapping[str, Head]:
        return self._log.heads_after(stream_id, limit)

    def head(self, stream_id: str) -> Head:
        return self._log.head(stream_id)

    def close(self) -> None:
        """Do nothing: the store belongs to the one who opened it."""
