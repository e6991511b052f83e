"""Which part of the store a user may see: the settings say it by workspaces and projects, or a program by a function."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from modeldb_core.errors import ConfigurationError, NotFoundError
from modeldb_core.model.entities import is_id
from modeldb_core.stores.scoped import Scope, ScopedStore

if TYPE_CHECKING:
    from modeldb_core.stores import MetadataStore
    from modeldb_core.stores.direct import Applies

ScopeOf: TypeAlias = Callable[[str], Scope | None]
"""Returns what a user may see and change, asked with each request; ``None``: everything."""

_MOST_STORES = 256


def check_scope(entry: str, setting: str) -> tuple[str, tuple[str, ...]]:
    """Return the user of an entry such as ``ada=research`` or ``ada=research/churn``, and what it names.

    Raises:
        ConfigurationError: it is not of that form.
    """
    user, equals, place = entry.partition("=")
    names = tuple(place.split("/"))
    if not equals or not user.strip() or len(names) > 2 or not all(name.strip() for name in names):
        msg = (
            f"{setting} holds {entry!r}; expected USER=WORKSPACE or USER=WORKSPACE/PROJECT, such as ada=research/churn"
        )
        raise ConfigurationError(msg)
    return user, names


class ConfiguredScopes:
    """The scopes that the settings give to users. A user whom they do not name may see everything.

    A name leads to the workspace or project that has it when it is first asked for, and for as long as the process lives: a later one
    of the name is another one.

    Args:
        store: the whole store, where names are looked up.
        entries: such as ``ada=research``; of several for one user all count.
    """

    def __init__(self, store: MetadataStore, entries: Sequence[str]) -> None:
        self._store = store
        self._places: dict[str, list[tuple[str, ...]]] = {}
        self._found: dict[tuple[str, ...], str] = {}
        for entry in entries:
            user, names = check_scope(entry, "server.scopes")
            self._places.setdefault(user, []).append(names)

    def __call__(self, user: str) -> Scope | None:
        """Return what a user may see."""
        if user not in self._places:
            return None
        workspaces: set[str] = set()
        projects: set[str] = set()
        for names in self._places[user]:
            if len(names) == 1 and is_id(names[0]):  # of either; it is not an identifier of the other
                workspaces.add(names[0])
                projects.add(names[0])
            else:
                (workspaces if len(names) == 1 else projects).add(self._look_up(names))
        return Scope(frozenset(workspaces), frozenset(projects))

    def _look_up(self, names: tuple[str, ...]) -> str:
        if (known := self._found.get(names)) is not None:
            return known
        kind = ("workspace", "project")[len(names) - 1]
        entity_id = self._store.identify(*zip(("workspace", "project"), names, strict=False))[-1]
        try:
            self._store.get(kind, entity_id)
        except NotFoundError:
            return entity_id  # the one that it will have if a program declares it
        self._found[names] = entity_id
        return entity_id


class NarrowedStores:
    """The store, narrowed to each scope that somebody asks with; what one has learned of the log serves the next request.

    Args:
        store: the whole store.
        door: takes the changes that are made.
        on_hidden: called when somebody asks for an entity outside of their scope.
    """

    def __init__(
        self, store: MetadataStore, door: Applies, on_hidden: Callable[[str, str], object] | None = None
    ) -> None:
        self._store, self._door, self._on_hidden = store, door, on_hidden
        self._stores: OrderedDict[Scope, ScopedStore] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, scope: Scope) -> ScopedStore:
        """Return the store as it is seen in a scope."""
        with self._lock:
            found = self._stores.get(scope)
            if found is None:
                found = self._stores[scope] = ScopedStore(
                    self._store, scope, door=self._door, on_hidden=self._on_hidden
                )
            self._stores.move_to_end(scope)
            while len(self._stores) > _MOST_STORES:
                self._stores.popitem(last=False)
            return found
