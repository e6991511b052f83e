"""Who is who, and who may do what: users, teams, and the roles that they have on workspaces and projects.

Secrets are no part of it: passwords, tokens and sessions are kept by the server, in tables outside of the log. What is said
here is altered by the operations of :mod:`modeldb_core.commands.people` alone, in the name of the administrator who does it.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - anyone who describes the entities reads these types at run time
from dataclasses import dataclass
from typing import Any, ClassVar

from modeldb_core.model.entity import Entity
from modeldb_core.model.schema import WHOLE_STORE, boolean, mapping, reference, text

READER, CONTRIBUTOR, ADMIN = "reader", "contributor", "admin"
ROLES = (READER, CONTRIBUTOR, ADMIN)
"""What one may do with all that lies in a workspace or project, each what those before it may: read, change, manage members."""
PRIVATE, ORGANIZATION, PUBLIC = "private", "organization", "public"
VISIBILITIES = (PRIVATE, ORGANIZATION, PUBLIC)
"""Who may read beside those with a role: nobody, everybody who belongs to the workspace, every user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Entity):
    """A person or a service that acts. Secrets are never part of an entity."""

    KIND: ClassVar[str] = "user"

    name: str = text("by which changes name who made them", searchable=True, unique_within=WHOLE_STORE)
    full_name: str = text("what people call them")
    email: str = text("where they are reached; compared in lower case", searchable=True)
    is_service: bool | None = boolean("whether it is a program, which has tokens and no password", searchable=True)
    is_admin: bool | None = boolean(
        "whether they administer the server, and so may see and change all", searchable=True
    )
    is_disabled: bool | None = boolean("whether they are let in no longer", searchable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Team(Entity):
    """Users of an organization, who get roles together. ``members`` has an entry for each, by identifier of the user."""

    KIND: ClassVar[str] = "team"

    organization_id: str = reference("workspace", "whose team it is")
    members: Mapping[str, Any] = mapping("its users, by identifier", offered=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant(Entity):
    """The role of one user or team on one workspace or project, with all that lies in it; no role where it was taken away."""

    KIND: ClassVar[str] = "grant"

    holder_kind: str = text("user or team", searchable=True, choices=("user", "team"))
    holder_id: str = text("who has the role", searchable=True)
    place_kind: str = text("workspace or project", searchable=True, choices=("workspace", "project"))
    place_id: str = text("on what", searchable=True)
    role: str = text("reader, contributor or admin", searchable=True)
