"""Who is who, and who may do what: users, teams, and roles on workspaces and projects.

An administrator does these; the server and ``modeldb admin`` see to that. Users are never deleted, so that the name by
which changes name them is never somebody else's: they are disabled.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from modeldb_core.commands.containers import create
from modeldb_core.commands.edits import living
from modeldb_core.commands.names import check_name
from modeldb_core.commands.operation import Operation, together
from modeldb_core.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from modeldb_core.log.changes import CREATE, DELETE, RESTORE, UPDATE
from modeldb_core.log.conditions import for_creating
from modeldb_core.log.stream import Entry
from modeldb_core.model.access import ADMIN, ROLES, VISIBILITIES
from modeldb_core.model.entities import derived_id

if TYPE_CHECKING:
    from modeldb_core.model.entities import Entity
    from modeldb_core.stores import MetadataStore

MAX_USER_NAME = 100
_USER_NAME = re.compile(r"[^\W_](?:[\w.+@-]*\w)?")
_EMAIL = re.compile(r"[^\s@\x00-\x1f\x7f]+@[^\s@\x00-\x1f\x7f]+")


def user_id_of(name: str) -> str:
    """Return the identifier of the user of a name: the same in every store."""
    return derived_id("user", "", name)


def grant_id_of(holder_id: str, place_id: str) -> str:
    """Return the identifier of what is said of the role of a user or team on a workspace or project."""
    return derived_id("grant", place_id, holder_id)


def create_user(
    store: MetadataStore,
    name: str,
    *,
    email: str = "",
    full_name: str = "",
    is_service: bool = False,
    is_admin: bool = False,
    has_workspace: bool = True,
) -> Operation:
    """Make a user, and for a person a workspace of their name, which they administer.

    Args:
        store: where others are looked up.
        name: by which changes name them, and by which they sign in.
        email: by which the clients of version 1 of the API name them; in lower case.
        full_name: what people call them.
        is_service: whether it is a program.
        is_admin: whether they administer the server.
        has_workspace: whether they get a workspace of their own. A workspace of that name that is there already stays what it
            is, and is not theirs.

    Raises:
        InvalidArgumentError: the name or the address cannot be one.
        AlreadyExistsError: there is such a user.
    """
    checked = check_user_name(name)
    address = check_email(email)
    user_id = user_id_of(checked)
    if _document(store, "user", user_id) is not None:
        msg = f"there is a user {checked!r} already"
        raise AlreadyExistsError(msg)
    said: dict[str, Any] = {"name": checked, "email": address, "full_name": full_name}
    said |= {"is_service": is_service, "is_admin": is_admin}
    said = {field: value for field, value in said.items() if value}
    made = Operation((Entry(CREATE, "user", user_id, said),), for_creating("user", user_id, said), user_id)
    if is_service or not has_workspace:
        return made
    (workspace_id,) = store.identify(("workspace", checked))
    if _document(store, "workspace", workspace_id) is not None:
        return made
    own = create(store, "workspace", {"name": checked}, entity_id=workspace_id)
    both = together([made, own, _give("user", user_id, "workspace", workspace_id, ADMIN, None)])
    return Operation(both.entries, both.expect, user_id)


def check_user_name(name: str) -> str:
    """Return the name of a user, if it can be one: as email addresses and logins are made of.

    Raises:
        InvalidArgumentError: it cannot.
    """
    if len(name) <= MAX_USER_NAME and _USER_NAME.fullmatch(name):
        return check_name(name, "user")
    msg = (
        f"the name {name!r:.80} cannot be that of a user; expected at most {MAX_USER_NAME} letters, digits and . _ + @ -,"
        " with a letter or digit at both ends"
    )
    raise InvalidArgumentError(msg)


def check_email(email: str) -> str:
    """Return an address in lower case, if it can be one; an empty one stays empty.

    Raises:
        InvalidArgumentError: it cannot.
    """
    if email and not (len(email) <= 254 and _EMAIL.fullmatch(email)):
        msg = f"{email!r:.80} is not an email address; expected for example ada@example.org"
        raise InvalidArgumentError(msg)
    return email.lower()


def update_user(store: MetadataStore, user_id: str, **fields: Any) -> Operation:  # noqa: ANN401 - values
    """Alter what is known of a user: ``email``, ``full_name``, ``is_admin`` or ``is_disabled``.

    Raises:
        NotFoundError: there is no such user.
        InvalidArgumentError: a field is another one, or the address cannot be one.
    """
    living(store, "user", user_id)
    if unknown := sorted(set(fields) - {"email", "full_name", "is_admin", "is_disabled"}):
        msg = f"{unknown[0]} of a user cannot be altered; expected email, full_name, is_admin or is_disabled"
        raise InvalidArgumentError(msg)
    if "email" in fields:
        fields["email"] = check_email(fields["email"])
    return Operation((Entry(UPDATE, "user", user_id, {"set": fields}),), entity_id=user_id)


def create_team(store: MetadataStore, organization_id: str, name: str) -> Operation:
    """Make a team in an organization; one that was deleted comes back without its members.

    Raises:
        NotFoundError: there is no such workspace.
        AlreadyExistsError: it has a team of that name.
        InvalidArgumentError: the name cannot be one.
    """
    living(store, "workspace", organization_id)
    checked = check_name(name, "team")
    team_id = derived_id("team", organization_id, checked)
    there = _document(store, "team", team_id)
    said = {"name": checked, "organization_id": organization_id}
    if there is None:
        return Operation((Entry(CREATE, "team", team_id, said),), for_creating("team", team_id, said), team_id)
    if there.get("deleted_at") is None:
        msg = f"there is a team {checked!r} in this workspace already"
        raise AlreadyExistsError(msg)
    emptied = Entry(UPDATE, "team", team_id, {"set": {"members": {}}})
    return Operation((Entry(RESTORE, "team", team_id, {}), emptied), entity_id=team_id)


def delete_team(store: MetadataStore, team_id: str) -> Operation:
    """Delete a team: nobody has a role through it any more.

    Raises:
        NotFoundError: there is none.
    """
    living(store, "team", team_id)
    return Operation((Entry(DELETE, "team", team_id, {}),), entity_id=team_id)


def join_team(store: MetadataStore, team_id: str, user_id: str) -> Operation:
    """Make a user a member of a team.

    Raises:
        NotFoundError: there is no such team, or no such user.
    """
    living(store, "team", team_id)
    living(store, "user", user_id)
    return Operation((Entry(UPDATE, "team", team_id, {"put": {"members": {user_id: {}}}}),), entity_id=team_id)


def leave_team(store: MetadataStore, team_id: str, user_id: str) -> Operation:
    """Take a user out of a team.

    Raises:
        NotFoundError: there is no such team, or they are not in it.
    """
    if user_id not in living(store, "team", team_id).document.get("members", {}):
        msg = "the user is not in this team"
        raise NotFoundError(msg)
    return Operation((Entry(UPDATE, "team", team_id, {"remove": {"members": [user_id]}}),), entity_id=team_id)


def give_role(
    store: MetadataStore, holder_kind: str, holder_id: str, place_kind: str, place_id: str, role: str
) -> Operation:
    """Give a user or team a role on a workspace or project, in place of the one that they have there.

    Raises:
        NotFoundError: one of the two is not there.
        InvalidArgumentError: there is no such role.
    """
    _check_choice("role", role, ROLES)
    _check_choice("holder", holder_kind, ("user", "team"))
    _check_choice("place", place_kind, ("workspace", "project"))
    living(store, holder_kind, holder_id)
    living(store, place_kind, place_id)
    there = _document(store, "grant", grant_id_of(holder_id, place_id))
    return _give(holder_kind, holder_id, place_kind, place_id, role, there)


def take_role(store: MetadataStore, holder_id: str, place_id: str) -> Operation:
    """Take the role of a user or team on a workspace or project away.

    Raises:
        NotFoundError: they have none there.
    """
    grant_id = grant_id_of(holder_id, place_id)
    there = _document(store, "grant", grant_id)
    if there is None or not there.get("role"):
        msg = "they have no role there"
        raise NotFoundError(msg)
    return Operation((Entry(UPDATE, "grant", grant_id, {"set": {"role": ""}}),), entity_id=grant_id)


def set_visibility(store: MetadataStore, place_kind: str, place_id: str, visibility: str) -> Operation:
    """Say who may read a workspace or project beside those with a role.

    Raises:
        NotFoundError: there is no such place.
        InvalidArgumentError: it is none of private, organization and public.
    """
    _check_choice("place", place_kind, ("workspace", "project"))
    _check_choice("visibility", visibility, VISIBILITIES)
    living(store, place_kind, place_id)
    return Operation((Entry(UPDATE, place_kind, place_id, {"set": {"visibility": visibility}}),), entity_id=place_id)


def _give(
    holder_kind: str, holder_id: str, place_kind: str, place_id: str, role: str, there: dict[str, Any] | None
) -> Operation:
    grant_id = grant_id_of(holder_id, place_id)
    said = {"holder_kind": holder_kind, "holder_id": holder_id, "place_kind": place_kind, "place_id": place_id}
    if there is None:
        return Operation((Entry(CREATE, "grant", grant_id, {**said, "role": role}),), entity_id=grant_id)
    return Operation((Entry(UPDATE, "grant", grant_id, {"set": {"role": role}}),), entity_id=grant_id)


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        msg = f"the {what} is {value!r:.80}; expected one of {', '.join(choices)}"
        raise InvalidArgumentError(msg)


def _document(store: MetadataStore, kind: str, entity_id: str) -> dict[str, Any] | None:
    try:
        entity: Entity = store.get(kind, entity_id)
    except NotFoundError as error:
        if type(error) is not NotFoundError:  # it was erased
            raise
        return None
    return dict(entity.document)
