"""The store and the accounts that ``modeldb admin`` works on, and what its commands share."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

from modeldb_core.cli.output import echo
from modeldb_core.cli.session import Session
from modeldb_core.cli.tables import print_json
from modeldb_core.errors import ConfigurationError, MissingDependencyError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.access import Grant, Team, User

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
USER = click.argument("name", metavar="USER")
WORKSPACE = click.argument("workspace", metavar="WORKSPACE")
PLACE = click.argument("place", metavar="WORKSPACE[/PROJECT]")


class Administration:
    """A store with its accounts, for one command."""

    def __init__(self, session: Session) -> None:
        try:
            from modeldb_server.accounts.opening import open_accounts, place_beside
        except ImportError as error:
            msg = f"accounts need a package that is not installed ({error}); pip install 'modeldb-core[server]'"
            raise MissingDependencyError(msg) from error
        settings = session.settings
        chosen = settings.server_accounts
        url = place_beside(settings.url, settings) if chosen in ("", "on") else chosen
        if url in ("", "off"):
            why = "server.accounts is off" if url else f"there is no place for accounts beside {settings.url}"
            msg = f"{why}; name a database: MODELDB_SERVER_ACCOUNTS=sqlite:////data/accounts.db"
            raise ConfigurationError(msg)
        self.session = session
        self.store = session.store_to_write()
        found = open_accounts(self.store, url)
        assert found is not None
        self.accounts = found

    def execute(self, operation: Operation) -> str:
        """Carry an operation out; returns the identifier of what was made or altered."""
        self.accounts.execute(operation, self.session.actor)
        return operation.entity_id

    def user(self, name: str) -> User:
        """Return a user by name or address.

        Raises:
            NotFoundError: there is none.
        """
        user: User | None = self.accounts.directory().named(name)
        if user is None:
            msg = f"there is no user {name!r}; `modeldb admin user list` lists them"
            raise NotFoundError(msg)
        return user

    def workspace_id(self, name: str) -> str:
        """Return the identifier of a workspace that is there.

        Raises:
            NotFoundError: it is not.
        """
        return self.place(name)[1]

    def place(self, text: str) -> tuple[str, str]:
        """Return the kind and the identifier of a workspace, or of a project in it, by name.

        Raises:
            NotFoundError: there is none.
        """
        names = text.split("/", 1)
        entity_id = self.store.identify(*zip(("workspace", "project"), names, strict=False))[-1]
        kind = ("workspace", "project")[len(names) - 1]
        try:
            self.store.get(kind, entity_id)
        except NotFoundError:
            msg = f"there is no {kind} {text!r}; `modeldb admin workspace create` makes a workspace"
            raise NotFoundError(msg) from None
        return kind, entity_id

    def team(self, workspace: str, name: str) -> Team:
        """Return a team by name.

        Raises:
            NotFoundError: there is none.
        """
        workspace_id = self.workspace_id(workspace)
        for team in self.accounts.directory().teams.values():
            if (team.organization_id, team.name) == (workspace_id, name):
                found: Team = team
                return found
        msg = f"there is no team {name!r} in {workspace!r}"
        raise NotFoundError(msg)

    def name_of(self, grant: Grant) -> str:
        """Return the name of who has a role."""
        directory = self.accounts.directory()
        known = directory.users if grant.holder_kind == "user" else directory.teams
        return known[grant.holder_id].name if grant.holder_id in known else grant.holder_id


def administers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--url`` and ``--json`` to a command and pass it an :class:`Administration`."""

    @click.option("--url", metavar="URL", help="The store; default: the configured one.")
    @_JSON
    @functools.wraps(function)
    def command(*args: object, url: str | None, **options: object) -> object:
        session = Session(url=url, ships_orphans=False)
        try:
            administration = Administration(session)
            try:
                return function(administration, *args, **options)
            finally:
                administration.accounts.close()
        finally:
            session.close()

    return command


def report(as_json: bool, text: str, **said: object) -> None:
    """Say what was done, in words or as JSON."""
    if as_json:
        print_json(said)
    else:
        echo(text)
