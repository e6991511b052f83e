"""``modeldb admin``: users and their tokens, on the store and its accounts themselves, without a server."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from modeldb_core.cli.admin_roles import role, team, workspace
from modeldb_core.cli.administration import USER, administers, report
from modeldb_core.cli.session import examples
from modeldb_core.cli.tables import print_json, print_table
from modeldb_core.commands import people
from modeldb_core.errors import NotFoundError
from modeldb_core.log.json_documents import time_text
from modeldb_core.model.entities import to_datetime

if TYPE_CHECKING:
    from modeldb_core.cli.administration import Administration

_EMAIL = click.option("--email", default="", metavar="ADDRESS", help="By which clients of the v1 API name them.")


def _password(user: str) -> str:
    """Ask for a new password, or read it from standard input."""
    from modeldb_server.accounts.secrets import check_password

    if sys.stdin.isatty():
        given = click.prompt(f"Password of {user}", hide_input=True, confirmation_prompt=True)
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    return check_password(given, user=user)


@click.group()
def admin() -> None:
    """Make users, tokens, teams and roles, with no server between."""


@admin.command(
    epilog=examples("modeldb admin create ada", "modeldb admin create ada --email ada@example.org < password")
)
@USER
@_EMAIL
@administers
def create(administration: Administration, *, name: str, email: str, as_json: bool) -> None:
    """Make an administrator of the server, the first one too.

    The password is asked for without showing it, or read from standard input; it has at least 12 characters.
    """
    operation = people.create_user(
        administration.store, name, email=email, is_admin=True
    )  # before the password is asked
    password = _password(name)
    user_id = administration.execute(operation)
    administration.accounts.set_password(administration.user(name), password)
    report(
        as_json,
        f"{name} administers the server. One that runs already and asks nobody who they are has to be started again.",
        user_id=user_id,
        name=name,
    )


# Users


@admin.group(epilog=examples("modeldb admin user create bob", "modeldb admin user list --json"))
def user() -> None:
    """Make, list, alter and disable users."""


@user.command("create", epilog=examples("modeldb admin user create bob", "modeldb admin user create robot --service"))
@USER
@_EMAIL
@click.option("--full-name", default="", metavar="NAME", help="What people call them.")
@click.option("--service", "is_service", is_flag=True, help="A program: it has tokens and no password.")
@click.option("--no-password", is_flag=True, help="They sign in through the OpenID provider, or by tokens.")
@administers
def create_user(
    administration: Administration,
    *,
    name: str,
    email: str,
    full_name: str,
    is_service: bool,
    no_password: bool,
    as_json: bool,
) -> None:
    """Make a user, with a workspace of their own. The password is asked for, or read from standard input."""
    operation = people.create_user(administration.store, name, email=email, full_name=full_name, is_service=is_service)
    password = "" if is_service or no_password else _password(name)
    user_id = administration.execute(operation)
    if password:
        administration.accounts.set_password(administration.user(name), password)
    report(as_json, f"{name} is a {'service' if is_service else 'user'} now.", user_id=user_id, name=name)


@user.command("list", epilog=examples("modeldb admin user list", "modeldb admin user list --json"))
@administers
def list_users(administration: Administration, *, as_json: bool) -> None:
    """List the users."""
    found = sorted(administration.accounts.directory().users.values(), key=lambda each: each.name)
    fields = ("name", "email", "full_name", "is_admin", "is_service", "is_disabled")
    if as_json:
        print_json([{"user_id": each.entity_id, **{name: getattr(each, name) for name in fields}} for each in found])
        return
    flags = {"is_admin": "admin", "is_service": "service", "is_disabled": "disabled"}
    rows = [
        (each.name, each.email, each.full_name, ", ".join(word for name, word in flags.items() if getattr(each, name)))
        for each in found
    ]
    print_table(("name", "email", "full name", "is"), rows)


@user.command("update", epilog=examples("modeldb admin user update bob --email bob@example.org --admin"))
@USER
@click.option("--email", metavar="ADDRESS", help="Their address.")
@click.option("--full-name", metavar="NAME", help="What people call them.")
@click.option("--admin/--no-admin", "is_admin", default=None, help="Whether they administer the server.")
@administers
def update_user(administration: Administration, *, name: str, as_json: bool, **fields: object) -> None:
    """Alter what is known of a user."""
    given = {field: value for field, value in fields.items() if value is not None}
    if not given:
        msg = "name what to alter: --email, --full-name, --admin or --no-admin"
        raise click.UsageError(msg)
    found = administration.user(name)
    administration.execute(people.update_user(administration.store, found.entity_id, **given))
    report(as_json, f"{found.name} is altered.", user_id=found.entity_id, **given)


@user.command("disable", epilog=examples("modeldb admin user disable bob"))
@USER
@administers
def disable_user(administration: Administration, *, name: str, as_json: bool) -> None:
    """Let a user in no longer: their sessions end, and their tokens for good."""
    found = administration.user(name)
    administration.accounts.disable(found, administration.session.actor)
    report(as_json, f"{found.name} is let in no longer.", user_id=found.entity_id, is_disabled=True)


@user.command("enable", epilog=examples("modeldb admin user enable bob"))
@USER
@administers
def enable_user(administration: Administration, *, name: str, as_json: bool) -> None:
    """Let a user in again: by their password, or by new tokens."""
    found = administration.user(name)
    administration.execute(people.update_user(administration.store, found.entity_id, is_disabled=False))
    report(as_json, f"{found.name} is let in again.", user_id=found.entity_id, is_disabled=False)


@user.command("password", epilog=examples("modeldb admin user password bob"))
@USER
@administers
def set_password(administration: Administration, *, name: str, as_json: bool) -> None:
    """Give a user a new password; their sessions end."""
    found = administration.user(name)
    administration.accounts.set_password(found, _password(found.name))
    report(as_json, f"{found.name} has a new password.", user_id=found.entity_id)


# Tokens


@admin.group(epilog=examples("modeldb admin token create robot --name nightly", "modeldb admin token list"))
def token() -> None:
    """Make, list and revoke tokens."""


@token.command(
    "create",
    epilog=examples(
        "modeldb admin token create robot --name nightly --days 90",
        "modeldb admin token create bob --name dashboard --allows read --place research/churn",
    ),
)
@USER
@click.option("--name", "label", required=True, metavar="TEXT", help="What it is for.")
@click.option("--allows", type=click.Choice(["read", "write", "erase"]), default="write", show_default=True)
@click.option("--place", metavar="WORKSPACE[/PROJECT]", help="For this one alone.")
@click.option("--days", type=float, metavar="DAYS", help="Until it expires; default: never.")
@administers
def create_token(
    administration: Administration,
    *,
    name: str,
    label: str,
    allows: str,
    place: str | None,
    days: float | None,
    as_json: bool,
) -> None:
    """Make a token of a user. It is shown this once, and only its digest is kept."""
    from modeldb_server.routes import Policy

    shown, kept = administration.accounts.create_token(
        administration.user(name),
        name=label,
        allows=Policy(allows),
        place=("", "") if place is None else administration.place(place),
        expires_in_days=days,
        created_by=administration.session.actor,
    )
    report(as_json, shown, token=shown, token_id=kept.token_id, expires_at=_time(kept.expires_at))


@token.command("list", epilog=examples("modeldb admin token list", "modeldb admin token list bob"))
@click.argument("name", metavar="[USER]", required=False)
@administers
def list_tokens(administration: Administration, *, name: str | None, as_json: bool) -> None:
    """List the tokens of a user, or of all, the newest first."""
    users = administration.accounts.directory().users
    user_id = None if name is None else administration.user(name).entity_id
    listed = [
        {
            "token_id": each.token_id,
            "user": users[each.user_id].name if each.user_id in users else each.user_id,
            "name": each.name,
            "allows": each.allows,
            "place_kind": each.place_kind,
            "place_id": each.place_id,
            "created_by": each.created_by,
            **{
                field: _time(getattr(each, field))
                for field in ("created_at", "expires_at", "last_used_at", "revoked_at")
            },
        }
        for each in administration.accounts.vault.tokens_of(user_id)
    ]
    if as_json:
        print_json(listed)
        return
    columns = ("token_id", "user", "name", "allows", "place_kind", "last_used_at", "expires_at", "revoked_at")
    print_table(
        [name.replace("_", " ") for name in columns], [[each[name] or "" for name in columns] for each in listed]
    )


@token.command("revoke", epilog=examples("modeldb admin token revoke 01a22760-00f7-7536-99cf-67a8555b97b6"))
@click.argument("token_id", metavar="TOKEN_ID")
@administers
def revoke_token(administration: Administration, *, token_id: str, as_json: bool) -> None:
    """End a token, at once and for good."""
    if not administration.accounts.vault.revoke_token(token_id):
        msg = f"there is no token {token_id!r} that is valid; `modeldb admin token list` lists them"
        raise NotFoundError(msg)
    report(as_json, "The token is revoked.", token_id=token_id, revoked=True)


for _group in (workspace, team, role):
    admin.add_command(_group)


def _time(at: int | None) -> str | None:
    return None if at is None else time_text(to_datetime(at))
