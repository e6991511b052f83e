"""Who is who, and what they may do, as the log of the store says: read as a whole, and kept until it has changed."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from modeldb_core.model.access import ADMIN, CONTRIBUTOR, ORGANIZATION, PUBLIC, READER, ROLES
from modeldb_core.queries import Query, condition
from modeldb_core.stores.scoped import Scope
from modeldb_core.stores.scoped.scope import MAX_CONTAINERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from modeldb_core.model.access import Grant, Team, User
    from modeldb_core.stores import MetadataStore

logger = logging.getLogger("modeldb_server.accounts")

MAX_AGE_S = 5.0
"""So long it may take until a changed visibility counts, which no revision tells of; and anything, where a process died half way."""
_PAGE = 500
_SEEN_BY_OTHERS = condition("visibility in ?", [ORGANIZATION, PUBLIC])

Roles = dict[str, str]
"""A role by the identifier of a workspace or project."""


@dataclass(frozen=True, slots=True)
class Place:
    """A workspace or project that others may see than those with a role on it."""

    kind: str
    entity_id: str
    workspace_id: str
    visibility: str


class Directory:
    """Who is who at one time.

    Attributes:
        users: by identifier.
        teams: by identifier, those that are not deleted.
        grants: roles that are given.
    """

    def __init__(
        self, users: Iterable[User], teams: Iterable[Team], grants: Iterable[Grant], places: Iterable[Place]
    ) -> None:
        self.users: Mapping[str, User] = {each.entity_id: each for each in users}
        self.teams: Mapping[str, Team] = {each.entity_id: each for each in teams if each.deleted_at is None}
        self.grants = tuple(each for each in grants if each.role in ROLES)
        self._places = tuple(places)
        self._names = {each.name: each for each in self.users.values()}
        self._emails: dict[str, list[User]] = defaultdict(list)
        for user in self.users.values():
            if user.email:
                self._emails[user.email].append(user)
        self._teams_of: dict[str, list[Team]] = defaultdict(list)
        for team in self.teams.values():
            for user_id in team.members:
                self._teams_of[user_id].append(team)
        self._given: dict[str, list[Grant]] = defaultdict(list)
        self._given_on: dict[str, list[Grant]] = defaultdict(list)
        for grant in self.grants:
            self._given[grant.holder_id].append(grant)
            self._given_on[grant.place_id].append(grant)
        self._scopes: dict[str, Scope] = {}

    def named(self, name: str) -> User | None:
        """Return the user of a name, or of an address that one user alone has."""
        if (user := self._names.get(name)) is not None:
            return user
        found = self._emails.get(name.lower(), ())
        return found[0] if len(found) == 1 else None

    def teams_of(self, user_id: str) -> list[Team]:
        """Return the teams that a user is in."""
        return list(self._teams_of.get(user_id, ()))

    def grants_of(self, user_id: str) -> Iterator[Grant]:
        """Iterate over the roles that a user has, by themselves and through teams."""
        yield from self._given.get(user_id, ())
        for team in self._teams_of.get(user_id, ()):
            yield from self._given.get(team.entity_id, ())

    def grants_on(self, place_id: str) -> list[Grant]:
        """Return who has a role on a workspace or project itself."""
        return list(self._given_on.get(place_id, ()))

    def roles_of(self, user_id: str) -> dict[str, Roles]:
        """Return the highest role of a user on each workspace and project, by kind: given to them or a team, or since all may read."""
        roles: dict[str, Roles] = {"workspace": {}, "project": {}}
        for grant in self.grants_of(user_id):
            given = roles[grant.place_kind]
            if _level(grant.role) > _level(given.get(grant.place_id, "")):
                given[grant.place_id] = grant.role
        at_home = {*roles["workspace"], *(team.organization_id for team in self._teams_of.get(user_id, ()))}
        for place in self._places:
            if place.visibility == PUBLIC or place.workspace_id in at_home:
                roles[place.kind].setdefault(place.entity_id, READER)
        return roles

    def role_on(self, user_id: str, workspace_id: str, project_id: str = "") -> str:
        """Return the role of a user on a project, or on a workspace; empty: none. That on a workspace holds for its projects."""
        roles = self.roles_of(user_id)
        both = (roles["workspace"].get(workspace_id, ""), roles["project"].get(project_id, "") if project_id else "")
        return max(both, key=_level)

    def scope_of(self, user_id: str) -> Scope:
        """Return what a user may see, change and govern. Each request asks, some twice."""
        if (scope := self._scopes.get(user_id)) is None:
            scope = self._scopes[user_id] = scope_of_roles(self.roles_of(user_id))
        return scope


def scope_of_roles(roles: Mapping[str, Roles]) -> Scope:
    """Return the scope of roles on workspaces and projects. Of more than a scope can name the lesser ones are left out."""
    ranked = sorted(
        ((kind, entity_id, role) for kind, given in roles.items() for entity_id, role in given.items()),
        key=lambda each: (-_level(each[2]), each[0] != "workspace", each[1]),
    )
    if len(ranked) > MAX_CONTAINERS:
        logger.warning(
            "a user may see %d workspaces and projects; only %d of them are shown", len(ranked), MAX_CONTAINERS
        )
        ranked = ranked[:MAX_CONTAINERS]
    of = {name: frozenset(each[1] for each in ranked if each[0] == name) for name in ("workspace", "project")}
    at_least = {
        role: frozenset(each[1] for each in ranked if _level(each[2]) >= _level(role)) for role in (CONTRIBUTOR, ADMIN)
    }
    return Scope(of["workspace"], of["project"], at_least[CONTRIBUTOR], at_least[ADMIN])


def narrowed_to(scope: Scope | None, place_kind: str, place_id: str, workspace_id: str) -> Scope:
    """Return what is left of a scope for a token that is for one workspace or project alone.

    Args:
        scope: of its user; ``None``: everything.
        place_kind: workspace or project.
        place_id: of the one that the token is for.
        workspace_id: in which that lies.
    """
    one = {f"{place_kind}s": frozenset({place_id})}
    if scope is None:
        return Scope(**one)
    above = scope.workspaces if place_kind == "project" else frozenset[str]()
    reached = {place_id, *({workspace_id} & above)}
    if not reached & {*scope.workspaces, *scope.projects}:
        return Scope()
    whole = scope.workspaces | scope.projects
    parts = {"written": whole if scope.written is None else scope.written}
    parts["governed"] = parts["written"] if scope.governed is None else scope.governed
    return Scope(
        **one, **{name: one[f"{place_kind}s"] if reached & part else frozenset() for name, part in parts.items()}
    )


class Directories:
    """Reads who is who from a store, and keeps it until a revision says that it has changed.

    Args:
        store: the whole store.
    """

    def __init__(self, store: MetadataStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._kept: tuple[int, float, Directory] | None = None

    def at(self, revision: int) -> Directory:
        """Return who is who, not older than a revision, which was read before.

        Raises:
            StoreUnavailableError: the store cannot be reached.
        """
        with self._lock:
            kept = self._kept
            if kept is None or kept[0] < revision or time.monotonic() - kept[1] > MAX_AGE_S:
                kept = self._kept = revision, time.monotonic(), read_directory(self._store)
            return kept[2]

    def name_of(self, user_id: str) -> str:
        """Return the name of a user as last read, and their identifier where nothing was; asks nobody."""
        kept = self._kept
        user = kept[2].users.get(user_id) if kept is not None else None
        return user_id if user is None else user.name


def read_directory(store: MetadataStore) -> Directory:
    """Read who is who. Five queries, and one more for each further 500 of what they find."""
    places = [
        Place(
            kind,
            each.entity_id,
            each.entity_id if kind == "workspace" else each.workspace_id,
            str(each.document.get("visibility")),
        )
        for kind in ("workspace", "project")
        for each in _all(store, Query(kind, _SEEN_BY_OTHERS))
    ]
    users, teams, grants = (list(_all(store, Query(kind))) for kind in ("user", "team", "grant"))
    return Directory(users, teams, grants, places)


def _all(store: MetadataStore, query: Query) -> Iterator[Any]:
    query = replace(query, limit=_PAGE)
    while True:
        page = store.find(query)
        yield from page.entities
        if not page.cursor:
            return
        query = replace(query, cursor=page.cursor)


def _level(role: str) -> int:
    return ROLES.index(role) + 1 if role in ROLES else 0
